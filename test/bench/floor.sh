#!/usr/bin/env bash
# The least that brings this stack up: starts the rendered parts with no supervisor and no agent, asks each every 10 ms
# until all answer, prints "up", and ends them when its standard input closes.
# Usage: floor.sh ENV_FILE [PORT], of an installation whose rendered files stand in DATA_DIR, beside those that name Caddy's upstreams;
# PORT: of a program that somebody else has started, and that is asked as well.
. "$1" || exit 2
pids=()
# Waits without a process.
exec {never}<> <(:)
trap '{ kill -KILL "${pids[@]}"; wait; } 2>/dev/null' EXIT
for part in redis sentinel livekit service caddy; do
  "$DATA_DIR/run/services/$part/run" >"$DATA_DIR/logs/$part/floor.log" </dev/null &
  pids+=($!)
done

# answers PORT REQUEST LINE PATTERN: whether that line of the answer begins as wanted.
answers() {
  local line='' count
  {
    printf '%b' "$2" >&3
    for ((count = 0; count < $3; count++)); do read -t 1.5 -r line <&3 || return 1; done
  } 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$1"
  [[ $line == $4* ]]
}

http() { until answers "$1" "GET $2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" 1 "HTTP/1.1 $3"; do read -t 0.01 -u $never; done; }
redis() { until answers "$1" "AUTH $REDIS_PASSWORD\r\n$2\r\n" 2 "$3"; do read -t 0.01 -u $never; done; }

{
  redis "$REDIS_PORT" PING +PONG
  redis "$SENTINEL_PORT" 'SENTINEL CKQUORUM livekit' +OK
  http "$LIVEKIT_HTTP_PORT" / 200
  http "$GATEWAY_INTERNAL_PORT" /rtc/validate 401
  http "$SERVICE_PORT" /readyz 200
  [ -z "${2:-}" ] || http "$2" / 200
} 2>/dev/null
echo up
read -r _
