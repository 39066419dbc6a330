#!/bin/sh
# Written by livekit-fleet. Usage: sockets.sh BASE USER TCP_PORTS UDP_PORTS PORT...
export LC_ALL=C
set -f
umask 027
base=$1 user=$2 tcp=$3 udp=$4
shift 4
ports=" $* "
table='inet livekit_fleet_drill'

say() {
  echo "$1"
  printf '%s\n' "$1" >"$base.state.new" && mv "$base.state.new" "$base.state"
}

# What the service user writes is not trusted: one address of another machine, and one of our own ports there.
octet='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
is_allowed() {
  case "$ports" in *" $2 "*) ;; *) return 1 ;; esac
  [ -z "$3" ] && printf '%s\n' "$1" | grep -Exq "($octet\.){3}$octet" && ! printf '%s\n' "$1" | grep -Eq '^(0|127|22[4-9]|2[345][0-9])\.'
}

end_all() {
  open=$(ss -t -H -n state established dst "$1" dport = ":$2" | wc -l)
  ended=$(ss -K -t -H -n dst "$1" dport = ":$2" | wc -l)
  if [ "$open" -gt 0 ] && [ "$ended" -eq 0 ]; then
    say 'cannot: the kernel does not end connections on command (INET_DIAG_DESTROY); after a power cut LiveKit may have to be restarted'
  else
    echo "$1:$2: $ended connections ended"
  fi
}

# Packets of the service user's programs, and those for their ports, but for this machine's own. The elements run out by themselves.
cut() {
  printf '%s\n' "$1" | grep -Exq '[1-9][0-9]?' && [ "$1" -le 60 ] && [ -z "$2" ] || { echo refused; return; }
  true >"$base.cut" || return
  nft -f - <<RULES 2>&1 || return
table $table
delete table $table
table $table {
  set cut {
    type inet_proto
    flags timeout
    elements = { tcp timeout $1s, udp timeout $1s }
  }
  chain input {
    type filter hook input priority -20; policy accept;
    iif "lo" return
    meta l4proto != @cut return
    meta skuid $user drop
    tcp dport { $tcp } drop
    udp dport { $udp } drop
  }
  chain output {
    type filter hook output priority -20; policy accept;
    oif != "lo" meta skuid $user meta l4proto @cut drop
  }
}
RULES
  echo "cut off for $1 s"
}

# Of this program or of one that was killed.
mend() {
  [ ! -e "$base.cut" ] || { nft delete table $table 2>/dev/null; rm -f "$base.cut"; }
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

mend
trap 'mend; kill $reader 2>/dev/null; rm -f "$base.pipe" "$base.state"; exit 0' TERM INT
open_pipe
case $(ss -h 2>&1) in
  *--kill*)
    read -r kernel </proc/sys/kernel/osrelease
    if grep -qs '^# CONFIG_INET_DIAG_DESTROY is not set' "/boot/config-$kernel"; then
      say 'cannot: the kernel does not end connections on command (INET_DIAG_DESTROY); after a power cut LiveKit may have to be restarted'
    else
      say ready
    fi
    ;;
  *) say 'cannot: ss of iproute2 is missing or too old; after a power cut LiveKit may have to be restarted' ;;
esac

while :; do
  await_lines
  while read -r address port rest; do
    if [ "$address" = cut ]; then cut "$port" "$rest"; elif is_allowed "$address" "$port" "$rest"; then end_all "$address" "$port"; else echo 'refused'; fi
  done <"$base.read"
done
