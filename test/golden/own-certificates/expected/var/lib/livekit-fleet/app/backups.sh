#!/bin/sh
# Written by livekit-fleet. Usage: backups.sh BASE PROJECT ENV SUPERVISOR SECONDS
export LC_ALL=C
umask 027
base=$1 supervisor=$4 interval=$5

say() {
  printf '%s\n' "$1" >"$base.state.new" && mv "$base.state.new" "$base.state"
}

failed() {
  (umask 077 && printf '%s\n' "$1" >"$base.last.part") && mv "$base.last.part" "$base.last"
}

at() { date -u -d "@$1" +%FT%TZ; }

# Sets `least`.
least() { [ "$1" -lt "$2" ] && least=$1 || least=$2; }

due_at() {
  next=$1
  echo "$next" >"$base.next.new" && mv "$base.next.new" "$base.next"
}

due_in() { due_at $(($(date +%s) + $1)); }

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

# Apart from this part where systemd can do that: it sees all of the machine.
back_up() {
  set -- "$project/部署.sh" backup --verify --prune --env "$env"
  if [ "$supervisor" = systemd ]; then
    systemd-run --quiet --collect --wait --pipe --unit=livekit-fleet-backup --description='livekit-fleet backup' -p Nice=10 "$@"
  else
    nice -n 10 "$@"
  fi
}

child=
trap '[ -z "$child" ] || kill $child 2>/dev/null; rm -f "$base.state"; exit 0' TERM INT

next=
[ ! -r "$base.next" ] || read -r next <"$base.next"
while :; do
  now=$(date +%s)
  case $next in '' | *[!0-9]*) least 600 "$interval"; due_at $((now + least)) ;; esac
  # The interval may be shorter than it was, or the clock was wrong.
  [ "$((next - now))" -le "$interval" ] || due_at $((now + interval))
  say "next backup $(at "$next")"
  if [ "$next" -gt "$now" ]; then
    # It may survive this script, and must not hold its log then.
    least 3600 $((next - now))
    sleep "$least" >/dev/null 2>&1 &
    child=$!
    wait $child
    child=
    continue
  fi
  say 'backing up'
  project=$(readlink -f "$2") env=$(readlink -f "$3")
  if problem=$(is_roots); then
    back_up </dev/null &
    child=$!
    wait $child
    code=$?
    child=
  else
    echo "refused: $problem"
    code=refused
  fi
  least 3600 "$interval"
  case $code in
    0) due_in "$interval" ;;
    3) due_in 60 ;;
    refused) failed "refused: $problem"; due_in "$least" ;;
    *) failed "✗ the backup of $(at "$now") failed (see logs backups)"; due_in "$least" ;;
  esac
done
