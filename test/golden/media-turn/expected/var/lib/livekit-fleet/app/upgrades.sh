#!/bin/sh
# Written by livekit-fleet. Usage: upgrades.sh BASE PROJECT ENV SUPERVISOR
#                              or: upgrades.sh run BASE ID PROJECT ENV WORD...
export LC_ALL=C
set -f
umask 027

# Both files are there, and of the group that the agent is of.
if [ "$1" = run ]; then
  base=$2 id=$3 project=$4 env=$5
  shift 5
  "$project/部署.sh" "$@" --env "$env" >"$base.log" 2>&1 </dev/null
  echo "$id $?" >"$base.result"
  exit 0
fi

base=$1 project=$2 env=$3 supervisor=$4

say() {
  echo "$1"
  printf '%s\n' "$1" >"$base.state.new" && mv "$base.state.new" "$base.state"
}

# What the service user writes is not trusted: an order's number, one of our words, a version.
is_id() { echo "$1" | grep -Exq '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'; }
is_version() { echo "$1" | grep -Exq '[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[A-Za-z0-9_.]{1,40})?'; }

# Nobody but root may have a hand in what root runs here.
is_roots() {
  set +f
  for file in "$project" "$project/部署.sh" "$project"/dist "$project"/dist/* "$env"; do
    [ "$(stat -L -c %u "$file")" = 0 ] && [ -z "$(find -L "$file" -maxdepth 0 -perm /022)" ] || { echo "$file can be changed by others than root"; set -f; return 1; }
  done
  set -f
}

refuse() {
  echo "$1 2" >"$base.result"
  echo "✗ $2" >"$base.log"
  echo "refused: $2"
}

carry_out() {
  id=$1
  shift
  case "$(cat "$base.result" 2>/dev/null)" in "$id "*) return ;; esac
  echo "$id -" >"$base.result"
  : >"$base.log"
  problem=$(is_roots) || { refuse "$id" "$problem"; return; }
  echo "$id: $*"
  if [ "$supervisor" = systemd ]; then
    # The one before has written how it ended a moment before its unit is gone.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      systemctl is-active --quiet livekit-fleet-upgrade || break
      sleep 0.2
    done
    problem=$(systemd-run --quiet --collect --unit=livekit-fleet-upgrade --description='livekit-fleet upgrade on order' /bin/sh "$0" run "$base" "$id" "$project" "$env" "$@" 2>&1) ||
      refuse "$id" "another one goes on"
  else
    setsid /bin/sh "$0" run "$base" "$id" "$project" "$env" "$@" </dev/null >/dev/null 2>&1 &
  fi
}

reader=
trap 'kill $reader 2>/dev/null; rm -f "$base.pipe" "$base.state"; exit 0' TERM INT
rm -f "$base.pipe"
mkfifo -m 620 "$base.pipe" && exec 3<>"$base.pipe" || exit 1
say ready

while :; do
  # At most a page at a time: a line that is cut off lacks its version.
  dd bs=4096 count=1 <&3 >"$base.read" 2>/dev/null &
  reader=$!
  wait $reader || exit 1
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
