import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { onTestFinished, vi } from 'vitest';
import type { AgentConfig } from '../../src/agent/config.ts';
import type { AgentEnvironment } from '../../src/agent/start-agent.ts';
import type { NodeRecord } from '../../src/contract/node-record.ts';

export const silentLog = pino({ level: 'silent' });

/** A serving machine's record, fresh at time 0. */
export function nodeRecord(change: Partial<NodeRecord> & { machine: string }): NodeRecord {
  return { signalling: '10.0.0.2:7880', nodeId: 'ND_1', version: '1.13.5', state: 'serving', keyFingerprint: 'ab', updatedAtMs: 0, ...change };
}

/** The configuration of an agent that is machine `m1` of a fleet, and does nothing but what `change` says. */
export function agentConfig(change: Partial<AgentConfig> & Pick<AgentConfig, 'port' | 'stateDir' | 'redis'>): AgentConfig {
  return {
    machine: 'm1',
    fleet: 'livekit',
    bind: '127.0.0.1',
    journal: join(change.stateDir, 'journal.jsonl'),
    logLevel: 'silent',
    sentinel: null,
    media: null,
    members: null,
    socketsPipe: null,
    upgrades: null,
    gateway: null,
    webhook: { enabled: false, urls: [], keys: {}, signingKey: '' },
    ...change,
  };
}

/** Without a log, by the clocks of this computer. */
export const agentEnvironment: AgentEnvironment = { log: silentLog, nowMs: () => Date.now(), monotonicMs: () => performance.now() };

/** An empty directory that goes away with the test. */
export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'fleet-agent-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

export interface ReceivedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What the receiver answers: a status (with a body), or nothing at all. */
export type Reply = number | { status: number; body: string } | 'hang';

/** A real HTTP server on a free port that records what it gets. */
export async function startReceiver(reply: (request: ReceivedRequest) => Reply): Promise<{ url: string; received: ReceivedRequest[] }> {
  const received: ReceivedRequest[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const one = { url: request.url ?? '', method: request.method ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') };
    received.push(one);
    const answer = reply(one);
    if (answer === 'hang') return;
    response.writeHead(typeof answer === 'number' ? answer : answer.status).end(typeof answer === 'number' ? '' : answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received };
}

/** Waits until `check` no longer throws, 5 s at most. */
export async function until(check: () => void | Promise<void>, timeoutMs = 5_000): Promise<void> {
  await vi.waitFor(check, { timeout: timeoutMs, interval: 10 });
}
