import { setTimeout as delay } from 'node:timers/promises';
import { deployFleetOfThree, mediaMachines, nameOf } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';
import type { Attempt, Counts } from '../fleet/user.ts';
import type { Row } from './table.ts';

export interface FailoverBenchOptions {
  readonly rounds: number;
  /** Component store that holds everything already. */
  readonly store: string;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** What is not back by then counts as this long. */
const PATIENCE_MS = 60_000;
/** What comes after the first sound or room also belongs to the failure: a second gap, a room that fails. */
const AFTER_MS = 5_000;
const POLL_MS = 50;

/** One failure: seconds. */
interface Outcome {
  readonly gap: number;
  /** From the failure to the first new room, and to the beginning of the last that failed; null where nobody asked. */
  readonly room: number | null;
  readonly lastFailed: number | null;
  readonly reconnections: number;
}

interface Failure {
  readonly name: string;
  /** Where the meeting is, and what fails, given the primary's machine. */
  readonly meetingOn: (primary: number) => number;
  readonly fail: (fleet: FleetOfThree, at: { primary: number; meeting: number }) => Promise<void>;
  /** Puts right what does not come back by itself. */
  readonly mend: (fleet: FleetOfThree, at: { primary: number; meeting: number }) => Promise<void>;
  readonly limits: { readonly gap: number; readonly room?: number; readonly reconnections?: number };
}

const elsewhere = (primary: number): number => mediaMachines.find((number) => number !== primary) ?? primary;
const killPart = (part: string): Failure['fail'] => {
  return async ({ lab }, { primary, meeting }) => {
    const number = part === 'redis' ? primary : meeting;
    const { code } = await lab.machine(number).exec(['systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', `livekit-fleet-${part}`]);
    if (code !== 0) throw new Error(`${part} not killed`);
  };
};
const nothing = async (): Promise<void> => {};

const failures: readonly Failure[] = [
  { name: 'LiveKit killed', meetingOn: elsewhere, fail: killPart('livekit'), mend: nothing, limits: { gap: 1 } },
  {
    name: 'power of a media machine',
    meetingOn: elsewhere,
    fail: ({ lab }, { meeting }) => lab.machine(meeting).kill(),
    mend: ({ lab }, { meeting }) => lab.machine(meeting).boot(),
    limits: { gap: 3.5 },
  },
  {
    name: 'power of the primary’s machine',
    meetingOn: (primary) => primary,
    fail: ({ lab }, { primary }) => lab.machine(primary).kill(),
    mend: ({ lab }, { primary }) => lab.machine(primary).boot(),
    limits: { gap: 5, room: 4 },
  },
  { name: 'Redis primary killed', meetingOn: elsewhere, fail: killPart('redis'), mend: nothing, limits: { gap: 0.2, room: 3, reconnections: 0 } },
];

/** Machines and processes of a fleet of three fail while two clients meet and others ask for rooms. */
export async function benchFailover({ rounds, store, signal, say }: FailoverBenchOptions): Promise<Row[]> {
  say('booting and deploying four machines');
  const fleet = await deployFleetOfThree(store);
  try {
    const outcomes = new Map<Failure, Outcome[]>(failures.map((failure) => [failure, []]));
    for (let round = 1; round <= rounds; round++) {
      for (const [failure, done] of outcomes) {
        signal.throwIfAborted();
        const outcome = await measure(fleet, failure, say);
        done.push(outcome);
        say(`round ${round}, ${failure.name}: ${JSON.stringify(outcome)}`);
      }
    }
    return [...outcomes].flatMap(([failure, done]) => rowsOf(failure, done));
  } finally {
    await fleet.remove();
  }
}

async function measure(fleet: FleetOfThree, failure: Failure, say: (text: string) => void): Promise<Outcome> {
  await fleet.settle();
  const primary = await fleet.primary();
  const at = { primary, meeting: failure.meetingOn(primary) };
  const meeting = await fleet.user.startMeeting({ on: nameOf(at.meeting) });
  const rooms = failure.limits.room === undefined ? null : await fleet.user.createRooms();
  const gapsBefore = meeting.gapsMs.length;
  const beganMs = Date.now();
  await failure.fail(fleet, at);
  const failedMs = Date.now();
  const isBack = (): boolean => (rooms === null || firstRoomMs(rooms.attempts, failedMs) !== null) && (hasNoGap(failure) || meeting.gapsMs.length > gapsBefore);
  while (!isBack() && Date.now() - beganMs < PATIENCE_MS) await delay(POLL_MS);
  await delay(AFTER_MS);
  rooms?.end();
  // Sound that does not come back is no gap that ended.
  const isSilent = !hasNoGap(failure) && meeting.gapsMs.length === gapsBefore;
  const counts = await meeting.end();
  const first = rooms === null ? null : (firstRoomMs(rooms.attempts, failedMs) ?? beganMs + PATIENCE_MS);
  const failed = rooms?.attempts.filter((one) => !one.isCreated && one.startedMs >= beganMs).map((one) => one.startedMs) ?? [];
  say(`${failure.name} at ${new Date(beganMs).toISOString().slice(11, 23)}, ${JSON.stringify(at)}: ${counts.timeline.join('; ')}`);
  await failure.mend(fleet, at);
  return {
    gap: isSilent ? PATIENCE_MS / 1_000 : longestGap(counts),
    room: first === null ? null : (first - beganMs) / 1_000,
    lastFailed: rooms === null ? null : (Math.max(beganMs, ...failed) - beganMs) / 1_000,
    reconnections: counts.reconnections,
  };
}

/** True where a meeting is not to notice it at all. */
function hasNoGap({ limits }: Failure): boolean {
  return limits.reconnections === 0;
}

function firstRoomMs(attempts: readonly Attempt[], failedMs: number): number | null {
  const created = attempts.filter((one) => one.isCreated && one.startedMs >= failedMs).map((one) => one.endedMs);
  return created.length === 0 ? null : Math.min(...created);
}

function longestGap({ longestGapMs }: Counts): number {
  return longestGapMs / 1_000;
}

function rowsOf({ name, limits }: Failure, done: readonly Outcome[]): Row[] {
  const rows: Row[] = [{ name: `${name}: gap in the sound`, unit: 's', ours: done.map((one) => one.gap), floor: [], limit: { value: limits.gap } }];
  const { room, reconnections } = limits;
  if (room !== undefined) {
    rows.push({ name: `${name}: first new room`, unit: 's', ours: done.map((one) => one.room ?? 0), floor: [], limit: { value: room } });
    rows.push({ name: `${name}: last room that failed`, unit: 's', ours: done.map((one) => one.lastFailed ?? 0), floor: [], limit: { value: room } });
  }
  if (reconnections !== undefined)
    rows.push({ name: `${name}: reconnections`, unit: '', ours: done.map((one) => one.reconnections), floor: [], limit: { value: reconnections } });
  return rows;
}
