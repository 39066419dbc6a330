import type { Settings } from '../settings/schema.ts';
import { backupsBase, backupsScript } from '../topology/backup-files.ts';
import type { Topology } from '../topology/topology.ts';
import { ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';
import { rootsCheck } from './roots-check.ts';
import type { Project } from './upgrader.ts';

/**
 * The program of the backups part (sh): sleeps until a backup is due, makes and proves it at low priority, and removes what is beyond
 * BACKUP_KEEP. When that is, and what failed last, stands in files, so that neither a reboot nor a deploy begins anew; the command
 * `backup` itself notes there when it succeeds, also by hand. The first one is ten minutes away;
 * one that failed is tried again an hour later, one that found another command at work a minute later.
 */
export const backupTimerScript = `#!/bin/sh
# Written by livekit-fleet. Usage: backups.sh BASE PROJECT ENV SUPERVISOR SECONDS
export LC_ALL=C
umask 027
base=$1 supervisor=$4 interval=$5

say() {
  printf '%s\\n' "$1" >"$base.state.new" && mv "$base.state.new" "$base.state"
}

failed() {
  (umask 077 && printf '%s\\n' "$1" >"$base.last.part") && mv "$base.last.part" "$base.last"
}

at() { date -u -d "@$1" +%FT%TZ; }

# Sets \`least\`.
least() { [ "$1" -lt "$2" ] && least=$1 || least=$2; }

due_at() {
  next=$1
  echo "$next" >"$base.next.new" && mv "$base.next.new" "$base.next"
}

due_in() { due_at $(($(date +%s) + $1)); }

${rootsCheck}

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
`;

/** The command line of the part. */
export function backupTimerCommand({ BACKUP_INTERVAL: seconds }: Settings, { layout, supervisor }: Topology, { root, envPath }: Project): string[] {
  return ['/bin/sh', backupsScript(layout), backupsBase(layout), root, envPath, supervisor, String(seconds)];
}

/** The program that backs this machine up when it is time. */
export function renderBackupTimer({ layout }: Topology): RenderedFile {
  return ourFile(backupsScript(layout), backupTimerScript);
}
