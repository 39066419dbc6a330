/** Functions for programs (sh) of parts that sleep until the agent writes into `$base.pipe`. */
export const orderPipe = `reader=
open_pipe() {
  [ ! -e "$base.pipe" ] || rm -f "$base.pipe"
  mkfifo -m 620 "$base.pipe" && exec 3<>"$base.pipe" || exit 1
}

# The reader ends with this program, also where that is killed; to that systemd sees itself, and where it confines this program setpriv fails.
ends_too=
[ -n "\${INVOCATION_ID:-}" ] || ends_too='setpriv --pdeathsig KILL'
# Into $base.read. At most a page at a time: a line that is cut off lacks its last word.
await_lines() {
  $ends_too dd bs=4096 count=1 <&3 >"$base.read" 2>/dev/null &
  reader=$!
  wait $reader || exit 1
}`;
