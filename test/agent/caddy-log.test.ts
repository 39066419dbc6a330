import { once } from 'node:events';
import { request } from 'node:http';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { freePorts } from '../e2e/installation.ts';
import { until } from './fixtures.ts';
import { echoPath, serve, startGateway } from './caddy-fixture.ts';

const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.secret-of-the-test.signature';
/** What src/health/certificate.ts and people read. */
const lineSchema = z.looseObject({ level: z.string(), ts: z.number(), logger: z.string().optional(), msg: z.string() });
const errorSchema = lineSchema.extend({ request: z.looseObject({ method: z.string(), uri: z.string() }), status: z.number() });

/** Asks with the token wherever clients put it; gives the status. */
async function ask(port: number, path: string): Promise<number> {
  const headers = { authorization: `Bearer ${TOKEN}`, cookie: `session=${TOKEN}`, referer: `http://localhost/meet?token=${TOKEN}`, 'x-api-key': TOKEN };
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  const asking = request({ host: '127.0.0.1', port, path, headers: { ...headers, ...(path.includes('validate') ? {} : upgrade) } });
  asking.end();
  const [answer] = await once(asking, 'response');
  answer.resume();
  return answer.statusCode;
}

const queries = [`?access_token=${TOKEN}&sdk=js`, `?sdk=js&access%5Ftoken=${TOKEN}`, `?a=%zz;access_token=${TOKEN}`, `?a?access_token=${TOKEN}`];

test.each(['info', 'debug'])('with LiveKit away no token is in the log, which stays JSON, at level %s', async (level) => {
  const [LIVEKIT_HTTP_PORT = 0] = await freePorts(1);
  const gateway = await startGateway({ LIVEKIT_HTTP_PORT, LOG_LEVEL: level });
  const paths = ['/rtc', '/rtc/v1/validate', '/n/m127-0-0-1/rtc/v1', '/n/m127-0-0-1/rtc/validate'].flatMap((path) => queries.map((query) => path + query));
  for (const path of paths) expect(await ask(gateway.port, path)).toBe(502);
  const lines = (): unknown[] => {
    const complete = gateway.output().trimEnd().split('\n');
    return complete.map((line) => lineSchema.parse(JSON.parse(line)));
  };
  await until(() => expect(lines().filter((line) => errorSchema.safeParse(line).data?.status === 502)).toHaveLength(paths.length));
  expect(gateway.output()).toContain('/rtc/v1/validate?[redacted]');
  expect(gateway.output()).not.toContain('secret-of-the-test');
});

test.each(['is there', 'is away'])('at level debug no token of a request that LiveKit takes is in the log, where the agent %s', async (agent) => {
  const [nobody = 0] = await freePorts(1);
  const where = agent === 'is away' ? { AGENT_PORT: nobody } : {};
  const gateway = await startGateway({ LIVEKIT_HTTP_PORT: await serve(echoPath()), LOG_LEVEL: 'debug', ...where }, undefined, 'gateway');
  for (const path of ['/rtc/validate', '/n/m127-0-0-1/rtc/validate']) expect(await ask(gateway.port, path + (queries[0] ?? ''))).toBe(200);
  const asked = (): number => gateway.output().match(/"upstream roundtrip"/g)?.length ?? 0;
  // The agent is asked each time as well; while it is away, again and again.
  await until(() => expect(agent === 'is away' ? asked() > 4 : asked() === 4, String(asked())).toBe(true));
  expect(gateway.output()).not.toContain('secret-of-the-test');
});
