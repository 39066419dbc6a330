import { connect, createServer } from 'node:net';

/** Serves at each address of the command line (`host:port`) and connects to it; writes `open ADDRESS` and `ended ADDRESS` of the clients. */
for (const address of process.argv.slice(2)) {
  const [host = '', port = ''] = address.split(':');
  createServer((socket) => socket.on('error', () => undefined)).listen(Number(port), host, () => {
    const client = connect(Number(port), host, () => console.log(`open ${address}`));
    client.on('error', () => undefined);
    client.on('close', () => console.log(`ended ${address}`));
  });
}
