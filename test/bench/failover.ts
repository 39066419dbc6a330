import { appendFile, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { measureDrill } from '../../src/contract/drill.ts';
import type { DrillMeasures } from '../../src/contract/drill.ts';
import { deployFleetOfThree, nameOf } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';
import { failures } from './failures.ts';
import type { Failure, Place } from './failures.ts';
import { makeOurs, makeStock } from './stock.ts';
import type { Row } from './table.ts';

export interface FailoverBenchOptions {
  readonly rounds: number;
  /** A regular expression: failures whose name it fits. */
  readonly only: string;
  /** Component store that holds everything already. */
  readonly store: string;
  /** A file that keeps what was measured; what it holds already is not measured again. Null: nothing is kept. */
  readonly keep: string | null;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** What is not back by then counts as this long. */
const PATIENCE_MS = 30_000;
/** A failure may show late, or twice: each is watched this long, and longer while sound or rooms fail. */
const WATCH_MS = 8_000;
const SOUND_MS = 1_000;
const POLL_MS = 50;

/** One failure. `lastFailedMs`: from it to the beginning of the last room that was not made; null where nobody asked. `after`: how often what has to be so was not. */
type Outcome = DrillMeasures & { readonly lastFailedMs: number | null; readonly after: number | null };

interface Outcomes {
  readonly ours: Outcome[];
  readonly stock: Outcome[];
}

/** A line of the file. */
interface Kept {
  readonly name: string;
  readonly side: keyof Outcomes;
  readonly outcome: Outcome;
}

/** Machines and processes of a fleet of three fail while two clients meet and others ask for rooms. */
export async function benchFailover(options: FailoverBenchOptions): Promise<Row[]> {
  const { rounds, only, store, keep, signal, say } = options;
  const chosen = new Map(failures.filter(({ name }) => new RegExp(only).test(name)).map((failure) => [failure, { ours: [], stock: [] } as Outcomes]));
  const kept = keep === null ? '' : await readFile(keep, 'utf8').catch(() => '');
  for (const { name, side, outcome } of kept.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Kept])))
    for (const [failure, done] of chosen) if (failure.name === name && done[side].length < rounds) done[side].push(outcome);
  const isMissing = [...chosen].some(([failure, done]) => done.ours.length < rounds || (failure.stock !== undefined && done.stock.length < rounds));
  if (!isMissing) return [...chosen].flatMap(([failure, done]) => rowsOf(failure, done));
  say('booting and deploying four machines');
  const fleet = await deployFleetOfThree(store);
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const [failure, done] of chosen) {
        for (const side of ['ours', 'stock'] as const) {
          signal.throwIfAborted();
          if (done[side].length >= round || (side === 'stock' && failure.stock === undefined)) continue;
          const outcome = await measure(fleet, failure, { ...options, isStock: side === 'stock' });
          done[side].push(outcome);
          if (keep !== null) await appendFile(keep, `${JSON.stringify({ name: failure.name, side, outcome } satisfies Kept)}\n`);
          say(`round ${round}, ${failure.name}, ${side}: ${JSON.stringify(outcome)}`);
        }
      }
    }
    return [...chosen].flatMap(([failure, done]) => rowsOf(failure, done));
  } finally {
    await fleet.remove();
  }
}

async function measure(fleet: FleetOfThree, failure: Failure, { say, signal, isStock }: FailoverBenchOptions & { isStock: boolean }): Promise<Outcome> {
  await fleet.settle();
  const primary = await fleet.primary();
  const at = { primary, meeting: failure.meetingOn(primary) };
  const stockFail = isStock ? failure.stock?.fail : undefined;
  // Without agents nobody knows where a room is; where it has to be known, the clients have come before.
  if (stockFail !== undefined) await makeStock(fleet);
  const meeting = await fleet.user.startMeeting({ on: stockFail === undefined ? nameOf(at.meeting) : null });
  if (isStock && stockFail === undefined) await makeStock(fleet);
  const rooms = failure.limits.roomMs === undefined ? null : await fleet.user.createRooms();
  const beganMs = Date.now();
  await (stockFail === undefined ? failure.fail(fleet, at) : stockFail(fleet));
  const failedMs = Date.now();
  const answeredMs = await awaitAnswer(fleet, failure, at);
  const hasSound = (): boolean => Date.now() - meeting.lastSoundMs() < SOUND_MS;
  const isBack = (): boolean => hasSound() && (rooms === null || rooms.attempts.some((one) => one.isCreated && one.startedMs >= failedMs));
  await delay(WATCH_MS, undefined, { signal });
  while (!isBack() && Date.now() - beganMs < PATIENCE_MS) await delay(POLL_MS, undefined, { signal });
  rooms?.end();
  const isSilent = !hasSound();
  const counts = await meeting.end();
  const failed = rooms?.attempts.filter((one) => !one.isCreated && one.startedMs >= beganMs).map((one) => one.startedMs) ?? [];
  say(`${failure.name} at ${new Date(beganMs).toISOString().slice(11, 23)}, ${JSON.stringify(at)}: ${counts.timeline.join('; ')}`);
  await failure.mend(fleet, at);
  if (isStock) await makeOurs(fleet);
  const after = isStock ? null : ((await failure.after?.count(fleet, at)) ?? null);
  const measures = measureDrill(
    { rooms: rooms?.attempts ?? [], answers: [], counts },
    { struckMs: beganMs, readyMs: failedMs, isSilent, patienceMs: PATIENCE_MS },
  );
  return {
    ...measures,
    after,
    lastFailedMs: rooms === null ? null : Math.max(beganMs, ...failed) - beganMs,
    answerMs: answeredMs === null ? null : answeredMs - beganMs,
    signallingMs: answeredMs === null ? null : Math.max(0, counts.backAtMs - answeredMs),
  };
}

/** When what failed answered again, in milliseconds since 1970. */
async function awaitAnswer({ lab }: FleetOfThree, { answer }: Failure, at: Place): Promise<number | null> {
  if (answer === undefined) return null;
  const { machine, argv } = answer(at);
  for (const began = Date.now(); Date.now() - began < PATIENCE_MS;) if ((await lab.machine(machine).exec(argv)).code === 0) return Date.now();
  throw new Error(`machine ${machine} did not answer: ${argv.join(' ')}`);
}

function rowsOf({ name, limits, after }: Failure, { ours, stock }: Outcomes): Row[] {
  const row = (what: string, limit: number | undefined, field: keyof Outcome): Row[] => {
    const isTime = field.endsWith('Ms');
    const scaled = (all: readonly Outcome[]): number[] => all.map((one) => (one[field] ?? 0) / (isTime ? 1_000 : 1));
    const value = (limit ?? 0) / (isTime ? 1_000 : 1);
    return limit === undefined
      ? []
      : [{ name: `${name}: ${what}`, unit: isTime ? 's' : '', ours: scaled(ours), floor: scaled(stock), limit: { value }, isWorstCounted: true }];
  };
  return [
    ...row('gap in the sound', limits.gapMs, 'gapMs'),
    ...row('it answers', limits.answerMs, 'answerMs'),
    ...row('signalling, from then on', limits.signallingMs, 'signallingMs'),
    ...row('first new room', limits.roomMs, 'roomMs'),
    ...row('last room that failed', limits.roomMs, 'lastFailedMs'),
    ...row('reconnections of two clients', limits.reconnections, 'reconnections'),
    ...(after === undefined ? [] : row(after.name, 0, 'after')),
  ];
}
