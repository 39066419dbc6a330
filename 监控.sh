#!/usr/bin/env bash
# Monitoring: ./监控.sh status, ./监控.sh logs livekit
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
FLEET_ROOT=$(readlink -f "${BASH_SOURCE[0]}") && FLEET_ROOT=${FLEET_ROOT%/*}
. "$FLEET_ROOT/scripts/find-node.sh"
exec "$FLEET_NODE" $FLEET_FLAGS "$FLEET_ROOT/dist/cli.cjs" monitor "$@"
