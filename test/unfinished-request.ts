import { connect } from 'node:net';

/** Sends the beginning of a request and no more; gives what the server said until it closed the connection, and after how long (20 s at most). */
export function sendUnfinished(port: number, beginning: string): Promise<{ text: string; ms: number }> {
  return new Promise((resolve) => {
    const start = performance.now();
    let text = '';
    const socket = connect({ host: '127.0.0.1', port, timeout: 20_000, allowHalfOpen: true }, () => socket.write(beginning));
    const finish = (): void => {
      socket.destroy();
      resolve({ text, ms: performance.now() - start });
    };
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    for (const event of ['end', 'timeout', 'error']) socket.on(event, finish);
  });
}
