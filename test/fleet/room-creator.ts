import { setTimeout as sleep } from 'node:timers/promises';

/** Creates rooms until SIGTERM, several at a time: `node room-creator.ts API_URL`, with API_TOKEN. Writes a line of JSON for each. */

const PERIOD_MS = 100;
/** As long as our service waits for LiveKit, and the way. */
const TIMEOUT_MS = 8_000;

const [apiUrl = '', token = ''] = [process.argv[2], process.env['API_TOKEN']];
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
while (!stop.signal.aborted) {
  void create();
  await sleep(PERIOD_MS);
}
process.exit();

async function create(): Promise<void> {
  const startedMs = Date.now();
  const room = await ask('/rooms', { emptyTimeout: 1, start: true });
  const endedMs = Date.now();
  const ticket = room === null ? null : await ask(`/rooms/${room['id']}/join`, { identity: 'somebody' });
  const path = ticket === null ? '' : new URL(String(ticket['url'])).pathname.replace(/^\/$/, '');
  process.stdout.write(`${JSON.stringify({ startedMs, endedMs, isCreated: room !== null, path })}\n`);
}

async function ask(path: string, body: object): Promise<Record<string, unknown> | null> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  try {
    const answer = await fetch(`${apiUrl}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS) });
    const said = (await answer.json()) as Record<string, unknown>;
    return answer.ok ? said : null;
  } catch {
    return null;
  }
}
