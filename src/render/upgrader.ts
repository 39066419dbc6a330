import { upgradesBase, upgradesScript } from '../topology/upgrade-files.ts';
import type { Topology } from '../topology/topology.ts';
import { orderPipe } from './order-pipe.ts';
import { ourFile } from './rendered-file.ts';
import { rootsCheck } from './roots-check.ts';
import type { RenderedFile } from './rendered-file.ts';

/** Where this software and its settings stand on the machine. */
export interface Project {
  /** The folder of 部署.sh. */
  readonly root: string;
  readonly envPath: string;
}

/**
 * The program of the upgrades part (sh): root's hand for `upgrade --fleet` and `rollback --fleet`. It sleeps until the agent writes a
 * line, and knows three: `ID LANGUAGE fetch VERSION|newest|former` brings a version into the store, `ID LANGUAGE upgrade VERSION` and
 * `ID LANGUAGE upgrade-now VERSION` run it. The command runs apart from this part, which it may restart.
 */
export const upgraderScript = `#!/bin/sh
# Written by livekit-fleet. Usage: upgrades.sh BASE PROJECT ENV SUPERVISOR
#                              or: upgrades.sh run BASE ID PROJECT ENV WORD...
export LC_ALL=C
set -f
umask 027

refuse() {
  printf '%s\\n' "✗ $2" >"$base.log"
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
  printf '%s\\n' "$1" >"$base.state.new" && mv "$base.state.new" "$base.state"
}

# What the service user writes is not trusted: an order's number, one of our words, a version.
is_id() { printf '%s\\n' "$1" | grep -Exq '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'; }
is_version() { printf '%s\\n' "$1" | grep -Exq '[0-9]{1,6}\\.[0-9]{1,6}\\.[0-9]{1,6}(-[A-Za-z0-9_.]{1,40})?'; }

${rootsCheck}

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

${orderPipe}

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
`;

/** The command line of the part. */
export function upgraderCommand({ layout, supervisor }: Topology, { root, envPath }: Project): string[] {
  return ['/bin/sh', upgradesScript(layout), upgradesBase(layout), root, envPath, supervisor];
}

/** The program that carries out upgrades. */
export function renderUpgrader({ layout }: Topology): RenderedFile {
  return ourFile(upgradesScript(layout), upgraderScript);
}
