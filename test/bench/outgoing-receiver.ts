import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An operator's endpoint, a process of its own: writes its port, then, when as many messages as its argument says have come, an OutgoingResult. */

export interface OutgoingResult {
  /** Over the last three quarters: V8 has compiled by then what is used often. */
  readonly perSecond: number;
  /** Messages that came before one of their room that was queued earlier, or twice. */
  readonly disorder: number;
}

const wanted = Number(process.argv[2]);
const last = new Map<string, number>();
let [count, disorder, beganMs] = [0, 0, 0];
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    response.writeHead(204).end();
    const { room, turn } = (JSON.parse(Buffer.concat(chunks).toString('utf8')) as { data: { room: string; turn: number } }).data;
    if (turn !== (last.get(room) ?? -1) + 1) disorder++;
    last.set(room, turn);
    count++;
    if (count === Math.floor(wanted / 4)) beganMs = performance.now();
    if (count === wanted)
      process.stdout.write(`${JSON.stringify({ perSecond: (wanted - Math.floor(wanted / 4)) / ((performance.now() - beganMs) / 1000), disorder })}\n`);
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
