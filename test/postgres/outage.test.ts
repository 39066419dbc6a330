import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import type { StoredEvent } from '../../src/service/webhooks/event.ts';
import { serviceConfig, startLivekitStandIn, startService, temporaryDirectory } from '../service/fixtures.ts';
import { createCluster, password } from './cluster.ts';
import type { Cluster } from './cluster.ts';

const main = resolve(import.meta.dirname, '../../src/service/main.ts');
/** PostgreSQL reads its log when it starts after a power cut. */
const SOON = { timeout: 60_000, interval: 50 };

async function ownCluster(lines: readonly string[] = []): Promise<Cluster> {
  const cluster = await createCluster({ lines });
  onTestFinished(() => cluster.remove());
  return cluster;
}

function eventOf(id: string): StoredEvent {
  const participant = { identity: id, sid: `PA_${id}`, name: '', joinedAtMs: 2_000, reason: null };
  const base = { room: 'r1', participant, atMs: 2_000, roomCreatedAtMs: 1_000, receivedAtMs: 2_000, isMadeUp: false, body: '{}' };
  return { id, event: 'participant_joined', ...base };
}

it('loses nothing that it acknowledged when PostgreSQL is killed in mid-load, and goes on when it is back', async () => {
  const cluster = await ownCluster();
  await cluster.start();
  const store = await openStore(await cluster.createDatabase('fleet'));
  onTestFinished(async () => void (await store.close()));
  const room = { id: 'r1', name: '', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: 1_000 } as const;
  await store.noteMade((await store.addRoom(room))?.key ?? 0, 1_000);
  const acknowledged: string[] = [];
  const refused = new Set<string>();
  const loading = new AbortController();
  onTestFinished(() => loading.abort());
  const load = async (worker: number): Promise<void> => {
    for (let turn = 0; !loading.signal.aborted; turn++) {
      const id = `${worker}-${turn}`;
      await store.addEvent(eventOf(id)).then(
        () => acknowledged.push(id),
        (error: unknown) => refused.add(error instanceof Error ? error.name : String(error)),
      );
    }
  };
  const workers = Array.from({ length: 16 }, (_, worker) => load(worker));
  for (let round = 1; round <= 3; round++) {
    const before = acknowledged.length;
    await vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(before + 200), SOON);
    await cluster.kill();
    await vi.waitFor(() => expect(store.findRoom('r1')).rejects.toThrow('PostgreSQL: '), SOON);
    await cluster.start();
    // By itself.
    await vi.waitFor(async () => expect(await store.findRoom('r1')).toMatchObject({ id: 'r1' }), SOON);
  }
  loading.abort();
  await Promise.all(workers);
  expect([...refused]).toEqual(['DatabaseUnavailable']);
  const kept = await store.eventsOf('r1');
  const ids = new Set(kept.map(({ id }) => id));
  expect(acknowledged.filter((id) => !ids.has(id))).toEqual([]);
  expect(kept).toHaveLength(ids.size);
  expect(await store.findRoom('r1')).toMatchObject({ numParticipants: ids.size });
});

it('starts before PostgreSQL does, says why it is not ready, and is ready once that is there', async () => {
  const cluster = await ownCluster();
  await cluster.start();
  const url = await cluster.createDatabase('fleet');
  await cluster.stop();
  const { url: livekit } = await startLivekitStandIn();
  const service = await startService(livekit, { database: url });
  const ready = async (): Promise<unknown> => (await service.call('GET', '/api/readyz')).body['reasons'];
  expect(await ready()).toEqual(['database: PostgreSQL: ECONNREFUSED']);
  expect(await service.call('POST', '/api/v1/rooms', { id: 'r1' })).toMatchObject({ status: 503, body: { code: 'DATABASE_UNAVAILABLE' } });
  await cluster.start();
  await vi.waitFor(async () => expect(await ready()).toEqual([]), SOON);
  expect((await service.call('POST', '/api/v1/rooms', { id: 'r1' })).status).toBe(201);
  expect(service.logs.join('')).toContain('ECONNREFUSED');
  expect(service.logs.join('')).not.toContain(password);
  expect(service.logs.join('')).not.toContain(encodeURIComponent(password));
});

it.each([
  ['a wrong password', (url: URL) => (url.password = 'another'), '28P01'],
  ['no such database', (url: URL) => (url.pathname = '/none'), '3D000'],
])('says in the log and at readyz what is wrong: %s', async (_name, change, code) => {
  const cluster = await ownCluster();
  await cluster.start();
  const url = new URL(cluster.url);
  change(url);
  const directory = await temporaryDirectory();
  const config = { ...serviceConfig(directory, (await startLivekitStandIn()).url), database: url.href };
  await writeFile(`${directory}/service.json`, JSON.stringify(config));
  const child = spawn(process.execPath, [main, '--config', `${directory}/service.json`], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const base = await vi.waitFor(() => /"Server listening at (http:[^"]+)"/.exec(output)?.[1] ?? Promise.reject(new Error(output)), SOON);
  expect(await (await fetch(`${base}/readyz`)).json()).toEqual({ status: 'not ready', reasons: [`database: PostgreSQL: ${code}`] });
  expect(output).toContain(`PostgreSQL: ${code}`);
  expect(output).not.toContain('another');
  expect(output).not.toContain(encodeURIComponent(password));
});

it('goes through TLS as the URL says, and tells a server with another certificate', async () => {
  const cluster = await ownCluster(['ssl = on', `ssl_cert_file = '../server.crt'`, `ssl_key_file = '../server.key'`]);
  for (const name of ['server', 'other']) await cluster.makeCertificate(name);
  await cluster.start();
  const url = new URL(await cluster.createDatabase('fleet'));
  const isEncrypted = async (query: string): Promise<boolean> => {
    url.search = query;
    const store = await openStore(url.href);
    try {
      await store.checkWritable();
      return (
        (await cluster.ask(`SELECT 1 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'livekit-fleet' AND s.ssl`)).length > 0
      );
    } finally {
      await store.close();
    }
  };
  expect(await isEncrypted('')).toBe(false);
  expect(await isEncrypted('sslmode=require')).toBe(true);
  expect(await isEncrypted(`sslmode=verify-full&sslrootcert=${cluster.folder}/server.crt`)).toBe(true);
  await expect(isEncrypted(`sslmode=verify-full&sslrootcert=${cluster.folder}/other.crt`)).rejects.toThrow('PostgreSQL: DEPTH_ZERO_SELF_SIGNED_CERT');
});
