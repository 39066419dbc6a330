import { expect, test } from 'vitest';
import { parseAgentConfig } from '../../src/agent/config.ts';
import { nodeIdOf } from '../../src/agent/livekit-probe.ts';
import { createServingJudge } from '../../src/agent/media-registry.ts';
import { parseNodeRecords } from '../../src/contract/node-record.ts';
import { agentConfig, nodeRecord } from './fixtures.ts';

const valid = agentConfig({
  machine: 'm10-0-0-2',
  port: 7980,
  stateDir: '/var/lib/agent',
  logLevel: 'info',
  redis: { sentinels: [], masterName: 'livekit', password: 'top-secret', direct: { host: '127.0.0.1', port: 6379 } },
  webhook: { enabled: true, urls: ['http://127.0.0.1:8080/api/webhook'], keys: { key: 'top-secret' }, signingKey: 'key' },
});

test('a valid file is read', () => {
  expect(parseAgentConfig(JSON.stringify(valid))).toEqual({ config: valid });
});

test('all problems are on one line that shows no secret', () => {
  const bad = { ...valid, machine: 'M/1', redis: { ...valid.redis, direct: null }, webhook: { ...valid.webhook, signingKey: 'other' } };
  const result = parseAgentConfig(JSON.stringify(bad));
  const problem = 'problem' in result ? result.problem : '';
  expect(problem).toMatch(/machine: .*redis: name a sentinel.*webhook\.signingKey: /);
  expect(problem).not.toMatch(/top-secret|\n/);
  expect(parseAgentConfig('{')).toEqual({ problem: 'not valid JSON' });
});

test('LiveKit is down at once when refused, and after ten seconds when unready', () => {
  let nowMs = 0;
  const isServing = createServingJudge(() => nowMs);
  expect(isServing('unready')).toBe(false);
  expect(isServing('ok')).toBe(true);
  nowMs = 9_999;
  expect(isServing('unready')).toBe(true);
  nowMs = 10_000;
  expect(isServing('unready')).toBe(false);
  expect(isServing('ok')).toBe(true);
  expect(isServing('refused')).toBe(false);
});

test('the node id is a label of any series', () => {
  expect(nodeIdOf('# HELP x\nlivekit_room_total{foo="1",node_id="ND_abc",node_type="SERVER"} 0\n')).toBe('ND_abc');
  expect(nodeIdOf('go_goroutines 12\n')).toBeNull();
});

test('a record that is damaged, or stands under another name, is left out', () => {
  const good = nodeRecord({ machine: 'm2' });
  const fields = { m2: JSON.stringify(good), m3: '{', m4: JSON.stringify(good), m5: '{"machine":"m5"}', 'x/y': JSON.stringify(nodeRecord({ machine: 'x/y' })) };
  expect(parseNodeRecords(fields)).toEqual([good]);
});
