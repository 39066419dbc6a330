import type { Logger } from 'pino';
import { tellPipe } from './pipe.ts';

/** Ends this machine's connections to `host:port`, where a machine served that says nothing more. Rejects never. */
export type EndConnections = (host: string, port: number) => Promise<void>;

/** Tells the sockets part through its pipe; null: nobody is told. */
export function connectionEnder(pipe: string | null, log: Logger): EndConnections {
  return async (host, port) => {
    if (pipe === null) return;
    await tellPipe(pipe, `${host} ${port}`).catch((error: unknown) => {
      log.error({ err: error, host, port }, 'connections not ended: the sockets part does not listen');
    });
  };
}
