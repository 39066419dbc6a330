import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { viewFleet } from '../apply/ask-fleet.ts';
import { sendCommands } from '../clients/sentinel.ts';
import { JOURNAL_KEY, JOURNAL_LINES, mergeJournal, parseJournal } from '../contract/journal.ts';
import type { JournalEntry } from '../contract/journal.ts';
import { findUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import { variableNames } from '../settings/schema.ts';
import type { Settings } from '../settings/schema.ts';
import { journalFile } from '../topology/topology.ts';
import type { Topology } from '../topology/topology.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings, whatEnded } from './context.ts';
import type { CliContext } from './context.ts';

/** A journal of this size is set aside; the one before it goes. */
const LONGEST_BYTES = 1024 * 1024;
/** Word of a join line, which is a credential. */
const SECRET_WORD = /^lkf\d+\./;

/**
 * Does the work of a command that changes something, and notes who did it, when, and with which result.
 * @throws what the work throws
 */
export async function recorded<T>(context: CliContext, { settings, topology }: { settings: Settings; topology: Topology }, work: () => Promise<T>): Promise<T> {
  const began = { atMs: Date.now(), now: context.now() };
  const entry: JournalEntry = {
    id: randomUUID(),
    atMs: began.atMs,
    machine: topology.machine,
    by: readUser(),
    words: process.argv.slice(2).map((word) => (SECRET_WORD.test(word) ? '-' : word.slice(0, 300))),
    variables: variableNames.filter((name) => (process.env[name] ?? '') !== ''),
    ended: null,
  };
  const end = (code: string | null): Promise<void> =>
    note(context, settings, topology, { ...entry, ended: { ms: Math.round(context.now() - began.now), code } });
  await context.host.makeFolder(topology.layout.logs, { mode: 0o750, uid: 0, gid: await groupOf(context, settings) });
  await note(context, settings, topology, entry);
  try {
    const result = await work();
    await end(null);
    return result;
  } catch (error) {
    const known = whatEnded(context.signal, error);
    await end(known instanceof FleetError ? known.code : 'UNEXPECTED');
    throw error;
  }
}

/** A full disk is no reason to leave a command undone. */
async function note(context: CliContext, settings: Settings, { layout }: Topology, entry: JournalEntry): Promise<void> {
  const attributes = { mode: 0o640, uid: 0, gid: await groupOf(context, settings) };
  await context.host.append(journalFile(layout), `${JSON.stringify(entry)}\n`, { ...attributes, longest: LONGEST_BYTES }).catch((error: unknown) => {
    if (!(error instanceof FleetError && error.code === 'DISK_FULL')) throw error;
  });
}

/** The agent, which reads the journal, is of this group. */
async function groupOf({ host }: CliContext, settings: Settings): Promise<number> {
  return (await findUser(host, settings.SERVICE_USER))?.gid ?? 0;
}

/** Who sits at the keyboard: sudo's caller, else the user of the login (audit session), else root. */
function readUser(): string {
  const caller = process.env['SUDO_USER'];
  if (caller !== undefined && caller !== '') return caller.slice(0, 100);
  try {
    const uid = readFileSync('/proc/self/loginuid', 'utf8').trim();
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((one) => one.split(':')[2] === uid);
    return line?.split(':')[0] ?? 'root';
  } catch {
    // A kernel without audit.
    return 'root';
  }
}

/** What was done on the machines of the fleet, the last last; this machine's own where Redis does not answer. */
export async function journal(context: CliContext, { lines }: { lines: number }): Promise<void> {
  requireRoot('journal');
  const { reporter, host } = context;
  const { settings, topology } = loadSettings(context);
  const own = parseJournal((await host.read(journalFile(topology.layout)))?.content ?? '').slice(-JOURNAL_LINES);
  const fleet = topology.redisHosts.length === 0 ? null : await viewFleet(host, settings, topology);
  const shared = fleet === null ? null : await readShared(settings, fleet.primary);
  const entries = mergeJournal([...own, ...(shared ?? [])]).slice(-lines);
  for (const entry of entries) reporter.line(describe(entry));
  if (entries.length === 0) reporter.say('JOURNAL_EMPTY');
  if (shared === null && topology.redisHosts.length > 0) reporter.say('JOURNAL_OWN_ONLY');
  reporter.result({ entries, isWholeFleet: shared !== null });
}

async function readShared(settings: Settings, primary: { host: string; port: number }): Promise<JournalEntry[] | null> {
  try {
    const [found] = await sendCommands({ ...primary, password: settings.REDIS_PASSWORD }, [['ZRANGE', JOURNAL_KEY, '0', '-1']]);
    return Array.isArray(found) ? parseJournal(found.join('\n')) : null;
  } catch (error) {
    if (error instanceof FleetError && error.code === 'REDIS_REFUSED') return null;
    throw error;
  }
}

function describe({ atMs, machine, by, words, variables, ended }: JournalEntry): string {
  const at = new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z');
  const mark = ended === null ? '…' : ended.code === null ? '✓' : '✗';
  const result = ended === null ? '' : `  ${(ended.ms / 1000).toFixed(1)} s${ended.code === null ? '' : ` ${ended.code}`}`;
  const changed = variables.length === 0 ? '' : `  (${variables.join(', ')})`;
  return `${at} ${mark} ${machine.padEnd(16)} ${by.padEnd(10)} ${words.join(' ')}${changed}${result}`;
}
