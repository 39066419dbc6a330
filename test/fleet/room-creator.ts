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
  const isCreated = await fetch(`${apiUrl}/api/v1/rooms`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ emptyTimeout: 1 }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).then(
    async (answer) => (await answer.text(), answer.ok),
    () => false,
  );
  process.stdout.write(`${JSON.stringify({ startedMs, endedMs: Date.now(), isCreated })}\n`);
}
