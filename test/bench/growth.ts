import { setTimeout as sleep } from 'node:timers/promises';
import type { DrillCounts } from '../../src/contract/drill.ts';
import { createLab } from '../fleet/machines.ts';
import type { Lab } from '../fleet/machines.ts';
import { userOf } from '../fleet/user.ts';
import type { User } from '../fleet/user.ts';
import type { Row } from './table.ts';

export interface GrowthBenchOptions {
  readonly rounds: number;
  /** Component store that holds everything already. */
  readonly store: string;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Rooms go to nodes at random, ten are made a second: not to meet one for so long means that none goes there. */
const PLACED_MS = 30_000;
const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\n';

/** The guide's growth from two machines to four, on booted machines, while two clients meet. */
export async function benchGrowth({ rounds, store, signal, say }: GrowthBenchOptions): Promise<Row[]> {
  const meetings: DrillCounts[] = [];
  const placed: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    signal.throwIfAborted();
    const lab = await createLab({ machines: [1, 2, 3, 4], componentStore: store });
    const user = await userOf(lab);
    try {
      await pair(lab);
      const meeting = await user.startMeeting();
      placed.push(...(await grow(lab, user)));
      meetings.push(await meeting.end());
    } finally {
      await user.remove();
      await lab.remove();
    }
    say(
      `round ${round}: first rooms on the new nodes after ${placed
        .slice(-2)
        .map((one) => one.toFixed(2))
        .join(' and ')} s, ${JSON.stringify(meetings.at(-1))}`,
    );
  }
  return [
    { name: 'growth, reconnections of a running meeting', unit: '', ours: meetings.map((one) => one.reconnections), floor: [], limit: { value: 0 } },
    { name: 'growth, its audio that was lost', unit: '%', ours: meetings.map((one) => (100 * one.silent) / one.frames), floor: [], limit: { value: 0.1 } },
    { name: 'growth, its messages that were lost', unit: '', ours: meetings.map((one) => one.sent - one.received), floor: [], limit: { value: 0 } },
    { name: 'growth, first room on a new node', unit: 's', ours: placed, floor: [], limit: { value: 2 } },
  ];
}

/** Machines 1 and 2 as the guide's two. */
async function pair(lab: Lab): Promise<void> {
  await lab.machine(1).write('/etc/fleet.env', `${ground}DOMAIN=livekit.example.com\n`);
  await lab.machine(2).write('/etc/fleet.env', `${ground}NODES=localhost\nREDIS_HOST=localhost\n`);
  await fleet(lab, 1, ['deploy-caddy-service-only']);
  const said = await fleet(lab, 2, ['deploy-livekit-only']);
  await fleet(lab, 1, ['join', /部署\.sh join (\S+)/.exec(said)?.[1] ?? '']);
}

/** Seconds from each new machine's deploy to the first room on it. */
async function grow(lab: Lab, user: User): Promise<number[]> {
  const former = (await lab.machine(2).exec(['cat', '/etc/fleet.env'])).out;
  const grown = former.replace(/^NODES=.*$/m, 'NODES=192.168.1.2,192.168.1.3,192.168.1.4');
  await lab.machine(2).write('/etc/fleet.env', grown);
  for (const number of [3, 4]) await lab.machine(number).write('/etc/fleet.env', grown.replace(/^REDIS_HOST=.*$/m, 'REDIS_HOST=192.168.1.2'));
  await fleet(lab, 2, ['deploy-livekit-only']);
  const seconds: number[] = [];
  for (const number of [3, 4]) {
    const { attempts, end } = await user.createRooms();
    await fleet(lab, number, ['deploy-livekit-only']);
    const began = Date.now();
    let first: number | undefined;
    while (first === undefined) {
      if (Date.now() - began > PLACED_MS) throw new Error(`no room came to machine ${number}`);
      await sleep(50);
      first = attempts.find(({ endedMs, path }) => endedMs >= began && path === `/n/m192-168-1-${number}`)?.endedMs;
    }
    end();
    seconds.push((first - began) / 1000);
  }
  return seconds;
}

async function fleet(lab: Lab, number: number, words: readonly string[]): Promise<string> {
  const { code, out, err } = await lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env']);
  if (code !== 0) throw new Error(err);
  return out;
}
