import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished, vi } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import { freePorts } from '../e2e/installation.ts';
import {
  apiToken,
  emptyDatabase,
  isOverPostgres,
  livekitStartMs,
  roomEvent,
  serviceConfig,
  sign,
  startLivekitStandIn,
  temporaryDirectory,
} from './fixtures.ts';
import { startReceiver } from './receiver.ts';

const main = fileURLToPath(new URL('../../src/service/main.ts', import.meta.url));
const KILLS = 4;
const WRITERS = 8;
const LIFE = ['room.created', 'room.started', 'participant.joined', 'participant.left', 'room.finished'];
const STEPS = [['room_started'], ['participant_joined', 'ann'], ['participant_left', 'ann'], ['room_finished']] as const;

it('killed at any moment, the service has all that it acknowledged, and tells of it in each room’s order, with ids that stay', async () => {
  const directory = await temporaryDirectory();
  const livekit = await startLivekitStandIn();
  const [port = 0] = await freePorts(1);
  const config = { ...serviceConfig(directory, livekit.url), database: await emptyDatabase(directory), port, logLevel: 'error' as const };
  const file = join(directory, 'service.json');
  await writeFile(file, JSON.stringify(config));
  // Now and then it takes a message and is cut before it says so, or takes none.
  const receiver = await startReceiver(async (_message, index) => {
    if (index % 7 === 0) await delay(30);
    return { status: index % 23 === 22 ? 500 : 200 };
  });

  let child = await start(file, port);
  onTestFinished(() => void child.kill('SIGKILL'));
  const base = `http://127.0.0.1:${port}`;
  const bearer = { authorization: `Bearer ${apiToken}`, 'content-type': 'application/json' };
  const made = await fetch(`${base}/api/v1/webhooks`, { method: 'POST', headers: bearer, body: JSON.stringify({ url: receiver.url }) });
  expect(made.status).toBe(201);
  const endpoint = (await made.json()) as { id: string };

  /** Rooms whose creation was acknowledged, with the events that were. */
  const acknowledged = new Map<string, string[]>();
  const load = { isOver: false };
  /** Sent again until it is answered, as LiveKit's agent and an application do. */
  const post = async (path: string, headers: Record<string, string>, body: string): Promise<number> => {
    for (;;) {
      const status = await fetch(`${base}${path}`, { method: 'POST', headers, body }).then(
        ({ status: code }) => code,
        () => 0,
      );
      if (status !== 0) return status;
      await delay(20);
    }
  };
  const write = async (writer: number): Promise<void> => {
    for (let turn = 0; !load.isOver; turn++) {
      const room = `r-${writer}-${turn}`;
      // One that was stored and not acknowledged is there already.
      expect([201, 409]).toContain(await post('/api/v1/rooms', bearer, JSON.stringify({ id: room })));
      const events: string[] = [];
      acknowledged.set(room, events);
      for (const [name, participant] of STEPS) {
        const id = `EV_${room}_${name}`;
        const at = { room, createdAtMs: livekitStartMs + Date.now() };
        const body = JSON.stringify(roomEvent(id, name, participant === undefined ? at : { ...at, participant }));
        const headers = { authorization: await sign(body), 'content-type': 'application/webhook+json' };
        expect(await post('/api/webhook', headers, body)).toBe(200);
        events.push(id);
      }
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, index) => write(index));
  const moments: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    moments.push(Math.round(100 + Math.random() * (isOverPostgres() ? 4_000 : 900)));
    await delay(moments.at(-1));
    child.kill('SIGKILL');
    await once(child, 'exit');
    child = await start(file, port);
  }
  load.isOver = true;
  await Promise.all(writers);
  const waiting = async (): Promise<unknown> =>
    ((await (await fetch(`${base}/api/v1/webhooks/${endpoint.id}`, { headers: bearer })).json()) as { waiting: number }).waiting;
  await vi.waitFor(async () => expect(await waiting()).toBe(0), { timeout: 60_000, interval: 100 });
  child.kill('SIGTERM');
  await once(child, 'exit');

  const killedAt = `killed after ${moments.join(', ')} ms`;
  const store = await openStore(config.database);
  expect(acknowledged.size, killedAt).toBeGreaterThan(WRITERS);
  for (const [room, events] of acknowledged) {
    expect(await store.findRoom(room), `${room}, ${killedAt}`).toMatchObject({ state: 'finished', numParticipants: 0 });
    expect(
      (await store.eventsOf(room)).map(({ id }) => id),
      `${room}, ${killedAt}`,
    ).toEqual(events);
    const told = receiver.taken().filter((one) => one.room === room);
    const firsts = [...new Set(told.map(({ type }) => type))];
    expect(firsts, `${room}, ${killedAt}`).toEqual(LIFE);
    for (const type of LIFE) expect(new Set(receiver.received.filter((one) => one.room === room && one.type === type).map(({ id }) => id)).size).toBe(1);
  }
  await store.close();
}, 240_000);

async function start(file: string, port: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [main, '--config', file], { stdio: ['ignore', 'ignore', 'inherit'] });
  await vi.waitFor(async () => expect((await fetch(`http://127.0.0.1:${port}/healthz`)).ok).toBe(true), { timeout: 30_000, interval: 50 });
  return child;
}
