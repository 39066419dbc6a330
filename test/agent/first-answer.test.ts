import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startAgent } from '../../src/agent/start-agent.ts';
import { signAccessToken } from '../../src/clients/livekit-token.ts';
import { redisTimeMs } from '../../src/clients/redis-time.ts';
import { ROOM_NODE_KEY } from '../../src/contract/livekit-records.ts';
import { NODES_KEY } from '../../src/contract/node-record.ts';
import { TOKEN_HEADER, UPSTREAM_HEADER } from '../../src/contract/signalling.ts';
import { freePorts } from '../e2e/installation.ts';
import { agentConfig, agentEnvironment, nodeRecord, temporaryDirectory } from './fixtures.ts';
import { startRedis } from './redis.ts';

test('a gateway’s agent that starts anew knows with its first answer where the rooms are', async () => {
  const server = await startRedis();
  const redis = server.connect();
  await redis.hset(ROOM_NODE_KEY, 'there', 'ND_B');
  const stateDir = join(await temporaryDirectory(), 'state');
  const headers = { [TOKEN_HEADER]: signAccessToken({ roomJoin: true, room: 'there' }, { apiKey: 'k', secret: 's', nowMs: Date.now(), ttlSeconds: 60 }) };
  // The machine has taken another port meanwhile: what the former agent remembered is of no use.
  for (const signalling of ['10.0.0.2:7880', '10.0.0.2:7881']) {
    for (const machine of ['m2', 'm3']) {
      const record = nodeRecord({ machine, signalling, nodeId: machine === 'm2' ? 'ND_B' : 'ND_C', updatedAtMs: await redisTimeMs(redis) });
      await redis.hset(NODES_KEY, machine, JSON.stringify(record));
    }
    const [port = 0] = await freePorts(1);
    const redisAt = { sentinels: [], masterName: 'livekit', password: '', direct: { host: '127.0.0.1', port: server.port } };
    const stop = await startAgent(agentConfig({ port, stateDir, redis: redisAt, gateway: { webhooks: null } }), agentEnvironment);
    const answer = await fetch(`http://127.0.0.1:${port}/v1/signalling`, { headers });
    await stop();
    expect(answer.headers.get(UPSTREAM_HEADER)).toBe(signalling);
  }
});
