import type { Redis } from 'ioredis';
import { primaryOf } from '../clients/redis.ts';
import type { FaultOrder } from '../contract/orders.ts';
import type { LivekitProcess } from './livekit-process.ts';
import { tellPipe } from './pipe.ts';

/**
 * Gives what makes a drill's fault ready on this machine: to end a process of the agent's own user, or to have the sockets part cut the
 * machine off. That rejects where it cannot be done here, and gives the function that does it.
 * @param options.own this machine's address in the fleet; null where it has no Sentinel
 */
export function faultMaker(options: {
  redis: Redis;
  livekit: LivekitProcess;
  own: string | null;
  socketsPipe: string | null;
}): (fault: FaultOrder['fault']) => Promise<() => Promise<void>> {
  const { redis, livekit, own, socketsPipe } = options;
  const findPid = async (part: 'livekit' | 'redis' | 'agent'): Promise<number | null> => {
    switch (part) {
      case 'livekit':
        return livekit.pid();
      case 'redis':
        // The connection is to the primary, whose process may be another machine's.
        return primaryOf(redis)?.host === own ? Number(/^process_id:(\d+)/m.exec(await redis.info('server'))?.[1]) || null : null;
      case 'agent':
        return process.pid;
    }
  };
  return async (fault) => {
    if ('cutSeconds' in fault) {
      if (socketsPipe === null) throw new Error('there is no other machine to be cut off from');
      return async () => tellPipe(socketsPipe, `cut ${fault.cutSeconds}`);
    }
    const pid = await findPid(fault.kill);
    if (pid === null) throw new Error(`no process of ${fault.kill} that could be ended here`);
    return async () => void process.kill(pid, 'SIGKILL');
  };
}
