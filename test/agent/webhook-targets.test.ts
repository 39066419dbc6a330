import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { startWebhookAnnouncer } from '../../src/agent/webhook-announcer.ts';
import { followTargets } from '../../src/agent/webhook-relay/follow-targets.ts';
import type { WebhookRelay } from '../../src/agent/webhook-relay/relay.ts';
import { parseWebhookTargets } from '../../src/contract/webhook-targets.ts';
import { silentLog, temporaryDirectory, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

/** A media machine's follower; gives where its relay was pointed to, a word per redirection. */
function follow(connect: () => Redis, path: string, ownUrls: readonly string[] = []): string[] {
  const pointed: string[] = [];
  const relay: Pick<WebhookRelay, 'redirect'> = { redirect: ({ urls, gateway }) => void pointed.push(`${urls.join(' ')} by ${gateway?.domain}`) };
  const stop = followTargets({ redis: connect(), subscriber: connect(), relay: relay as WebhookRelay, ownUrls, path, log: silentLog });
  onTestFinished(stop);
  return pointed;
}

test('media machines send where machine 1 says, at once, also after a restart without Redis', async () => {
  const path = join(await temporaryDirectory(), 'targets.json');
  const { connect, kill } = await startRedis();
  const pointed = follow(connect, path);
  const own = follow(connect, `${path}.own`, ['https://own.test/']);
  const announce = (url: string, machine = 'gateway'): (() => Promise<void>) =>
    startWebhookAnnouncer({ machine, redis: connect(), webhooks: { urls: [url], domain: 'fleet.test', caFile: null }, log: silentLog });
  const stop = announce('https://one.test/');
  await until(() => expect(pointed).toEqual(['https://one.test/ by fleet.test']));
  await stop();
  const began = performance.now();
  const stopTwo = announce('https://two.test/');
  await until(() => expect(pointed).toEqual(['https://one.test/ by fleet.test', 'https://two.test/ by fleet.test']));
  // The period alone would take 5 s.
  expect(performance.now() - began).toBeLessThan(2_500);
  await until(() => expect(own.at(-1)).toBe('https://own.test/ by fleet.test'));
  // A second gateway is not heard before the first has ended.
  onTestFinished(announce('https://rival.test/', 'rival'));
  await stopTwo();
  await until(() => expect(pointed.at(-1)).toBe('https://rival.test/ by fleet.test'));
  expect(pointed).toEqual(['https://one.test/ by fleet.test', 'https://two.test/ by fleet.test', 'https://rival.test/ by fleet.test']);
  kill();
  const restarted = follow(connect, path);
  await until(() => expect(restarted).toEqual(['https://rival.test/ by fleet.test']));
});

test('another version’s or a damaged word is none', () => {
  const good = { urls: ['https://x.test/'], domain: 'x.test', gatewayAddress: '192.168.1.1', caPem: null };
  expect(parseWebhookTargets(JSON.stringify(good))).toEqual(good);
  const bad = ['', '{', '{}', { ...good, urls: ['ftp://x.test'] }, { ...good, gatewayAddress: 'x.test' }, { ...good, caPem: 'no certificate' }];
  expect(bad.map((one) => parseWebhookTargets(typeof one === 'string' ? one : JSON.stringify(one)))).toEqual(bad.map(() => null));
});
