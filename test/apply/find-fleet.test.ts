import { describe, expect, it } from 'vitest';
import { findFleet } from '../../src/apply/fleet.ts';
import type { FleetSeed } from '../../src/render/redis.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { planTopology } from '../../src/topology/topology.ts';
import { createFleet } from '../agent/sentinels.ts';
import type { Fleet } from '../agent/sentinels.ts';

const [first, second, nobody] = ['127.0.0.2', '127.0.0.3', '127.0.0.9'] as const;

/** What a media machine at `second` finds out before it deploys. */
function find(fleet: Fleet, options: { redisHost?: string; aheadMs?: number } = {}): Promise<FleetSeed> {
  const { redisHost = first, aheadMs = 0 } = options;
  const text = `NODES=${first},${second}\nREDIS_HOST=${redisHost}\nREDIS_PORT=${fleet.redisPort}\nSENTINEL_PORT=${fleet.sentinelPort}\n`;
  const { settings } = parseSettings(text, {});
  if (settings === null) throw new Error('bad settings');
  const topology = planTopology(settings, 'media', { addresses: [second], hasSystemd: false, hasNft: false });
  // Each look at the clock is half a minute later: nobody is waited for.
  let now = 0;
  const context = { emit: () => undefined, now: () => (now += 30_000), wallClock: () => Date.now() + aheadMs, signal: new AbortController().signal };
  return findFleet(settings, { ...topology, redisHosts: [...new Set([redisHost, first])] }, context);
}

describe('a machine that joins', () => {
  it('is told the primary and the quorum by a Sentinel of the fleet', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 2 });
    expect(await find(fleet)).toEqual({ primary: first, quorum: 2 });
    expect(await find(fleet, { redisHost: nobody })).toEqual({ primary: first, quorum: 2 });
  });

  it.each([10_000, -10_000])('is refused with a clock %i ms away', async (aheadMs) => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 1 });
    await expect(find(fleet, { aheadMs })).rejects.toMatchObject({ code: 'CLOCKS_APART', params: { host: first, limit: 3 } });
    expect(await find(fleet, { aheadMs: aheadMs / 10 })).toEqual({ primary: first, quorum: 1 });
  });

  it('is told who does not answer', async () => {
    const fleet = await createFleet();
    await expect(find(fleet)).rejects.toMatchObject({ code: 'FLEET_UNREACHABLE', params: { hosts: `${first} (ECONNREFUSED)` } });
  });

  it('is refused where the answer is not a Sentinel’s', async () => {
    const fleet = await createFleet();
    await fleet.startMachine(first, { primary: first, quorum: 1 });
    const redisAsSentinel = { ...fleet, sentinelPort: fleet.redisPort, redisPort: fleet.sentinelPort };
    await expect(find(redisAsSentinel)).rejects.toMatchObject({ code: 'FLEET_FOREIGN' });
  });
});
