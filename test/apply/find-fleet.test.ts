import { createServer } from 'node:net';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { askAll } from '../../src/apply/ask-fleet.ts';
import { findFleet } from '../../src/apply/find-fleet.ts';
import { writeLeft } from '../../src/apply/left-fleet.ts';
import { localHost } from '../../src/host/host.ts';
import { redisFolder } from '../../src/render/redis.ts';
import type { FleetSeed } from '../../src/render/redis.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import type { Settings } from '../../src/settings/schema.ts';
import { planTopology } from '../../src/topology/topology.ts';
import type { Topology } from '../../src/topology/topology.ts';
import { temporaryDirectory } from '../agent/fixtures.ts';
import { createFleet } from '../agent/sentinels.ts';
import { freePorts } from '../e2e/installation.ts';

const [first, second, third, nobody] = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.9'] as const;

interface Ports {
  readonly redisPort: number;
  readonly sentinelPort: number;
}

interface Machine {
  readonly settings: Settings;
  readonly topology: Topology;
}

/** The media machine at `second`, with nothing on its disk. */
async function machine(ports: Ports, text: string): Promise<Machine> {
  const root = await temporaryDirectory();
  const { settings } = parseSettings(`DATA_DIR=${root}\nREDIS_PORT=${ports.redisPort}\nSENTINEL_PORT=${ports.sentinelPort}\n${text}`, {});
  if (settings === null) throw new Error('bad settings');
  return { settings, topology: planTopology(settings, 'media', { addresses: [second], hasSystemd: false, hasNft: false }) };
}

/** What it finds out before it deploys. The machines have no agents: the knock is taken for granted. */
function find(
  { settings, topology }: { settings: Settings; topology: Topology },
  options: { aheadMs?: number; isNewFleet?: boolean; onWait?: () => void } = {},
): Promise<FleetSeed> {
  const { aheadMs = 0, isNewFleet = false, onWait } = options;
  // Each look at the clock is half a minute later: nobody is waited for.
  let now = 0;
  return findFleet(settings, topology, {
    host: localHost(),
    emit: () => onWait?.(),
    now: () => (onWait === undefined ? (now += 30_000) : Date.now()),
    wallClock: () => Date.now() + aheadMs,
    signal: new AbortController().signal,
    isNewFleet,
    door: () => Promise.resolve('welcome'),
  });
}

/** The machine, which has left `first`. */
async function away(fleet: Ports): Promise<Machine> {
  const one = await machine(fleet, 'NODES=localhost\n');
  await writeLeft(localHost(), one.settings, { layout: one.topology.layout, hosts: [first] });
  return one;
}

const named = (redisHost: string): string => `NODES=${second}\nREDIS_HOST=${redisHost}\n`;

describe('a machine that joins', () => {
  it('is told the primary and the quorum by a Sentinel of the fleet', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 2 });
    expect(await find(await machine(fleet, named(first)))).toEqual({ primary: first, quorum: 2 });
    expect(await find(await machine(fleet, `NODES=${first},${second}\nREDIS_HOST=${nobody}\n`))).toEqual({ primary: first, quorum: 2 });
  });

  it('takes the first of the listed nodes for REDIS_HOST=localhost', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 1 });
    expect(await find(await machine(fleet, `NODES=${first},${second}\nREDIS_HOST=localhost\n`))).toEqual({ primary: first, quorum: 1 });
  });

  it.each([10_000, -10_000])('is refused with a clock %i ms away', async (aheadMs) => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 1 });
    const joining = await machine(fleet, named(first));
    await expect(find(joining, { aheadMs })).rejects.toMatchObject({ code: 'CLOCKS_APART', params: { host: first, limit: 3 } });
    expect(await find(joining, { aheadMs: aheadMs / 10 })).toEqual({ primary: first, quorum: 1 });
  });

  it('is told who does not answer', async () => {
    const fleet = await createFleet();
    await expect(find(await machine(fleet, named(first)))).rejects.toMatchObject({ code: 'FLEET_UNREACHABLE', params: { hosts: `${first} (ECONNREFUSED)` } });
  });

  it('is refused where the answer is not a Sentinel’s', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 1 });
    const joining = await machine({ sentinelPort: fleet.redisPort, redisPort: fleet.sentinelPort }, named(first));
    await expect(find(joining)).rejects.toMatchObject({ code: 'FLEET_FOREIGN' });
  });

  it('is refused where the others do not agree on the primary', async () => {
    const fleet = await createFleet();
    await Promise.all([first, third].map((host) => fleet.startMachine(host, { primary: host, quorum: 1 })));
    const joining = await machine(fleet, `NODES=${first},${second},${third}\n`);
    await expect(find(joining)).rejects.toMatchObject({ code: 'FLEET_SPLIT', params: { views: `${first} → ${first}, ${third} → ${third}` } });
  });

  it('waits for its own Sentinel, which hears of a new primary last', async () => {
    const fleet = await createFleet();
    const own = '127.0.0.1';
    await Promise.all([first, own].map((host) => fleet.startMachine(host, { primary: host, quorum: 1 })));
    const sentinel = fleet.connect(own, fleet.sentinelPort);
    const onWait = (): void =>
      void sentinel.pipeline().call('SENTINEL', 'REMOVE', 'livekit').call('SENTINEL', 'MONITOR', 'livekit', first, fleet.redisPort, 1).exec();
    expect(await find(await machine(fleet, named(first)), { onWait })).toEqual({ primary: first, quorum: 1 });
  });

  it('does not become a primary without data beside replicas that have them', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: second, quorum: 1 });
    const joining = await machine(fleet, `NODES=${second},${first}\n`);
    await expect(find(joining)).rejects.toMatchObject({ code: 'PRIMARY_WITHOUT_DATA', params: { address: second } });
    await mkdir(`${redisFolder(joining.topology)}/appendonlydir`, { recursive: true });
    expect(await find(joining)).toEqual({ primary: second, quorum: 1 });
  });
});

describe('a machine that has left', () => {
  it('comes back to its fleet, though its settings name nobody', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 1 });
    expect(await find(await away(fleet), { isNewFleet: true })).toEqual({ primary: first, quorum: 1 });
  });

  it('begins another one of the same keys only when told to', async () => {
    const one = await away(await createFleet());
    await expect(find(one)).rejects.toMatchObject({ code: 'FLEET_LEFT', params: { hosts: first } });
    expect(await find(one, { isNewFleet: true })).toEqual({ primary: second, quorum: 1 });
    const others = { ...one.settings, LIVEKIT_API_KEY: 'another', LIVEKIT_API_SECRET: 'x'.repeat(40) };
    expect(await find({ ...one, settings: others })).toEqual({ primary: second, quorum: 1 });
  });

  it('does not read what is no note of ours', async () => {
    const one = await away(await createFleet());
    await writeFile(`${one.topology.layout.state}/left-fleet.json`, '{"hosts": 1}');
    expect(await find(one)).toEqual({ primary: second, quorum: 1 });
  });
});

it('a machine that does not show that it knows the secret gets no password', async () => {
  const heard: Buffer[] = [];
  const [port = 0, agentPort = 0] = await freePorts(2);
  const server = createServer((socket) => {
    socket.on('data', (bytes) => {
      heard.push(bytes);
      socket.write('-NOAUTH Authentication required.\r\n');
    });
    socket.on('error', () => undefined);
  }).listen(port, first);
  onTestFinished(() => void server.close());
  const { settings } = await machine({ redisPort: 6379, sentinelPort: port }, `AGENT_PORT=${agentPort}\nREDIS_PASSWORD=secret-of-the-fleet\n`);
  const words = await askAll(settings, [first]);
  expect(words.get(first)).toMatchObject({ kind: 'unreachable', reason: /^no agent on \d+\/udp$/ });
  expect(heard.length).toBeGreaterThan(0);
  expect(Buffer.concat(heard).toString()).not.toContain('secret-of-the-fleet');
});
