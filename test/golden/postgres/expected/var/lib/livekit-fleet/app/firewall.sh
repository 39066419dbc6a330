#!/bin/sh
# Written by livekit-fleet. Usage: firewall.sh RULES MEMBERS RUN TRIAL_SECONDS
export LC_ALL=C
rules=$1 members=$2 run=$3 trial=$4
table='inet livekit_fleet'

say() {
  echo "$1"
  printf '%s\n' "$1" >"$run.state.new" && mv "$run.state.new" "$run.state"
}

# What the service user writes is not trusted: no link, no pipe that never ends, addresses only, not too many.
octet='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
list() {
  dd if="$members" iflag=nofollow,nonblock bs=65536 count=1 2>/dev/null |
    grep -Ex "($octet\.){3}$octet" | grep -Ev '^(0|127|22[4-9]|2[345][0-9])\.' | sort -u | head -n 1000
}

# Rules and members in one act: the old ones or the new ones, never none.
load() {
  # Before the reading: what is written from now on is newer.
  : >"$run.read"
  wanted=$(list)
  problem=$({
    cat "$in_force"
    [ -z "$wanted" ] || printf 'add element %s members { %s }\n' "$table" "$(echo "$wanted" | paste -sd, -)"
  } | nft -f - 2>&1) || {
    touch -d @0 "$run.read"
    say "failed: $(echo "$problem" | head -n 1). Set FIREWALL=print or FIREWALL=off in .env where nftables cannot be used"
    return 1
  }
  echo "$wanted" >"$run.members.new" && chmod 640 "$run.members.new" && mv "$run.members.new" "$run.members"
  say "$1"
}

unload() {
  nft delete table $table 2>/dev/null
  rm -f "$run.members" "$run.read"
}

former() {
  if [ -s "$run.confirmed" ]; then
    in_force=$run.confirmed
    load "$mood"
  else
    in_force=
    unload
    say "$mood"
  fi
}

is_stale() {
  ! nft list set $table members >/dev/null 2>&1 || [ "$(list)" != "$(cat "$run.members" 2>/dev/null)" ]
}

trap 'unload; rm -f "$run.state"; exit 0' TERM INT
left=
in_force=$rules
if cmp -s "$rules" "$run.confirmed"; then
  mood='in force'
  load "$mood"
elif [ -e "$run.trial" ]; then
  mood='on trial'
  left=$trial
  load "$mood"
else
  mood='not confirmed: run ./部署.sh deploy'
  former
fi
rm -f "$run.trial"

second=0
while :; do
  sleep 1 &
  wait $!
  second=$((second + 1))
  if [ -n "$left" ]; then
    left=$((left - 1))
    if cmp -s "$rules" "$run.confirmed"; then
      left=
      mood='in force'
      say "$mood"
    elif [ "$left" -le 0 ]; then
      left=
      mood='taken back: nobody confirmed the new rules in time; run ./部署.sh deploy'
      former
    fi
  fi
  [ -n "$in_force" ] || continue
  if [ "$members" -nt "$run.read" ] || { [ $((second % 10)) -eq 0 ] && is_stale; }; then load "$mood"; fi
done
