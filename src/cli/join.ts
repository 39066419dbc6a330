import { text } from 'node:stream/consumers';
import { askAll } from '../apply/ask-fleet.ts';
import { checkInstalled } from '../apply/installed.ts';
import { withLock } from '../host/lock.ts';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import { editEnv } from '../settings/env-file.ts';
import { readJoin } from '../settings/join-line.ts';
import { isPlaceholder } from '../settings/parse.ts';
import type { Settings } from '../settings/schema.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings, readRole } from './context.ts';
import { recorded } from './journal.ts';
import type { CliContext } from './context.ts';
import { PRIVATE, createEnv, deploy } from './deploy.ts';
import { readLine } from './make-way.ts';
import { settleRestore } from './settle-restore.ts';

/** Those whose other value means another fleet. */
const IDENTITY = ['LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'REDIS_PASSWORD'] as const;

/**
 * Gives this machine's `.env` what the join line of a media machine says, and brings a gateway that is deployed up with it.
 * @param word the join line's word; read from standard input where it is missing or `-`, which keeps it out of the process list
 * @throws FleetError JOIN_DAMAGED, JOIN_OTHER_FLEET, JOIN_WEBHOOK_KEY, JOIN_UNREACHABLE, FLEET_SECRETS_DIFFER, FLEET_FOREIGN, those of
 * checkInstalled; nothing is changed then
 */
export async function join(context: CliContext, word: string | undefined, { isForced }: { isForced: boolean }): Promise<void> {
  requireRoot('join', word);
  const { reporter, host, envPath } = context;
  const wanted = readJoin(word === undefined || word === '-' ? await readInput(context) : word);
  const { settings: before, topology } = loadSettings(context, 'gateway');
  const { layout } = topology;
  checkIdentity(before, wanted, { isForced });
  await checkInstalled(host, before, topology);
  const { REDIS_HOST: machine, SENTINEL_PORT: port } = wanted;
  const answer = (await askAll({ ...before, ...wanted }, [machine])).get(machine);
  if (answer?.kind === 'refused') throw new FleetError('FLEET_SECRETS_DIFFER', { host: machine });
  if (answer?.kind === 'foreign') throw new FleetError('FLEET_FOREIGN', { host: machine, port, reason: answer.reason });
  if (answer?.kind === 'unreachable') throw new FleetError('JOIN_UNREACHABLE', { host: machine, port, reason: answer.reason });

  const write = async (): Promise<void> => {
    // What a restore that was killed has begun is undone first: it may have been the settings.
    if ((await settleRestore(context, { settings: before, topology })) !== null) checkIdentity(loadSettings(context, 'gateway').settings, wanted, { isForced });
    await createEnv(context);
    const { envText, settings } = loadSettings(context, 'gateway');
    const changed = Object.entries(wanted).filter(([name, value]) => settings[name as keyof typeof wanted] !== value);
    if (changed.length === 0) return;
    await host.write(envPath, editEnv(envText, Object.fromEntries(changed.map(([name, value]) => [name, String(value)]))), PRIVATE);
    reporter.say('JOINED', { path: envPath, names: changed.map(([name]) => name).join(', ') });
  };
  await withLock(layout.lock, 'join', () => recorded(context, { settings: before, topology }, write));
  // A machine that has left its fleet was something else.
  if (readRole(before) !== 'gateway') reporter.say('JOIN_NEXT');
  else await deploy(context, { role: 'gateway', isDryRun: false, isNewFleet: false, isNow: false, isSure: false });
}

/** @throws FleetError JOIN_OTHER_FLEET, JOIN_WEBHOOK_KEY where this machine is another fleet's */
function checkIdentity(now: Settings, wanted: ReturnType<typeof readJoin>, { isForced }: { isForced: boolean }): void {
  const other = IDENTITY.find((name) => !isPlaceholder(now[name]) && now[name] !== wanted[name]);
  if (other !== undefined && !isForced) throw new FleetError('JOIN_OTHER_FLEET', { variable: other }, { exitCode: 2 });
  const { WEBHOOK_API_KEY: webhookKey } = now;
  if (!isPlaceholder(webhookKey) && webhookKey !== wanted.LIVEKIT_API_KEY) throw new FleetError('JOIN_WEBHOOK_KEY', {}, { exitCode: 2 });
}

/** The last word of what is piped in, or of the line that is typed: a whole join line is one too. */
async function readInput(context: CliContext): Promise<string> {
  const input = await (process.stdin.isTTY ? readLine(context, translate(context.language, 'JOIN_ASKED')) : text(process.stdin));
  return input.trim().split(/\s+/).at(-1) ?? '';
}
