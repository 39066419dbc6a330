import { expect, test } from 'vitest';
import { gatewayRoutes } from '../../src/contract/gateway-routes.ts';
import { nodeRecord } from './fixtures.ts';

const UNAVAILABLE = { handler: 'static_response', status_code: 503, headers: { 'Access-Control-Allow-Origin': ['*'], 'Retry-After': ['1'] } };

test('a serving machine is an upstream and has its own path', () => {
  const routes = gatewayRoutes([nodeRecord({ machine: 'm2', signalling: '10.0.0.2:7880' })], 1_000);
  expect(routes.upstreams).toEqual([{ dial: '10.0.0.2:7880' }]);
  expect(routes.nodePaths).toEqual([
    {
      match: [{ path: ['/n/m2/rtc', '/n/m2/rtc/*', '/n/m2/whip/*'] }],
      handle: [
        { handler: 'rewrite', strip_path_prefix: '/n/m2' },
        {
          handler: 'reverse_proxy',
          upstreams: [{ dial: '10.0.0.2:7880' }],
          stream_close_delay: '24h',
          flush_interval: -1,
          headers: { request: { delete: ['CF-Connecting-IP'] } },
        },
      ],
      terminal: true,
    },
  ]);
});

test.each([
  ['down', nodeRecord({ machine: 'm2', state: 'down' })],
  ['stopped', nodeRecord({ machine: 'm2', state: 'stopped' })],
  ['silent for 10 s', nodeRecord({ machine: 'm2', updatedAtMs: -9_000 })],
])('the path of a machine that is %s answers 503 and goes nowhere', (_name, record) => {
  const routes = gatewayRoutes([record], 1_000);
  expect(routes.upstreams).toEqual([]);
  expect(routes.nodePaths).toEqual([{ match: [{ path: ['/n/m2/rtc', '/n/m2/rtc/*', '/n/m2/whip/*'] }], handle: [UNAVAILABLE], terminal: true }]);
});

test('a draining machine gets no new rooms but keeps its path', () => {
  const routes = gatewayRoutes([nodeRecord({ machine: 'm2', state: 'draining' })], 0);
  expect(routes.upstreams).toEqual([]);
  expect(JSON.stringify(routes.nodePaths)).toContain('"dial":"10.0.0.2:7880"');
});

test('the order of the records makes no difference', () => {
  const records = [nodeRecord({ machine: 'm3', signalling: 'c:1' }), nodeRecord({ machine: 'm2', signalling: 'b:1' })];
  expect(gatewayRoutes(records, 0)).toEqual(gatewayRoutes(records.toReversed(), 0));
});

test('without machines there is nothing', () => {
  expect(gatewayRoutes([], 0)).toEqual({ upstreams: [], nodePaths: [] });
});
