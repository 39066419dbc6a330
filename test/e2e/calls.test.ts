import { Room, dispose } from '@livekit/rtc-node';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { hearAudio, publishTone } from '../../src/meeting/media.ts';
import { createInstallation, until } from './installation.ts';
import type { Installation } from './installation.ts';

interface Party {
  readonly identity: string;
  readonly state: string;
  readonly isAway: boolean;
  readonly reason: string | null;
}
interface CallView {
  readonly id: string;
  readonly state: string;
  readonly reason: string | null;
  readonly createdAt: string;
  readonly endedAt: string;
  readonly parties: Party[];
}
interface Told {
  readonly type: string;
  readonly data: { room: string; parties: Party[] };
}

const SOON_MS = 15_000;
/** LiveKit takes a client that was killed for gone after some 15 to 20 s. */
const LOST_MS = 60_000;

const hears = (room: Room): Promise<string> => hearAudio(room, { signal: AbortSignal.timeout(SOON_MS), reached: () => undefined });

/** Calls with a real LiveKit and real clients, and an endpoint that hears of them. One story; the order matters. */
describe('a call', () => {
  let place: Installation;
  let token: string;
  let endpoint: Server;
  const told: Told[] = [];
  const clients: Room[] = [];
  const stopTones: Array<() => Promise<void>> = [];
  const processes: ChildProcess[] = [];

  async function ask<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`http://localhost:${place.ports['HTTP_PORT']}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    expect(answer.ok, `${method} ${path}: ${answer.status} ${text}`).toBe(true);
    return (text === '' ? {} : JSON.parse(text)) as T;
  }

  const call = (id = 'c1'): Promise<CallView> => ask<CallView>('GET', `/calls/${id}`);
  const party = async (identity: string): Promise<Party | undefined> => (await call()).parties.find((one) => one.identity === identity);
  const types = (room: string): string[] => told.filter(({ data }) => data.room === room).map(({ type }) => type);

  async function enter({ url, token: entry }: { url: string; token: string }): Promise<Room> {
    const client = new Room();
    clients.push(client);
    await client.connect(url, entry, { autoSubscribe: true, dynacast: false });
    return client;
  }

  beforeAll(async () => {
    endpoint = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request as AsyncIterable<Buffer>) text += chunk.toString('utf8');
      told.push(JSON.parse(text) as Told);
      response.writeHead(204).end();
    }).listen(0, '127.0.0.1');
    await once(endpoint, 'listening');
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    const deployed = await place.run(['deploy']);
    expect(deployed.code, deployed.err + deployed.out).toBe(0);
    token = parseEnv(await readFile(place.envFile, 'utf8'))['SERVICE_API_TOKEN'] ?? '';
    await ask('POST', '/webhooks', { url: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`, events: ['call.*'] });
  });

  afterAll(async () => {
    for (const one of processes) one.kill('SIGKILL');
    await Promise.allSettled(stopTones.map((stop) => stop()));
    await Promise.allSettled(clients.map((client) => client.disconnect()));
    await dispose();
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
    endpoint.close();
    endpoint.closeAllConnections();
  });

  it('rings, is accepted, and both hear each other', async () => {
    expect(await ask('POST', '/calls', { id: 'c1', type: 'voice', caller: 'ann', invitees: ['bob'], reconnectGrace: 60 })).toMatchObject({ state: 'ringing' });
    await until(async () => types('c1').includes('call.ringing'), SOON_MS);
    const ann = await enter(await ask('POST', '/calls/c1/accept', { by: 'ann' }));
    stopTones.push(await publishTone(ann));
    await until(async () => (await party('ann'))?.state === 'joined', SOON_MS);
    expect((await call()).state).toBe('ringing');
    // Bob's client is a process that can be killed.
    const { url, token: entry } = await ask<{ url: string; token: string }>('POST', '/calls/c1/accept', { by: 'bob' });
    processes.push(spawn(process.execPath, [join(import.meta.dirname, 'call-client.ts'), url, entry], { stdio: 'ignore' }));
    await until(async () => (await party('bob'))?.state === 'joined', SOON_MS);
    await hears(ann);
    expect(await call()).toMatchObject({ state: 'active', parties: [{ isAway: false }, { isAway: false }] });
  });

  it('survives a client that is killed and comes back within the grace', async () => {
    processes[0]?.kill('SIGKILL');
    await until(async () => (await party('bob'))?.isAway === true, LOST_MS);
    expect((await call()).state).toBe('active');
    const { events } = await ask<{ events: Array<{ event: string; identity: string }> }>('GET', '/rooms/c1/events');
    expect(events).toContainEqual(expect.objectContaining({ event: 'participant_left', identity: 'bob' }));
    const { calls } = await ask<{ calls: Array<{ call: CallView; join: { url: string; token: string } }> }>('GET', '/users/bob/sync');
    expect(calls).toMatchObject([{ call: { id: 'c1', state: 'active' } }]);
    const [one] = calls;
    if (one === undefined) throw new Error('nothing to join');
    const bob = await enter(one.join);
    stopTones.push(await publishTone(bob));
    await until(async () => (await party('bob'))?.isAway === false, SOON_MS);
    await Promise.all([hears(bob), hears(clients[0] as Room)]);
  });

  it('ends for both when one hangs up; history and the endpoint have the whole of it', async () => {
    const [, bob] = clients as [Room, Room];
    expect(await ask('POST', '/calls/c1/leave', { by: 'ann' })).toMatchObject({ state: 'ended', reason: 'completed' });
    await until(async () => !bob.isConnected && clients[0]?.isConnected === false, SOON_MS);
    await until(async () => types('c1').includes('call.ended'), SOON_MS);
    const expected = ['ringing', 'joined', 'accepted', 'started', 'joined', 'left', 'left', 'ended'];
    expect(types('c1')).toEqual(expected.map((type) => `call.${type}`));
    const { rooms } = await ask<{ rooms: Array<{ id: string; participants: Array<{ identity: string; seconds: number }> }> }>('GET', '/history');
    // Bob was there twice.
    expect(
      rooms
        .find(({ id }) => id === 'c1')
        ?.participants.map(({ identity }) => identity)
        .toSorted(),
    ).toEqual(['ann', 'bob', 'bob']);
  });

  it('is missed at its time, though the service was started anew meanwhile', async () => {
    await ask('POST', '/calls', { id: 'c2', caller: 'ann', invitees: ['bob'], ringTimeout: 20 });
    expect((await place.run(['restart', 'service'])).code).toBe(0);
    expect(await call('c2')).toMatchObject({ state: 'ringing' });
    await until(async () => (await call('c2')).state === 'ended', 60_000);
    const { reason, createdAt, endedAt } = await call('c2');
    const ringMs = Date.parse(endedAt) - Date.parse(createdAt);
    expect([reason, ringMs >= 20_000, ringMs < 25_000]).toEqual(['missed', true, true]);
    await until(async () => types('c2').includes('call.ended'), SOON_MS);
    expect(types('c2')).toEqual(['call.ringing', 'call.missed', 'call.left', 'call.ended']);
  });
});
