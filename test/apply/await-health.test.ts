import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { awaitHealth } from '../../src/health/await-health.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import type { PartStatus } from '../../src/supervisor/service-manager.ts';
import { planTopology } from '../../src/topology/topology.ts';
import type { Part, Role } from '../../src/topology/topology.ts';
import { serve } from '../agent/caddy-fixture.ts';
import { idleManager } from './idle-manager.ts';

/** Answers in a part's place, and counts how often it is asked. */
async function listen(port = 0, say = (): string => ''): Promise<{ port: number; asked: () => number; close: () => void }> {
  let asked = 0;
  const server = createServer((_, answer) => {
    asked++;
    answer.end(say());
  });
  return { port: await serve(server, port), asked: () => asked, close: () => void server.close().closeAllConnections() };
}

/** Waits for LiveKit and the agent on these ports; `states` is what the supervisor says where it is not `running`. */
function wait(
  ports: { livekit: number; agent: number },
  { seconds = 30, states = {}, role = 'all' }: { seconds?: number; states?: Partial<Record<Part, PartStatus['state']>>; role?: Role } = {},
): {
  ended: Promise<void>;
  well: Part[];
  isOver: () => boolean;
} {
  const { settings } = parseSettings(`LIVEKIT_HTTP_PORT=${ports.livekit}\nAGENT_PORT=${ports.agent}\nHEALTH_TIMEOUT=${seconds}\nNODES=10.0.0.2\n`, {});
  if (settings === null) throw new Error('no settings');
  const topology = planTopology(settings, role, { addresses: ['10.0.0.2'], hasSystemd: false, hasNft: false });
  const status = async (parts: readonly Part[]): Promise<PartStatus[]> =>
    parts.map((part) => ({ part, state: states[part] ?? 'running', pid: 1, uptimeSeconds: 1, exits: 0, lastExit: null }));
  const well: Part[] = [];
  let isOver = false;
  const ended = awaitHealth({
    settings,
    topology,
    manager: { ...idleManager, status, tailLog: async () => 'its last lines' },
    user: { uid: process.getuid?.() ?? 0 },
    parts: ['livekit', 'agent'],
    onWell: (part) => well.push(part),
    now: () => performance.now(),
    signal: new AbortController().signal,
  }).finally(() => (isOver = true));
  return { ended, well, isOver: () => isOver };
}

describe('waiting for health', () => {
  it('asks no part again that has just answered', async () => {
    const [livekit, agent] = [await listen(), await listen()];
    const { ended, well } = wait({ livekit: livekit.port, agent: agent.port });
    await ended;
    expect([livekit.asked(), agent.asked(), well]).toEqual([1, 1, ['livekit', 'agent']]);
  });

  it('goes on where a part that has answered listens no more', async () => {
    const [livekit, agent] = [await listen(), await listen()];
    agent.close();
    const { ended, well, isOver } = wait({ livekit: livekit.port, agent: agent.port });
    while (livekit.asked() === 0) await delay(5);
    livekit.close();
    await listen(agent.port);
    await delay(300);
    expect(isOver()).toBe(false);
    await listen(livekit.port);
    await ended;
    expect(well).toEqual(['livekit', 'agent']);
  });

  it('asks again where an answer is old by the time that the others come', async () => {
    const [livekit, agent] = [await listen(), await listen()];
    agent.close();
    const { ended } = wait({ livekit: livekit.port, agent: agent.port });
    await delay(1_500);
    await listen(agent.port);
    await ended;
    expect(livekit.asked()).toBeGreaterThan(1);
  });

  it('waits on a media machine until its agent, which came up after LiveKit, has told the fleet', async () => {
    const [livekit, former] = [await listen(), await listen()];
    former.close();
    const { ended, isOver } = wait({ livekit: livekit.port, agent: former.port }, { role: 'media' });
    while (livekit.asked() === 0) await delay(5);
    let isTold = false;
    await listen(former.port, () => JSON.stringify({ livekit: isTold }));
    await delay(300);
    expect(isOver()).toBe(false);
    isTold = true;
    await ended;
  });

  it('believes the supervisor that a part is ending or keeps ending', async () => {
    const [livekit, agent] = [await listen(), await listen()];
    const states: Partial<Record<Part, PartStatus['state']>> = { agent: 'failing' };
    const { ended, isOver } = wait({ livekit: livekit.port, agent: agent.port }, { states });
    await delay(200);
    expect(isOver()).toBe(false);
    delete states.agent;
    await ended;
  });

  it('ends after HEALTH_TIMEOUT and says which part is not well', async () => {
    const [livekit, agent] = [await listen(), await listen()];
    agent.close();
    const { ended } = wait({ livekit: livekit.port, agent: agent.port }, { seconds: 1 });
    await expect(ended).rejects.toMatchObject({
      code: 'NOT_HEALTHY',
      params: { parts: `agent (nothing listens on port ${agent.port})`, log: 'its last lines' },
    });
  });
});
