import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Logger } from 'pino';

/** Ends this machine's connections to `host:port`, where a machine served that says nothing more. Rejects never. */
export type EndConnections = (host: string, port: number) => Promise<void>;

/** Tells the sockets part through its pipe; null: nobody is told. */
export function connectionEnder(pipe: string | null, log: Logger): EndConnections {
  return async (host, port) => {
    if (pipe === null) return;
    await tellSockets(pipe, `${host} ${port}`).catch((error: unknown) => {
      log.error({ err: error, host, port }, 'connections not ended: the sockets part does not listen');
    });
  };
}

/** Writes a line to the sockets part. Rejects where it does not listen. */
export async function tellSockets(pipe: string, line: string): Promise<void> {
  // Not to wait for a reader: where none is there, the part does not run.
  const file = await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await file.write(`${line}\n`);
  } finally {
    await file.close();
  }
}
