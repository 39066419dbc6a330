import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { createInterface } from 'node:readline';
import { inTransaction } from '../../src/clients/sqlite.ts';
import { openStore } from '../../src/service/store/store.ts';
import type { OutgoingResult } from './outgoing-receiver.ts';
import { startBenchService } from './service-process.ts';
import type { Row } from './table.ts';

/** Rooms whose messages are queued, each in its order. */
export const ROOMS = 400;
const MESSAGES = 40_000;
const MUST = 2_000;
const PATIENCE_MS = 120_000;

/** What the service queues when somebody joins. */
export function messageBody(room: number, turn: number): string {
  const data = { room: `r-bench-${room}`, identity: `user-${turn}`, sid: `PA_${room}_${turn}`, name: 'Somebody', turn };
  return JSON.stringify({ type: 'participant.joined', timestamp: new Date(1_700_000_000_000 + turn).toISOString(), data });
}

/** What waits for one endpoint is sent, with each room's order, and taken off the disk. @throws Error where one came out of its order */
export async function measureOutgoing(): Promise<{ perSecond: number; floor: number }> {
  const floor = await receive(async (port) => {
    const child = spawn(process.execPath, [`${import.meta.dirname}/outgoing-floor.ts`, String(port), String(MESSAGES)], { stdio: 'inherit' });
    return () => Promise.resolve(child.kill());
  });
  const ours = await receive(async (port) => {
    const service = await startBenchService(0, (database) => queueMessages(database, port));
    return () => service.stop();
  });
  if (ours.disorder > 0) throw new Error(`${ours.disorder} messages came out of their order`);
  return { perSecond: ours.perSecond, floor: floor.perSecond };
}

export function outgoingRow(measured: ReadonlyArray<{ perSecond: number; floor: number }>): Row {
  const [ours, floor] = [measured.map(({ perSecond }) => perSecond), measured.map((one) => one.floor)];
  return { name: 'outgoing webhooks to one endpoint', unit: '/s', ours, floor, limit: { atLeast: MUST } };
}

/** Starts a receiver, and what sends to it; gives what it received. */
async function receive(start: (port: number) => Promise<() => Promise<unknown>>): Promise<OutgoingResult> {
  const child = spawn(process.execPath, [`${import.meta.dirname}/outgoing-receiver.ts`, String(MESSAGES)], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const lines = linesOf(child);
    const stop = await start(Number(await lines()));
    try {
      return JSON.parse(await lines()) as OutgoingResult;
    } finally {
      await stop();
    }
  } finally {
    child.kill();
    await once(child, 'exit');
  }
}

function linesOf({ stdout }: ChildProcess): () => Promise<string> {
  if (stdout === null) throw new Error('has no output');
  const lines = on(createInterface(stdout), 'line', { signal: AbortSignal.timeout(PATIENCE_MS) });
  return async () => String(((await lines.next()) as { value: [string] }).value[0]);
}

async function queueMessages(database: string, port: number): Promise<void> {
  const store = await openStore(database);
  const fixed = { former: null, disabledReason: null, createdAtMs: 0, isEnabled: true, timeoutMs: 10_000, description: '', events: '*' };
  await store.webhooks.add({ ...fixed, id: 'we_bench', url: `http://127.0.0.1:${port}/hook`, secret: 'whsec_YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2g=' });
  await store.close();
  const db = new DatabaseSync(database);
  const queue = db.prepare(`INSERT INTO outbox (endpoint, room, id, type, body) VALUES ('we_bench', ?, ?, 'participant.joined', ?)`);
  inTransaction(db, () => {
    for (let turn = 0; turn < MESSAGES / ROOMS; turn++)
      for (let room = 0; room < ROOMS; room++) queue.run(`r-bench-${room}`, `msg_${room}_${turn}`, messageBody(room, turn));
  });
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
}
