import { drillFaults } from '../../src/contract/drill.ts';
import type { DrillLimits } from '../../src/contract/drill.ts';
import { mediaMachines } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';
import { changeUpstreams } from './stock.ts';

/** Who is who. */
export interface Place {
  readonly primary: number;
  readonly meeting: number;
}

/** Something that fails, or is done on purpose. */
export interface Failure {
  readonly name: string;
  /** Where the meeting is, and what fails, given the primary's machine. */
  readonly meetingOn: (primary: number) => number;
  readonly fail: (fleet: FleetOfThree, at: Place) => Promise<void>;
  /** Puts right what does not come back by itself. */
  readonly mend: (fleet: FleetOfThree, at: Place) => Promise<void>;
  /** What has to answer again: argv on a machine. */
  readonly answer?: (at: Place) => { readonly machine: number; readonly argv: readonly string[] };
  /**
   * Given where it is also measured without what the product adds; see stock.ts. `fail`: what is done there in its place, to a meeting
   * that began there.
   */
  readonly stock?: { readonly fail?: (fleet: FleetOfThree) => Promise<void> };
  /** What has to be so afterwards, and how often it was not. */
  readonly after?: { readonly name: string; readonly count: (fleet: FleetOfThree, at: Place) => Promise<number> };
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

/** How often the machine that had the primary has it again, or takes writes: once it is back, and once it was deployed again. */
async function countReturns(fleet: FleetOfThree, { primary: former }: Place): Promise<number> {
  const isPrimary = async (): Promise<number> => {
    await fleet.settle();
    return Number((await fleet.primary()) === former || !(await fleet.redis(former, ['ROLE'])).startsWith('slave'));
  };
  const back = await isPrimary();
  await fleet.run(former, ['deploy-livekit-only']);
  return back + (await isPrimary());
}

/** What can fail; the order is that of the table. */
export const failures: readonly Failure[] = [
  { name: 'LiveKit killed', meetingOn: elsewhere, fail: killPart('livekit'), mend: nothing, stock: {}, limits: drillFaults.livekit.limits },
  {
    name: 'power of a media machine',
    meetingOn: elsewhere,
    fail: ({ lab }, { meeting }) => lab.machine(meeting).kill(),
    mend: ({ lab }, { meeting }) => lab.machine(meeting).boot(),
    stock: {},
    limits: drillFaults.cut.limits,
  },
  {
    name: 'power of the primary’s machine',
    meetingOn: (primary) => primary,
    fail: ({ lab }, { primary }) => lab.machine(primary).kill(),
    mend: ({ lab }, { primary }) => lab.machine(primary).boot(),
    stock: {},
    after: { name: 'the machine back, and deployed again: times it has the primary', count: countReturns },
    limits: drillFaults['cut-primary'].limits,
  },
  {
    name: 'Redis primary killed',
    meetingOn: elsewhere,
    fail: killPart('redis'),
    mend: nothing,
    stock: {},
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
  {
    name: 'a node drained, removed and added',
    meetingOn: elsewhere,
    async fail({ run }, { primary, meeting }) {
      const number = mediaMachines.find((one) => one !== primary && one !== meeting) ?? 0;
      for (const command of [['restart', 'livekit'], ['leave'], ['deploy-livekit-only']]) await run(number, command);
    },
    mend: nothing,
    stock: { fail: changeUpstreams },
    limits: { gapMs: 200, reconnections: 0 },
  },
];
