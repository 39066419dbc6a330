import { execa } from 'execa';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { askPrograms } from '../golden/accepted.ts';
import { brokenLivekit, createInstallation, until } from './installation.ts';
import type { Installation } from './installation.ts';

const statusSchema = z.object({
  ok: z.boolean(),
  parts: z.array(z.object({ part: z.string(), state: z.string(), pid: z.number().nullable(), exits: z.number() })),
});

/** The whole product on this machine with all its real components. One story; the order matters. */
describe('one machine', () => {
  let place: Installation;
  const status = async (): Promise<z.infer<typeof statusSchema>> => statusSchema.parse(JSON.parse((await place.run(['status', '--json'])).out));
  const pids = async (): Promise<Record<string, number | null>> => Object.fromEntries((await status()).parts.map((one) => [one.part, one.pid]));

  beforeAll(async () => {
    place = await createInstallation();
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('refuses bad settings with every problem and changes nothing', async () => {
    const bad = await place.run(['deploy'], { HTTP_PORT: '99999', NODES: 'nonsense!' });
    expect(bad.code).toBe(2);
    expect(bad.err).toContain('HTTP_PORT (99999) – not a port');
    expect(bad.err).toContain('NODES (nonsense!)');
    await expect(stat(`${place.folder}/data`)).rejects.toThrow('ENOENT');
  });

  it('says which program holds a port, and starts nothing', async () => {
    const server = createServer().listen(place.ports['LIVEKIT_HTTP_PORT']);
    try {
      for (const command of ['plan', 'deploy']) {
        const refused = await place.run([command]);
        expect(refused.code, command).toBe(1);
        expect(refused.err).toMatch(new RegExp(`Port ${place.ports['LIVEKIT_HTTP_PORT']}/tcp \\(livekit\\) is used by .+ \\(pid ${process.pid}\\)`));
      }
    } finally {
      server.close();
    }
  });

  it('deploys, with generated secrets kept private', async () => {
    const done = await place.run(['deploy'], { FIREWALL: 'print' });
    expect(done.err).not.toContain('✗');
    expect(done.code).toBe(0);
    // Alone it has nothing that a rule would have to close.
    expect(done.out).toContain('FIREWALL=print: no rules are needed');
    expect(done.out).toMatch(new RegExp(`Let these through .*${place.ports['LIVEKIT_TCP_PORT']}/tcp`));
    expect(done.out).not.toContain('table inet');
    expect(done.out).toContain(`https://localhost:${place.ports['HTTPS_PORT']}`);
    const env = await readFile(place.envFile, 'utf8');
    const secret = /^LIVEKIT_API_SECRET=(.+)$/m.exec(env)?.[1] ?? '';
    expect(secret.length).toBeGreaterThan(31);
    expect((await stat(place.envFile)).mode & 0o777).toBe(0o600);
    const password = /^REDIS_PASSWORD=(.+)$/m.exec(env)?.[1] ?? '';
    const processes = await execa('ps', ['-eo', 'args']);
    for (const hidden of [secret, password]) {
      expect(done.out + done.err).not.toContain(hidden);
      expect(processes.stdout).not.toContain(hidden);
    }
  });

  it('renders what the real Caddy and LiveKit accept, for every golden .env', async () => {
    const verdicts = await askPrograms(store(place));
    expect(verdicts.length).toBeGreaterThan(10);
    expect(verdicts.filter((one) => (one.name === 'broken') === (one.refusal === null))).toEqual([]);
  });

  it('changes and restarts nothing the second time', async () => {
    const before = await pids();
    const again = await place.run(['deploy', '--json']);
    expect(JSON.parse(again.out)).toMatchObject({ changes: [] });
    expect(await pids()).toEqual(before);
  });

  it('holds a real meeting through Caddy', async () => {
    const meeting = await place.run(['verify']);
    expect(meeting.err).toBe('');
    expect(meeting.code).toBe(0);
    expect(meeting.out).toContain('✓ receive-audio');
    expect(meeting.out).toContain('participant_left bob');
  });

  it('serves localhost over plain http as well', async () => {
    const through = await fetch(`http://localhost:${place.ports['HTTP_PORT']}/rtc/validate`);
    expect(through.status).toBe(401);
    const rooms = await fetch(`http://localhost:${place.ports['HTTP_PORT']}/api/v1/rooms`);
    expect(rooms.status).toBe(401);
    expect(await rooms.json()).toMatchObject({ code: 'UNAUTHORIZED' });
    const outside = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const address = outside.find((one) => one.family === 'IPv4' && !one.internal)?.address;
    expect(address).toBeDefined();
    await expect(fetch(`http://${address}:${place.ports['HTTP_PORT']}/`)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
  });

  it('starts a killed part again and shows that it ended', async () => {
    for (const part of ['livekit', 'redis', 'agent', 'service', 'caddy', 'sentinel']) {
      const before = (await pids())[part];
      process.kill(Number(before), 'SIGKILL');
      await until(async () => {
        const now = (await status()).parts.find((one) => one.part === part);
        return now?.pid !== null && now?.pid !== before && (now?.exits ?? 0) > 0;
      }, 10_000);
    }
    await until(async () => (await status()).ok, 20_000);
  });

  it('lets only one run in and names the one that holds the lock', async () => {
    const [first, second] = await Promise.all([place.run(['restart']), place.run(['restart'])]);
    expect([first.code, second.code].toSorted()).toEqual([0, 3]);
    expect(first.err + second.err).toMatch(/Another run holds the lock: restart \(pid \d+\)/);
    await until(async () => (await status()).ok, 20_000);
  });

  it('puts the former files back when a changed part does not become healthy', async () => {
    const config = `${place.folder}/data/config/livekit.yaml`;
    const before = await readFile(config, 'utf8');
    await writeFile(`${place.folder}/broken`, brokenLivekit, { mode: 0o755 });
    const failed = await place.run(['deploy'], { LIVEKIT_PATH: `${place.folder}/broken`, LOG_LEVEL: 'warn', HEALTH_TIMEOUT: '4' });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('this one is broken');
    expect(await readFile(config, 'utf8')).toBe(before);
    await until(async () => (await status()).ok, 20_000);
  });

  it('fails verify with LiveKit stopped, naming step and cause', async () => {
    expect((await place.run(['stop', 'livekit'])).code).toBe(0);
    const meeting = await place.run(['verify']);
    expect(meeting.code).toBe(1);
    expect(meeting.err).toMatch(/failed at step create-room \(LIVEKIT_UNAVAILABLE\)/);
    const back = await place.run(['start']);
    expect(back.code).toBe(0);
    await until(async () => (await status()).ok, 20_000);
  });

  it('stops without leaving a process', async () => {
    expect((await place.run(['stop'])).code).toBe(0);
    const left = await execa('pgrep', ['-f', place.folder], { reject: false });
    expect(left.stdout).toBe('');
  });
});

/** The component store: the installation's own, or one given in the environment, which saves bringing everything. */
function store(place: Installation): string {
  return process.env['COMPONENT_DIR'] ?? `${place.folder}/data/components`;
}
