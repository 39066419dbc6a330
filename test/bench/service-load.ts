import { createHash, createHmac } from 'node:crypto';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { json } from 'node:stream/consumers';
import type { Load, LoadResult } from './service-process.ts';

/**
 * The load generator, a process of its own: takes a Load as JSON on its standard input, writes a LoadResult. Requests are made before
 * the clock starts and answers are hardly read, so that it takes little from the machine that it shares with what is measured.
 */

const load = (await json(process.stdin)) as Load;
const requests = Array.from({ length: load.requests }, (_, index) => requestOf(load, index));
process.stdout.write(JSON.stringify(await run()));
process.exit();

async function run(): Promise<LoadResult> {
  const { port, connections, perSecond } = load;
  const sockets = await Promise.all(Array.from({ length: connections }, () => open(port)));
  const latenciesMs = new Float64Array(load.requests);
  const wrong: string[] = [];
  const beganMs = performance.now();
  let next = 0;
  const work = async (socket: Socket): Promise<void> => {
    for (let index = next++; index < load.requests; index = next++) {
      // By the clock, whether or not answers come: what waits for a free connection is late already.
      const dueMs = perSecond === null ? performance.now() : beganMs + (index * 1000) / perSecond;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      const answer = await exchange(socket, requests[index] ?? Buffer.alloc(0));
      latenciesMs[index] = performance.now() - Math.max(dueMs, beganMs);
      if (!answer.startsWith('HTTP/1.1 2')) wrong.push(answer.slice(0, 300));
    }
  };
  await Promise.all(sockets.map(work));
  const seconds = (performance.now() - beganMs) / 1000;
  latenciesMs.sort();
  return { perSecond: load.requests / seconds, p99Ms: latenciesMs[Math.floor(load.requests * 0.99)] ?? 0, wrong: wrong.length, example: wrong[0] ?? '' };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** One request and its answer, whose end the content-length tells. */
function exchange(socket: Socket, request: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(text)?.[1];
      if (head < 0 || length === undefined || text.length < head + 4 + Number(length)) return;
      socket.off('data', onData);
      socket.off('close', reject);
      resolve(text);
    };
    socket.on('data', onData);
    socket.once('close', reject);
    socket.write(request);
  });
}

function requestOf({ kind, rooms, token, key, salt }: Load, index: number): Buffer {
  const room = rooms[index % rooms.length] ?? '';
  switch (kind) {
    case 'create':
      return post('/api/v1/rooms', JSON.stringify({ name: 'bench', maxParticipants: 50 }), `Bearer ${token}`);
    case 'join':
      return post(`/api/v1/rooms/${room}/join`, JSON.stringify({ identity: `user-${index}`, name: 'Somebody' }), `Bearer ${token}`);
    case 'webhook': {
      const body = JSON.stringify(eventOf(room, `${salt}${index}`, Math.floor(index / rooms.length)));
      return post('/api/webhook', body, sign(body, key));
    }
  }
}

function post(path: string, body: string, authorization: string): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: ${authorization}\r\ncontent-type: application/json\r\n`;
  return Buffer.from(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** What LiveKit 1.13 sends, in its length. Every room: somebody joins, publishes, leaves. */
function eventOf(room: string, id: string, turn: number): unknown {
  const event = ['participant_joined', 'track_published', 'participant_left'][turn % 3];
  const person = id.slice(0, -1);
  const nowS = String(Math.floor(Date.now() / 1000));
  return {
    event,
    room: {
      sid: 'RM_bench0123456',
      name: room,
      emptyTimeout: 300,
      departureTimeout: 20,
      creationTime: nowS,
      creationTimeMs: String(Date.now()),
      turnPassword: 'Pm1wUQ8wzrZFJPzGZvXq6dXQqvBbkCtEfh4cY',
      enabledCodecs: ['audio/opus', 'audio/red', 'video/VP8', 'video/H264', 'video/VP9', 'video/AV1', 'video/rtx'].map((mime) => ({ mime })),
    },
    participant: {
      sid: `PA_${room.slice(-6)}${Math.floor(turn / 3)}`,
      identity: `user-${person}`,
      state: 'ACTIVE',
      joinedAt: nowS,
      joinedAtMs: String(Date.now()),
      name: 'Somebody',
      permission: { canSubscribe: true, canPublish: true, canPublishData: true },
      kind: 'STANDARD',
    },
    ...(event === 'track_published' ? { track: { sid: `TR_${id}`, source: 'MICROPHONE', mimeType: 'audio/red', mid: '0', stream: 'camera' } } : {}),
    id: `EV_${createHash('sha256').update(id).digest('base64url').slice(0, 12)}`,
    createdAt: nowS,
  };
}

function sign(body: string, { name, secret }: Load['key']): string {
  const nowS = Math.floor(Date.now() / 1000);
  const sha256 = createHash('sha256').update(body).digest('base64');
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ iss: name, nbf: nowS, exp: nowS + 300, sha256 })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
