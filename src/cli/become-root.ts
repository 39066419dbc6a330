import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';
import { variableNames } from '../settings/schema.ts';

/** Names the file that carries the settings of the environment, and secret words of the command line, to root. */
const CARRIER = 'FLEET_ENVIRONMENT';
/** What decides how the entry script speaks, and which Node it takes. */
const OPEN_NAMES = ['LANG', 'LC_ALL', 'LC_MESSAGES', 'FLEET_NODE', CARRIER];

/** What stands on root's command line in the place of a secret word. */
const HIDDEN = '-';

/** What the file holds. */
const carried = (): z.ZodType<{ settings: Record<string, string>; words: Record<number, string> }> =>
  z.object({
    settings: z.partialRecord(z.enum(variableNames), z.string()),
    /** Secret words by their place in argv. */
    words: z.record(z.coerce.number(), z.string()),
  });

/**
 * Goes on as root: a user with sudo is asked for the password once, and the command runs again with the same words and
 * settings. The values go by a private file: sudo logs what it hands over itself, and everyone sees an argv.
 * @param secretWord of the command line, which goes that way as well
 * @throws FleetError NOT_ROOT where there is no sudo, or nobody to ask for the password
 */
export function requireRoot(command: string, secretWord?: string): void {
  if (process.getuid?.() === 0) return;
  const canAsk = process.stdin.isTTY;
  const isAllowed = canAsk || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  const folder = mkdtempSync(`${tmpdir()}/livekit-fleet-`);
  try {
    const settings = Object.fromEntries(variableNames.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
    const words = Object.fromEntries(Object.entries(process.argv).filter(([, word]) => word === secretWord));
    const carrier = `${folder}/environment.json`;
    writeFileSync(carrier, JSON.stringify({ settings, words }), { mode: 0o600 });
    const env = { ...process.env, [CARRIER]: carrier };
    const script = `${import.meta.dirname}/../部署.sh`;
    const names = OPEN_NAMES.filter((name) => name in env);
    const shown = process.argv.slice(2).map((word) => (word === secretWord ? HIDDEN : word));
    const argv = [...(canAsk ? [] : ['-n']), `--preserve-env=${names.join(',')}`, '--', script, ...shown];
    const done = isAllowed ? spawnSync('sudo', argv, { stdio: 'inherit', env }) : null;
    if (done === null || done.error !== undefined) throw new FleetError('NOT_ROOT', { command: `./部署.sh ${command}` });
    process.exitCode = done.status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.exit();
}

/** Takes over the settings and secret words that requireRoot carried here. */
export function adoptEnvironment(): void {
  const carrier = process.env[CARRIER];
  if (carrier === undefined) return;
  delete process.env[CARRIER];
  const { settings, words } = carried().parse(JSON.parse(readFileSync(carrier, 'utf8')));
  for (const [name, value] of Object.entries(settings)) process.env[name] ??= value;
  // No other word: sudo has judged those that it saw.
  for (const [place, word] of Object.entries(words)) if (process.argv[Number(place)] === HIDDEN) process.argv[Number(place)] = word;
}
