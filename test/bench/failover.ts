import { setTimeout as delay } from 'node:timers/promises';
import { drillFaults, measureDrill } from '../../src/contract/drill.ts';
import type { DrillLimits, DrillMeasures } from '../../src/contract/drill.ts';
import { deployFleetOfThree, mediaMachines, nameOf } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';
import { makeOurs, makeStock } from './stock.ts';
import type { Row } from './table.ts';

export interface FailoverBenchOptions {
  readonly rounds: number;
  /** A regular expression: failures whose name it fits. */
  readonly only: string;
  /** Component store that holds everything already. */
  readonly store: string;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** What is not back by then counts as this long. */
const PATIENCE_MS = 30_000;
/** A failure may show late, or twice: each is watched this long, and longer while sound or rooms fail. */
const WATCH_MS = 12_000;
const SOUND_MS = 1_000;
const POLL_MS = 50;

/** One failure. `lastFailedMs`: from it to the beginning of the last room that was not made; null where nobody asked. */
type Outcome = DrillMeasures & { readonly lastFailedMs: number | null };

interface Outcomes {
  readonly ours: Outcome[];
  readonly stock: Outcome[];
}

interface Failure {
  readonly name: string;
  /** Where the meeting is, and what fails, given the primary's machine. */
  readonly meetingOn: (primary: number) => number;
  readonly fail: (fleet: FleetOfThree, at: { primary: number; meeting: number }) => Promise<void>;
  /** Puts right what does not come back by itself. */
  readonly mend: (fleet: FleetOfThree, at: { primary: number; meeting: number }) => Promise<void>;
  /** What has to answer again: argv on a machine. */
  readonly answer?: (at: { meeting: number }) => { readonly machine: number; readonly argv: readonly string[] };
  /** True where it is also measured without what the product adds; see stock.ts. */
  readonly hasStock?: true;
  readonly limits: DrillLimits;
}

const elsewhere = (primary: number): number => mediaMachines.find((number) => number !== primary) ?? primary;
const killPart = (part: string): Failure['fail'] => {
  return async (fleet, { primary, meeting }) => {
    const number = part === 'redis' ? primary : ['service', 'caddy'].includes(part) ? 1 : meeting;
    await fleet.signal(number, part, 'KILL');
  };
};
const get = (url: string): string[] => ['curl', '-sk', '-m', '1', '-o', '/dev/null', '--fail', url];
/** The way through Caddy to the service. */
const gateway = [...get('https://livekit.example.com/api/healthz'), '--resolve', 'livekit.example.com:443:127.0.0.1'];
const nothing = async (): Promise<void> => {};

const failures: readonly Failure[] = [
  { name: 'LiveKit killed', meetingOn: elsewhere, fail: killPart('livekit'), mend: nothing, hasStock: true, limits: drillFaults.livekit.limits },
  {
    name: 'power of a media machine',
    meetingOn: elsewhere,
    fail: ({ lab }, { meeting }) => lab.machine(meeting).kill(),
    mend: ({ lab }, { meeting }) => lab.machine(meeting).boot(),
    hasStock: true,
    limits: drillFaults.cut.limits,
  },
  {
    name: 'power of the primary’s machine',
    meetingOn: (primary) => primary,
    fail: ({ lab }, { primary }) => lab.machine(primary).kill(),
    mend: ({ lab }, { primary }) => lab.machine(primary).boot(),
    hasStock: true,
    limits: drillFaults['cut-primary'].limits,
  },
  {
    name: 'Redis primary killed',
    meetingOn: elsewhere,
    fail: killPart('redis'),
    mend: nothing,
    hasStock: true,
    limits: drillFaults.redis.limits,
  },
  {
    name: 'agent killed',
    meetingOn: elsewhere,
    fail: killPart('agent'),
    mend: nothing,
    answer: ({ meeting }) => ({ machine: meeting, argv: get('http://127.0.0.1:7980/healthz') }),
    limits: drillFaults.agent.limits,
  },
  {
    name: 'service killed',
    meetingOn: elsewhere,
    fail: killPart('service'),
    mend: nothing,
    answer: () => ({ machine: 1, argv: get('http://127.0.0.1:8080/healthz') }),
    limits: drillFaults.service.limits,
  },
  {
    name: 'Caddy killed',
    meetingOn: elsewhere,
    fail: killPart('caddy'),
    mend: nothing,
    answer: () => ({ machine: 1, argv: gateway }),
    limits: drillFaults.caddy.limits,
  },
  {
    name: 'machine 1 loses its power and boots',
    meetingOn: elsewhere,
    async fail({ lab }) {
      await lab.machine(1).kill();
      await lab.machine(1).boot();
    },
    mend: nothing,
    answer: () => ({ machine: 1, argv: gateway }),
    limits: { gapMs: 200, signallingMs: 2_000 },
  },
];

/** Machines and processes of a fleet of three fail while two clients meet and others ask for rooms. */
export async function benchFailover(options: FailoverBenchOptions): Promise<Row[]> {
  const { rounds, only, store, signal, say } = options;
  say('booting and deploying four machines');
  const fleet = await deployFleetOfThree(store);
  try {
    const outcomes = new Map(failures.filter(({ name }) => new RegExp(only).test(name)).map((failure) => [failure, { ours: [], stock: [] } as Outcomes]));
    for (let round = 1; round <= rounds; round++) {
      for (const [failure, done] of outcomes) {
        signal.throwIfAborted();
        const outcome = await measure(fleet, failure, options);
        done.ours.push(outcome);
        say(`round ${round}, ${failure.name}: ${JSON.stringify(outcome)}`);
        if (failure.hasStock === undefined) continue;
        signal.throwIfAborted();
        const stock = await measure(fleet, failure, { ...options, isStock: true });
        done.stock.push(stock);
        say(`round ${round}, ${failure.name}, stock: ${JSON.stringify(stock)}`);
      }
    }
    return [...outcomes].flatMap(([failure, done]) => rowsOf(failure, done));
  } finally {
    await fleet.remove();
  }
}

async function measure(
  fleet: FleetOfThree,
  failure: Failure,
  { say, signal, isStock = false }: FailoverBenchOptions & { isStock?: boolean },
): Promise<Outcome> {
  await fleet.settle();
  const primary = await fleet.primary();
  const at = { primary, meeting: failure.meetingOn(primary) };
  const meeting = await fleet.user.startMeeting({ on: nameOf(at.meeting) });
  if (isStock) await makeStock(fleet);
  const rooms = failure.limits.roomMs === undefined ? null : await fleet.user.createRooms();
  const beganMs = Date.now();
  await failure.fail(fleet, at);
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
  const measures = measureDrill(
    { rooms: rooms?.attempts ?? [], answers: [], counts },
    { struckMs: beganMs, readyMs: failedMs, isSilent, patienceMs: PATIENCE_MS },
  );
  return {
    ...measures,
    lastFailedMs: rooms === null ? null : Math.max(beganMs, ...failed) - beganMs,
    answerMs: answeredMs === null ? null : answeredMs - beganMs,
    signallingMs: answeredMs === null ? null : Math.max(0, counts.backAtMs - answeredMs),
  };
}

/** When what failed answered again, in milliseconds since 1970. */
async function awaitAnswer({ lab }: FleetOfThree, { answer }: Failure, at: { meeting: number }): Promise<number | null> {
  if (answer === undefined) return null;
  const { machine, argv } = answer(at);
  for (const began = Date.now(); Date.now() - began < PATIENCE_MS;) if ((await lab.machine(machine).exec(argv)).code === 0) return Date.now();
  throw new Error(`machine ${machine} did not answer: ${argv.join(' ')}`);
}

function rowsOf({ name, limits }: Failure, { ours, stock }: Outcomes): Row[] {
  const row = (what: string, limit: number | undefined, field: keyof Outcome): Row[] => {
    const isTime = field.endsWith('Ms');
    const scaled = (all: readonly Outcome[]): number[] => all.map((one) => (one[field] ?? 0) / (isTime ? 1_000 : 1));
    const value = (limit ?? 0) / (isTime ? 1_000 : 1);
    return limit === undefined ? [] : [{ name: `${name}: ${what}`, unit: isTime ? 's' : '', ours: scaled(ours), floor: scaled(stock), limit: { value } }];
  };
  return [
    ...row('gap in the sound', limits.gapMs, 'gapMs'),
    ...row('it answers', limits.answerMs, 'answerMs'),
    ...row('signalling, from then on', limits.signallingMs, 'signallingMs'),
    ...row('first new room', limits.roomMs, 'roomMs'),
    ...row('last room that failed', limits.roomMs, 'lastFailedMs'),
    ...row('reconnections', limits.reconnections, 'reconnections'),
  ];
}
