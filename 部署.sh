#!/usr/bin/env bash
# Entry point: finds (or brings) Node 24 and runs the CLI. See ./部署.sh help
FLEET_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
. "$FLEET_ROOT/scripts/find-node.sh"
exec "$FLEET_NODE" "$FLEET_ROOT/dist/cli.mjs" "$@"
