import { expect, test } from 'vitest';
import { WAIT, gatewayRoutes, wayToNode } from '../../src/contract/gateway-routes.ts';
import { nodeRecord } from './fixtures.ts';

const UNAVAILABLE = { handler: 'static_response', status_code: 503, headers: { 'Access-Control-Allow-Origin': ['*'], 'Retry-After': ['1'] } };

const seenAll = { isOutOfReach: () => false, isCutOff: () => false, isQuiet: () => false };
const isM2 = (machine: string): boolean => machine === 'm2';

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
  ['out of reach', nodeRecord({ machine: 'm2' })],
])('the path of a machine that is %s answers 503, until its record names no node: then it leads to the others', (name, record) => {
  const other = nodeRecord({ machine: 'm3', signalling: '10.0.0.3:7880' });
  const seen = { isOutOfReach: (machine: string) => name === 'out of reach' && machine === 'm2', isCutOff: () => false, isQuiet: () => false };
  const match = [{ path: ['/n/m2/rtc', '/n/m2/rtc/*', '/n/m2/whip/*'] }];
  const routes = gatewayRoutes([record, other], 1_000, seen);
  expect(routes.upstreams).toEqual([{ dial: '10.0.0.3:7880' }]);
  expect(routes.nodePaths[0]).toEqual({ match, handle: [UNAVAILABLE], terminal: true });
  const forgotten = { ...record, nodeId: null };
  expect(gatewayRoutes([forgotten, other], 1_000, seen).nodePaths[0]).toMatchObject({
    match,
    handle: [{}, { upstreams: [{ dial: '10.0.0.3:7880' }] }],
  });
  expect(gatewayRoutes([forgotten], 1_000, seen)).toEqual({ upstreams: [], nodePaths: [{ match, handle: [UNAVAILABLE], terminal: true }] });
});

test('a machine whose agent has said nothing for 10 s gets nobody new but keeps its path, until it is given up', () => {
  const records = [{ ...nodeRecord({ machine: 'm2', signalling: 'b:1', state: 'down' }), isSilent: true }, nodeRecord({ machine: 'm3', signalling: 'c:1' })];
  const { upstreams, nodePaths } = gatewayRoutes(records, 1_000);
  expect(upstreams).toEqual([{ dial: 'c:1' }]);
  expect(nodePaths[0]).toMatchObject({ handle: [{}, { upstreams: [{ dial: 'b:1' }] }] });
  const later = gatewayRoutes(records, 1_000, { ...seenAll, isGivenUp: isM2 });
  expect(later.nodePaths[0]).toMatchObject({ handle: [{}, { upstreams: [{ dial: 'c:1' }] }] });
});

test('a draining machine gets no new rooms but keeps its path', () => {
  const routes = gatewayRoutes([nodeRecord({ machine: 'm2', state: 'draining' })], 0);
  expect(routes.upstreams).toEqual([]);
  expect(JSON.stringify(routes.nodePaths)).toContain('"dial":"10.0.0.2:7880"');
});

test('the path of a machine that only the gateway does not reach leads to the others', () => {
  const records = [nodeRecord({ machine: 'm2', signalling: 'b:1' }), nodeRecord({ machine: 'm3', signalling: 'c:1' })];
  const routes = gatewayRoutes(records, 0, { ...seenAll, isOutOfReach: (machine) => machine === 'm2', isCutOff: (machine) => machine === 'm2' });
  expect(routes.upstreams).toEqual([{ dial: 'c:1' }]);
  expect(routes.nodePaths[0]).toMatchObject({ handle: [{}, { upstreams: [{ dial: 'c:1' }] }] });
});

test('the path of a machine that has been down for long leads to the others, though its record names a node', () => {
  const records = [nodeRecord({ machine: 'm2', signalling: 'b:1', state: 'down' }), nodeRecord({ machine: 'm3', signalling: 'c:1' })];
  const routes = gatewayRoutes(records, 0, { ...seenAll, isGivenUp: (machine) => machine === 'm2' });
  expect(routes.nodePaths[0]).toMatchObject({ handle: [{}, { upstreams: [{ dial: 'c:1' }] }] });
  expect(gatewayRoutes(records, 0, seenAll).nodePaths[0]).toMatchObject({ handle: [UNAVAILABLE] });
});

test('a quiet machine keeps its path and gets nobody new, unless all are quiet', () => {
  const records = [nodeRecord({ machine: 'm2', signalling: 'b:1' }), nodeRecord({ machine: 'm3', signalling: 'c:1' })];
  const one = gatewayRoutes(records, 0, { ...seenAll, isQuiet: (machine) => machine === 'm2' });
  expect(one.upstreams).toEqual([{ dial: 'c:1' }]);
  expect(JSON.stringify(one.nodePaths[0])).toContain('"dial":"b:1"');
  expect(gatewayRoutes(records, 0, { ...seenAll, isQuiet: () => true }).upstreams).toHaveLength(2);
});

test('signalling goes to the room’s own node, waits where that may come back, and else goes as its path says', () => {
  const records = [nodeRecord({ machine: 'm2', nodeId: 'ND_2', signalling: 'b:1' }), nodeRecord({ machine: 'm3', nodeId: 'ND_3', signalling: 'c:1' })];
  const way = (nodeId: string, seen = {}): string | null => wayToNode(records, nodeId, { ...seenAll, ...seen });
  expect([way('ND_2'), way('ND_3'), way('ND_4')]).toEqual(['b:1', 'c:1', null]);
  expect([way('ND_2', { isOutOfReach: isM2 }), way('ND_3', { isOutOfReach: isM2 })]).toEqual([WAIT, 'c:1']);
  expect(way('ND_2', { isOutOfReach: isM2, isCutOff: isM2 })).toBeNull();
  expect(way('ND_2', { isOutOfReach: isM2, isGivenUp: isM2 })).toBeNull();
  for (const [state, led] of [
    ['draining', 'b:1'],
    ['stopped', null],
    ['down', WAIT],
  ] as const) {
    const record = nodeRecord({ machine: 'm2', nodeId: 'ND_2', signalling: 'b:1', state });
    expect(wayToNode([record], 'ND_2', seenAll)).toBe(led);
    expect(wayToNode([{ ...record, isSilent: true }], 'ND_2', seenAll)).toBe('b:1');
    expect(wayToNode([{ ...record, isSilent: true }], 'ND_2', { ...seenAll, isOutOfReach: isM2 })).toBe(state === 'stopped' ? null : WAIT);
  }
});

test('the order of the records makes no difference', () => {
  const records = [nodeRecord({ machine: 'm3', signalling: 'c:1' }), nodeRecord({ machine: 'm2', signalling: 'b:1' })];
  expect(gatewayRoutes(records, 0)).toEqual(gatewayRoutes(records.toReversed(), 0));
});

test('without machines there is nothing', () => {
  expect(gatewayRoutes([], 0)).toEqual({ upstreams: [], nodePaths: [] });
});
