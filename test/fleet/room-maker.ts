import { setTimeout as sleep } from 'node:timers/promises';
import { roomApi } from '../../src/meeting/api.ts';

/** Makes ten rooms a second until SIGTERM, and writes a line for each: when it stood (ms since 1970), and the path of its node. */

const [apiUrl = '', apiToken = ''] = [process.argv[2], process.env['API_TOKEN']];
const api = roomApi({ apiUrl, apiToken });
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());

while (!stop.signal.aborted) {
  const next = sleep(100);
  try {
    const { url } = await api.join(await api.createRoom(stop.signal), 'somebody', stop.signal);
    process.stdout.write(`${JSON.stringify({ atMs: Date.now(), path: new URL(url).pathname })}\n`);
  } catch (error) {
    if (!stop.signal.aborted) process.stderr.write(`${String(error)}\n`);
  }
  await next;
}
