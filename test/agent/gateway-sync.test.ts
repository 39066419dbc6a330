import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { ensureCaddyValue, openCaddyAdmin } from '../../src/clients/caddy-admin.ts';
import type { CaddyAdmin } from '../../src/clients/caddy-admin.ts';
import { openFleetMemory } from '../../src/agent/fleet-memory.ts';
import { gatewayRoutes } from '../../src/contract/gateway-routes.ts';
import { NODES_KEY } from '../../src/contract/node-record.ts';
import { startGatewaySync } from '../../src/agent/gateway-sync.ts';
import { nodeRecord, silentLog, startReceiver, temporaryDirectory, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

/** Caddy's part of the admin API: a value per id and field. */
function fakeCaddy(): { admin: CaddyAdmin; values: Map<string, unknown>; writes: string[]; reads: () => number; restart: () => void } {
  const empty: [string, unknown][] = [
    ['media/upstreams', []],
    ['media-internal/upstreams', []],
    ['node-paths/routes', []],
  ];
  const values = new Map(empty);
  const writes: string[] = [];
  let reads = 0;
  const admin: CaddyAdmin = {
    async read({ id, field }) {
      reads += 1;
      return values.get(`${id}/${field}`);
    },
    readAll: async () => JSON.stringify(Object.fromEntries(values)),
    async replace({ id, field }, value) {
      writes.push(id);
      values.set(`${id}/${field}`, value);
    },
  };
  const restart = (): void => empty.forEach(([key, value]) => void values.set(key, value));
  return { admin, values, writes, reads: () => reads, restart };
}

/** A sync whose Redis never answers, stopped after the test. */
function syncWithoutRedis(caddy: CaddyAdmin, path: string, kept: string[] = []): ReturnType<typeof startGatewaySync> {
  const redis = new Redis({ lazyConnect: true });
  const sync = startGatewaySync({
    redis,
    subscriber: redis,
    caddy,
    memory: openFleetMemory(path),
    keepCaddy: async (config) => void kept.push(config),
    log: silentLog,
    monotonicMs: () => performance.now(),
  });
  onTestFinished(() => sync.stop());
  return sync;
}

test('starts from the remembered fleet while Redis is away, writes once, and again when Caddy restarted', async () => {
  const path = join(await temporaryDirectory(), 'fleet.json');
  const fleet = [nodeRecord({ machine: 'm2' })];
  await openFleetMemory(path).save(fleet);
  const caddy = fakeCaddy();
  const kept: string[] = [];
  const sync = syncWithoutRedis(caddy.admin, path, kept);

  await until(() => expect(sync.isCaddyReady()).toBe(true));
  const wanted = gatewayRoutes(fleet, 0);
  expect(caddy.values.get('media/upstreams')).toEqual(wanted.upstreams);
  expect(caddy.values.get('media-internal/upstreams')).toEqual(wanted.upstreams);
  expect(caddy.values.get('node-paths/routes')).toEqual(wanted.nodePaths);
  expect(caddy.writes).toEqual(['node-paths', 'media', 'media-internal']);

  const before = caddy.reads();
  await until(() => expect(caddy.reads()).toBeGreaterThanOrEqual(before + 3));
  expect(caddy.writes).toHaveLength(3);
  // What Caddy was given is kept for its next start, once.
  expect(kept).toEqual([await caddy.admin.readAll()]);

  caddy.restart();
  await until(() => expect(kept).toHaveLength(2));
  expect(caddy.writes).toHaveLength(6);
});

test('before anybody has registered, what the deploy gave Caddy stands', async () => {
  const { connect } = await startRedis();
  const redis = connect();
  const caddy = fakeCaddy();
  caddy.values.set('media/upstreams', [{ dial: 'as the deploy wrote it' }]);
  let looks = 0;
  const memory = openFleetMemory(join(await temporaryDirectory(), 'fleet.json'));
  const clock = (): number => ++looks;
  const sync = startGatewaySync({ redis, subscriber: connect(), caddy: caddy.admin, memory, log: silentLog, monotonicMs: clock });
  onTestFinished(() => sync.stop());
  await until(() => expect(looks).toBeGreaterThan(2));
  expect(caddy.writes).toEqual([]);

  await redis.hset(NODES_KEY, 'm2', JSON.stringify(nodeRecord({ machine: 'm2', updatedAtMs: Date.now() })));
  await until(() => expect(caddy.writes).toEqual(['node-paths', 'media', 'media-internal']));
});

test('a missing id is reported and the others are written all the same', async () => {
  const path = join(await temporaryDirectory(), 'fleet.json');
  await openFleetMemory(path).save([nodeRecord({ machine: 'm2' })]);
  const caddy = fakeCaddy();
  caddy.values.delete('media/upstreams');
  const sync = syncWithoutRedis(caddy.admin, path);
  await until(() => expect(caddy.writes).toEqual(['node-paths', 'media-internal']));
  expect(sync.isCaddyReady()).toBe(false);
});

test('a write goes over the Unix socket without an Origin, and equal values are not written', async () => {
  const socket = join(await temporaryDirectory(), 'admin.sock');
  const running = JSON.stringify([{ b: 1, dial: 'x:1' }]);
  const { received } = await startReceiver((request) => (request.method === 'GET' ? { status: 200, body: running } : 200), socket);
  const admin = openCaddyAdmin(socket);
  const target = { id: 'media', field: 'upstreams' };
  expect(await ensureCaddyValue(admin, target, [{ dial: 'x:1', b: 1 }])).toBe('same');
  expect(await ensureCaddyValue(admin, target, [{ dial: 'y:1' }])).toBe('written');
  expect(received.map(({ method, url }) => `${method} ${url}`)).toEqual(['GET /id/media/upstreams', 'GET /id/media/upstreams', 'PATCH /id/media/upstreams']);
  expect(received[2]?.body).toBe('[{"dial":"y:1"}]');
  expect(received[2]?.headers['origin']).toBeUndefined();
});

test('an unknown id is missing, and a refusal carries the reason', async () => {
  const socket = join(await temporaryDirectory(), 'admin.sock');
  await startReceiver((request) => (request.url.includes('nope') ? 404 : { status: 400, body: '{"error":"bad dial"}' }), socket);
  const admin = openCaddyAdmin(socket);
  expect(await ensureCaddyValue(admin, { id: 'nope', field: 'upstreams' }, [])).toBe('missing');
  await expect(admin.replace({ id: 'media', field: 'upstreams' }, [])).rejects.toMatchObject({
    code: 'CADDY_REFUSED',
    params: { status: 400, reason: '{"error":"bad dial"}' },
  });
});

test('connections to a machine that vanished end once, as soon as its clients are led elsewhere', async () => {
  const path = join(await temporaryDirectory(), 'fleet.json');
  await openFleetMemory(path).save([nodeRecord({ machine: 'm2', signalling: '10.0.0.2:7880', nodeId: null, state: 'down' }), nodeRecord({ machine: 'm3' })]);
  const caddy = fakeCaddy();
  const redis = new Redis({ lazyConnect: true });
  const ended: { address: string; writes: readonly string[] }[] = [];
  const sync = startGatewaySync({
    redis,
    subscriber: redis,
    caddy: caddy.admin,
    memory: openFleetMemory(path),
    seen: { isOutOfReach: (machine) => machine === 'm2', isCutOff: () => false, isQuiet: () => false },
    endConnections: async (host, port) => void ended.push({ address: `${host}:${port}`, writes: [...caddy.writes] }),
    log: silentLog,
    monotonicMs: () => performance.now(),
  });
  onTestFinished(() => sync.stop());
  await until(() => expect(sync.isCaddyReady()).toBe(true));
  expect(ended).toEqual([{ address: '10.0.0.2:7880', writes: ['node-paths', 'media'] }]);
  const reads = caddy.reads();
  sync.poke();
  await until(() => expect(caddy.reads()).toBeGreaterThan(reads + 2));
  expect(ended).toHaveLength(1);
});

test('a path whose machine has been down for twelve seconds leads to the others', async () => {
  const path = join(await temporaryDirectory(), 'fleet.json');
  await openFleetMemory(path).save([
    nodeRecord({ machine: 'm2', signalling: '10.0.0.2:7880', state: 'down' }),
    nodeRecord({ machine: 'm3', signalling: '10.0.0.3:7880' }),
  ]);
  const caddy = fakeCaddy();
  const redis = new Redis({ lazyConnect: true });
  let laterMs = 0;
  const sync = startGatewaySync({
    redis,
    subscriber: redis,
    caddy: caddy.admin,
    memory: openFleetMemory(path),
    log: silentLog,
    monotonicMs: () => performance.now() + laterMs,
  });
  onTestFinished(() => sync.stop());
  await until(() => expect(sync.isCaddyReady()).toBe(true));
  expect(JSON.stringify(caddy.values.get('node-paths/routes'))).toContain('503');
  laterMs = 12_000;
  sync.poke();
  await until(() => expect(JSON.stringify(caddy.values.get('node-paths/routes'))).not.toContain('503'));
});
