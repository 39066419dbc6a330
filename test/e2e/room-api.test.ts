import { Room, RoomEvent, dispose } from '@livekit/rtc-node';
import { readFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openLivekitRooms } from '../../src/clients/livekit-rooms.ts';
import { publishTone } from '../../src/meeting/media.ts';
import { createReconciler } from '../../src/service/rooms/reconcile.ts';
import { openStore } from '../../src/service/store/store.ts';
import { createInstallation, until } from './installation.ts';
import type { Installation } from './installation.ts';

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}
interface Person {
  readonly identity: string;
  readonly name: string;
  readonly tracks: Array<{ sid: string; source: string; muted: boolean }>;
}

const SOON_MS = 10_000;

/** The room API with a real LiveKit and real clients. One story; the order matters. */
describe('the room API', () => {
  let place: Installation;
  let env: NodeJS.Dict<string>;
  let token: string;
  const clients: Room[] = [];

  async function ask(method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await fetch(`http://localhost:${place.ports['HTTP_PORT']}/api/v1/rooms${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
  }

  async function enter(identity: string, room = 'r1'): Promise<Room> {
    const { status, body } = await ask('POST', `/${room}/join`, { identity });
    expect(status).toBe(200);
    const client = new Room();
    clients.push(client);
    await client.connect(String(body['url']), String(body['token']), { autoSubscribe: true, dynacast: false });
    return client;
  }

  const people = async (): Promise<Person[]> => (await ask('GET', '/r1/participants')).body['participants'] as Person[];
  const track = async (): Promise<Person['tracks'][number] | undefined> => (await people()).find(({ identity }) => identity === 'ann')?.tracks[0];
  const shown = async (): Promise<Record<string, unknown>> => (await ask('GET', '/r1')).body;

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    expect((await place.run(['deploy'])).code).toBe(0);
    env = parseEnv(await readFile(place.envFile, 'utf8'));
    token = env['SERVICE_API_TOKEN'] ?? '';
  });

  afterAll(async () => {
    await Promise.allSettled(clients.map((client) => client.disconnect()));
    await dispose();
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('makes a room that two can join, and no third', async () => {
    expect((await ask('POST', '', { id: 'r1', maxParticipants: 2, metadata: 'first' })).status).toBe(201);
    const ann = await enter('ann');
    expect(ann.metadata).toBe('first');
    await enter('bob');
    await until(async () => (await shown())['numParticipants'] === 2, SOON_MS);
    expect(await ask('POST', '/r1/join', { identity: 'cid' })).toMatchObject({ status: 409, body: { code: 'ROOM_FULL' } });
    expect((await people()).map(({ identity }) => identity).toSorted()).toEqual(['ann', 'bob']);
  });

  it('mutes a track', async () => {
    const [ann] = clients;
    const stopTone = await publishTone(ann as Room);
    await until(async () => (await track()) !== undefined, SOON_MS);
    const { sid, muted, source } = (await track()) ?? { sid: '', muted: true, source: '' };
    expect([muted, source]).toEqual([false, 'MICROPHONE']);
    expect((await ask('POST', '/r1/participants/ann/mute', { trackSid: sid, muted: true })).status).toBe(204);
    await until(async () => (await track())?.muted === true, SOON_MS);
    expect(await ask('POST', '/r1/participants/ann/mute', { trackSid: 'TR_none', muted: true })).toMatchObject({ status: 404 });
    await stopTone();
  });

  it('tells of changes and data', async () => {
    const [ann, bob] = clients as [Room, Room];
    const data: string[] = [];
    bob.on(RoomEvent.DataReceived, (bytes, _who, _kind, topic) => void data.push(`${topic}: ${new TextDecoder().decode(bytes)}`));
    expect((await ask('PATCH', '/r1', { metadata: 'second' })).status).toBe(200);
    await until(async () => ann.metadata === 'second' && bob.metadata === 'second', SOON_MS);
    const permission = { canPublish: false, canSubscribe: true, canPublishData: true };
    expect((await ask('PATCH', '/r1/participants/ann', { name: '安', metadata: 'm', permission })).status).toBe(204);
    await until(async () => bob.remoteParticipants.get('ann')?.name === '安', SOON_MS);
    // Who may not publish loses what they published.
    await until(async () => (await people()).find(({ identity }) => identity === 'ann')?.tracks.length === 0, SOON_MS);
    expect((await ask('POST', '/r1/data', { data: Buffer.from('你好').toString('base64'), topic: 't', identities: ['bob'] })).status).toBe(204);
    await until(async () => data.includes('t: 你好'), SOON_MS);
  });

  it('removes one, and ends the room for all', async () => {
    const [ann, bob] = clients as [Room, Room];
    expect((await ask('DELETE', '/r1/participants/ann')).status).toBe(204);
    await until(async () => !ann.isConnected, SOON_MS);
    expect(await ask('DELETE', '/r1/participants/ann')).toMatchObject({ status: 404, body: { code: 'PARTICIPANT_NOT_FOUND' } });
    await until(async () => (await shown())['numParticipants'] === 1, SOON_MS);
    expect((await ask('DELETE', '/r1')).status).toBe(204);
    await until(async () => !bob.isConnected, SOON_MS);
    expect(await shown()).toMatchObject({ state: 'finished', numParticipants: 0 });
    expect(await ask('POST', '/r1/join', { identity: 'bob' })).toMatchObject({ status: 409, body: { code: 'ROOM_FINISHED' } });
    // The id begins another life, in LiveKit too.
    expect((await ask('POST', '', { id: 'r1', start: true })).status).toBe(201);
    expect(await people()).toEqual([]);
    expect((await ask('DELETE', '/r1')).status).toBe(204);
  });

  it('is made good from LiveKit’s own word where no webhook came', async () => {
    // A store of its own, which hears of no webhook.
    const store = await openStore(`${place.folder}/deaf.db`);
    const [apiKey, secret] = [env['LIVEKIT_API_KEY'] ?? '', env['LIVEKIT_API_SECRET'] ?? ''];
    const livekit = openLivekitRooms({ apiUrl: `http://127.0.0.1:${place.ports['GATEWAY_INTERNAL_PORT']}`, apiKey, secret, now: Date.now });
    const reconciler = createReconciler({ livekit, store, now: Date.now });
    const look = async (): Promise<number> => (await reconciler.look()) + (await reconciler.look());
    await ask('POST', '', { id: 'r2', start: true });
    const { createdAtMs } = (await livekit.listRooms()).find(({ name }) => name === 'r2') ?? { createdAtMs: 0 };
    const room = { id: 'r2', name: 'r2', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: Date.now() } as const;
    await store.noteMade((await store.addRoom(room))?.key ?? 0, createdAtMs);
    expect(await look()).toBe(0);
    await enter('dan', 'r2');
    await until(async () => (await look()) === 1, SOON_MS);
    expect(await store.findRoom('r2')).toMatchObject({ state: 'live', numParticipants: 1 });
    await livekit.deleteRoom('r2');
    await until(async () => (await look()) === 1, SOON_MS);
    expect(await store.findRoom('r2')).toMatchObject({ state: 'finished', numParticipants: 0 });
    expect(await store.eventsOf('r2')).toMatchObject([
      { event: 'participant_joined', identity: 'dan', isMadeUp: true },
      { event: 'room_finished', isMadeUp: true },
    ]);
    await store.close();
  });

  it('stays ended: a former token opens it anew in LiveKit for a moment only', async () => {
    expect((await ask('POST', '', { id: 'r3' })).status).toBe(201);
    const { body } = await ask('POST', '/r3/join', { identity: 'eve' });
    expect((await ask('DELETE', '/r3')).status).toBe(204);
    const eve = new Room();
    clients.push(eve);
    // It may be over before it has begun.
    await eve.connect(String(body['url']), String(body['token']), { autoSubscribe: true, dynacast: false }).catch(() => undefined);
    await until(async () => !eve.isConnected, SOON_MS);
    const [apiKey, secret] = [env['LIVEKIT_API_KEY'] ?? '', env['LIVEKIT_API_SECRET'] ?? ''];
    const livekit = openLivekitRooms({ apiUrl: `http://127.0.0.1:${place.ports['GATEWAY_INTERNAL_PORT']}`, apiKey, secret, now: Date.now });
    await until(async () => (await livekit.listRooms()).every(({ name }) => name !== 'r3'), SOON_MS);
    expect((await ask('GET', '/r3')).body).toMatchObject({ state: 'finished' });
  });

  it('is for bearers of tokens that the command line makes, shows and revokes', async () => {
    const made = await place.run(['tokens', 'add', 'reader', '--scope', 'rooms:read', '--expires', '1d', '--json']);
    const { id, token: reader } = JSON.parse(made.out) as { id: string; token: string };
    const status = async (method: string): Promise<number> =>
      (await fetch(`http://127.0.0.1:${place.ports['SERVICE_PORT']}/api/v1/rooms`, { method, headers: { authorization: `Bearer ${reader}` } })).status;
    expect([await status('GET'), await status('POST')]).toEqual([200, 403]);
    const { out } = await place.run(['tokens', 'list']);
    expect(out).toContain(`${id}  reader  rooms:read`);
    expect(out).not.toContain(reader);
    expect((await place.run(['journal'])).out).not.toContain(reader);
    expect(await place.run(['tokens', 'add', 'x', '--scope', 'rooms:fly'])).toMatchObject({ code: 1, err: expect.stringContaining('BAD_REQUEST') });
    expect(await place.run(['tokens', 'add', 'x', '--expires', 'yesterday'])).toMatchObject({ code: 2, err: expect.stringContaining('--expires') });
    expect((await place.run(['tokens', 'revoke', id])).code).toBe(0);
    expect(await status('GET')).toBe(401);
    expect(await place.run(['tokens', 'revoke', id])).toMatchObject({ code: 1, err: expect.stringContaining('TOKEN_NOT_FOUND') });
  });
});
