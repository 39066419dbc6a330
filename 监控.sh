#!/usr/bin/env bash
# Monitoring: ./监控.sh status, ./监控.sh logs livekit
FLEET_ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
. "$FLEET_ROOT/scripts/find-node.sh"
exec "$FLEET_NODE" "$FLEET_ROOT/dist/cli.mjs" monitor "$@"
