import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** Asks as a client that has just come, over a connection of its own. Gives the first line of the answer, or what became of the connection. */
export async function come(port: number, path: string): Promise<string> {
  const request = `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`;
  const socket = connect({ host: '127.0.0.1', port, timeout: 10_000 }, () => socket.write(request));
  socket.on('timeout', () => socket.destroy(new Error('no answer')));
  try {
    return (await text(socket)).split('\r\n')[0] ?? '';
  } catch (error) {
    return String(error);
  }
}

/** `clients` at a time, each with a new connection for every path in turn, until `change` has ended. Gives how many got which answer. */
export async function comeWhile(
  change: () => Promise<void>,
  { port, paths, clients }: { port: number; paths: readonly string[]; clients: number },
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const over = new AbortController();
  const all = Array.from({ length: clients }, async (_, index) => {
    for (let number = index; !over.signal.aborted; number++) {
      const answer = await come(port, paths[number % paths.length] ?? '');
      counts[answer] = (counts[answer] ?? 0) + 1;
    }
  });
  await change();
  over.abort();
  await Promise.all(all);
  return counts;
}
