#!/usr/bin/env bash
# Entry point: finds (or brings) Node 24 and runs the CLI. See ./部署.sh help
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
FLEET_ROOT=$(readlink -f "${BASH_SOURCE[0]}") && FLEET_ROOT=${FLEET_ROOT%/*}
. "$FLEET_ROOT/scripts/find-node.sh"
exec "$FLEET_NODE" $FLEET_FLAGS "$FLEET_ROOT/dist/cli.cjs" "$@"
