import { setTimeout as sleep } from 'node:timers/promises';
import { roomApi } from '../../src/meeting/api.ts';

/**
 * Joins rooms, each anew once a period, until SIGTERM: `node room-visitor.ts API_URL TIMEOUT_MS ROOM…`, with API_TOKEN. A visit is the API's
 * ticket and LiveKit's answer over its signalling, no media; who is refused tries again at once, as LiveKit's clients do. Writes a line
 * of JSON for each.
 */

const PERIOD_MS = 1_500;
const RETRY_MS = 250;

const [apiUrl = '', timeoutMs, ...rooms] = process.argv.slice(2);
const api = roomApi({ apiUrl, apiToken: process.env['API_TOKEN'] ?? '' });
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
await Promise.all(rooms.map(keepVisiting));
process.exit();

async function keepVisiting(room: string): Promise<void> {
  while (!stop.signal.aborted) {
    const startedMs = Date.now();
    const signal = AbortSignal.timeout(Number(timeoutMs));
    let problem = await visit(room, signal).catch(String);
    while (problem !== null && !signal.aborted) {
      await sleep(RETRY_MS);
      const next = await visit(room, signal).catch(String);
      // That the time is up says less than what was wrong before.
      if (!signal.aborted || next === null) problem = next;
    }
    if (!stop.signal.aborted) process.stdout.write(`${JSON.stringify({ room, startedMs, endedMs: Date.now(), problem })}\n`);
    await sleep(Math.max(0, startedMs + PERIOD_MS - Date.now()));
  }
}

/** Gives null when LiveKit took the visitor in. */
async function visit(room: string, signal: AbortSignal): Promise<null> {
  const { url, token } = await api.join(room, 'visitor', signal);
  // What LiveKit’s clients ask for, of a protocol that all its versions speak.
  const query = new URLSearchParams({ access_token: token, auto_subscribe: '0', protocol: '9', sdk: 'js', version: '1.15.0' });
  const socket = new WebSocket(`${url}/rtc?${query}`);
  const answered = Promise.withResolvers<null>();
  signal.addEventListener('abort', () => answered.reject(new Error('no answer in time')));
  // The first message is the answer to the join.
  socket.addEventListener('message', () => answered.resolve(null));
  socket.addEventListener('close', ({ code }) => answered.reject(new Error(`closed with ${code}`)));
  // Only here can be read why.
  const why = async (): Promise<string> =>
    fetch(`${url.replace('ws', 'http')}/rtc/validate?${query}`, { signal }).then(async (one) => `${one.status} ${await one.text()}`);
  socket.addEventListener(
    'error',
    () =>
      void why()
        .catch(String)
        .then((said) => answered.reject(new Error(`refused; afterwards ${said}`))),
  );
  try {
    return await answered.promise;
  } finally {
    socket.close();
  }
}
