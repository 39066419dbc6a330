#!/bin/sh
# Written by livekit-fleet. Usage: upgrades.sh BASE PROJECT ENV SUPERVISOR
#                              or: upgrades.sh run BASE ID PROJECT ENV WORD...
export LC_ALL=C
set -f
umask 027

refuse() {
  printf '%s\n' "✗ $2" >"$base.log"
  echo "$1 2" >"$base.result"
  echo "refused: $2"
}

# Both files are there, and of the group that the agent is of.
if [ "$1" = run ]; then
  base=$2 id=$3 project=$4 env=$5
  shift 5
  # One at a time. Held as long as this runs, and by nothing that it starts.
  exec 9>"$base.lock"
  flock -w 2 9 || { refuse "$id" 'another one goes on'; exit 0; }
  "$project/部署.sh" "$@" --env "$env" >"$base.log" 2>&1 </dev/null 9>&-
  echo "$id $?" >"$base.result"
  exit 0
fi

base=$1 supervisor=$4
installed_at=$2 set_in=$3

say() {
  echo "$1"
  printf '%s\n' "$1" >"$base.state.new" && mv "$base.state.new" "$base.state"
}

# What the service user writes is not trusted: an order's number, one of our words, a version.
is_id() { printf '%s\n' "$1" | grep -Exq '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'; }
is_version() { printf '%s\n' "$1" | grep -Exq '[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[A-Za-z0-9_.]{1,40})?'; }

# Nobody but root may have a hand in what root runs here, and reads: in no file of it, and in no folder on the way to it. DATA_DIR, which
# may be below, is the product's own; nothing in .cache is run.
is_roots() {
  others='! -uid 0 -o -perm /002 -o -perm /020 ! -gid 0'
  for place in "$project" "$env"; do
    found=$(find -L "$place" \( -path "${base%/*/*}" -o -path "$place/.cache" \) -prune -o ! -type l \( $others \) -print -quit 2>&1)
    while [ -z "$found" ] && [ -n "$place" ]; do
      place=${place%/*}
      found=$(find "$place/" -maxdepth 0 \( ! -uid 0 -o ! -perm -1000 \( $others \) \) 2>&1)
    done
    [ -z "$found" ] || { echo "$found can be changed by others than root"; return 1; }
  done
}

carry_out() {
  id=$1
  shift
  case "$(cat "$base.result" 2>/dev/null)" in
    "$id -") flock -n "$base.lock" true && refuse "$id" 'it was broken off' && return ;;
    "$id "*) return ;;
    *) begin "$@" ;;
  esac
}

begin() {
  flock -n "$base.lock" true || { refuse "$id" 'another one goes on'; return; }
  project=$(readlink -f "$installed_at") env=$(readlink -f "$set_in")
  problem=$(is_roots) || { refuse "$id" "$problem"; return; }
  : >"$base.log"
  echo "$id -" >"$base.result"
  echo "$id: $*"
  if [ "$supervisor" = systemd ]; then
    problem=$(systemd-run --quiet --collect --unit="livekit-fleet-upgrade-$id" --description='livekit-fleet upgrade on order' /bin/sh "$0" run "$base" "$id" "$project" "$env" "$@" 2>&1) ||
      refuse "$id" "$problem"
  else
    setsid /bin/sh "$0" run "$base" "$id" "$project" "$env" "$@" </dev/null >/dev/null 2>&1 &
  fi
}

reader=
open_pipe() {
  [ ! -e "$base.pipe" ] || rm -f "$base.pipe"
  mkfifo -m 620 "$base.pipe" && exec 3<>"$base.pipe" || exit 1
}

# The reader ends with this program, also where that is killed; to that systemd sees itself, and where it confines this program setpriv fails.
ends_too=
[ -n "${INVOCATION_ID:-}" ] || ends_too='setpriv --pdeathsig KILL'
# Into $base.read. At most a page at a time: a line that is cut off lacks its last word.
await_lines() {
  $ends_too dd bs=4096 count=1 <&3 >"$base.read" 2>/dev/null &
  reader=$!
  wait $reader || exit 1
}

trap 'kill $reader 2>/dev/null; rm -f "$base.pipe" "$base.state"; exit 0' TERM INT
open_pipe
say ready

while :; do
  await_lines
  while read -r id language what version rest; do
    case "$language $rest" in 'zh ' | 'en ') ;; *) what= ;; esac
    is_id "$id" || what=
    case "$what $version" in
      'fetch newest') carry_out "$id" upgrade --fetch --json ;;
      'fetch former') carry_out "$id" rollback --fetch --json ;;
      *)
        is_version "$version" || what=
        case "$what" in
          fetch) carry_out "$id" upgrade --fetch --to "$version" --json ;;
          upgrade) carry_out "$id" upgrade --yes --to "$version" --lang "$language" ;;
          upgrade-now) carry_out "$id" upgrade --yes --now --to "$version" --lang "$language" ;;
          *) echo refused ;;
        esac
        ;;
    esac
  done <"$base.read"
done
