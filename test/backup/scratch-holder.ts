import { startScratchRedis } from '../../src/backup/scratch-redis.ts';

/** Starts a scratch Redis, tells its process id, and waits to be killed: node scratch-holder.ts PROGRAM FOLDER */
const [program = '', folder = ''] = process.argv.slice(2);
const user = { uid: 65_534, gid: 65_534 };
const { redis } = await startScratchRedis({ program, folder, user, signal: new AbortController().signal, onProgress: () => undefined });
process.stdout.write(`${/process_id:(\d+)/.exec(await redis.info('server'))?.[1]}\n`);
