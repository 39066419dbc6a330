import { execa } from 'execa';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { delimiter, join, resolve } from 'node:path';
import * as jose from 'jose';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ApiError, createClient } from '../../packages/client/src/index.ts';
import { routes } from '../../packages/client/src/contract.ts';
import { operations } from '../../src/contract/api.ts';
import type { ServiceConfig } from '../../src/service/config.ts';
import { needPrograms } from '../debian-packages.ts';
import { launchChromium } from '../e2e/browser/chromium.ts';
import { apiToken, listen, serviceConfig, startLivekitStandIn, temporaryDirectory } from '../service/fixtures.ts';

const root = resolve(import.meta.dirname, '../..');
const clientFolder = `${root}/packages/client`;

/** The real service process. */
async function startProcess(change: Partial<ServiceConfig> = {}): Promise<string> {
  const directory = await temporaryDirectory();
  const livekit = await startLivekitStandIn(undefined, { answers: { DeleteRoom: [200, {}] } });
  await writeFile(join(directory, 'service.json'), JSON.stringify({ ...serviceConfig(directory, livekit.url), ...change }));
  const child = spawn(process.execPath, [`${root}/src/service/main.ts`, '--config', join(directory, 'service.json')], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  return vi.waitFor(() => /"Server listening at (http:[^"]+)"/.exec(out)?.[1] ?? Promise.reject(new Error(out)), { timeout: 30_000 });
}

/** A folder in which the package is installed as `npm pack` makes it. */
async function installPackage(): Promise<string> {
  const folder = await temporaryDirectory();
  await execa(process.execPath, [`${root}/scripts/build-client.ts`], { cwd: root });
  const { stdout } = await execa('npm', ['pack', clientFolder, '--pack-destination', folder, '--json']);
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  const target = `${folder}/node_modules/@livekit-fleet/client`;
  await mkdir(target, { recursive: true });
  await execa('tar', ['-xzf', `${folder}/${filename}`, '-C', target, '--strip-components', '1']);
  return folder;
}

/** The path of a program, Debian's where there is none. */
async function programOf(name: string, debianPackage: string): Promise<string> {
  const found = (process.env['PATH'] ?? '').split(delimiter).find((folder) => existsSync(`${folder}/${name}`));
  if (found !== undefined) return `${found}/${name}`;
  await needPrograms({ [name]: debianPackage });
  return name;
}

/** The snippet of docs/clients.md in this language. */
function snippet(language: string): string {
  const found = new RegExp(`\`\`\`${language}\n([^]*?)\n\`\`\``).exec(readFileSync(`${root}/docs/clients.md`, 'utf8'))?.[1];
  if (found === undefined) throw new Error(`no snippet in ${language}`);
  return `${found}\n`;
}

describe('the client library', () => {
  it('as it is packed: the example for Node runs, and its types hold', async () => {
    const [folder, url] = [await installPackage(), await startProcess()];
    await copyFile(`${clientFolder}/examples/node.mjs`, `${folder}/node.mjs`);
    const { stdout } = await execa(process.execPath, ['node.mjs'], { cwd: folder, env: { FLEET_URL: url, FLEET_TOKEN: apiToken } });
    expect(stdout).toMatch(
      /^joined (r-\S+) at wss:\/\/meet\.example\.com with a token of \d+ characters\nroom \1 Stand-up\nrefused: ROOM_NOT_FOUND\nended \1$/,
    );
    const good = `import { createClient } from '@livekit-fleet/client';
      const fleet = createClient({ baseUrl: '', token: () => 'x' });
      export const url: Promise<string> = fleet.joinRoom('r1', { identity: 'ann' }).then((one) => one.url);
      export const state: Promise<'new' | 'live' | 'finished'> = fleet.getRoom('r1').then((one) => one.state);\n`;
    const bad = `import { createClient } from '@livekit-fleet/client';
      const fleet = createClient({ baseUrl: '', token: 'x' });
      await fleet.joinRoom('r1', {});
      await fleet.createRoom({ kind: 'video' });
      (await fleet.getRoom('r1')).nothing;
      await fleet.noSuchOperation();\n`;
    await writeFile(`${folder}/package.json`, '{"type":"module"}');
    await writeFile(`${folder}/good.ts`, good);
    await writeFile(`${folder}/bad.ts`, bad);
    const check = (file: string): Promise<{ stdout: string }> =>
      execa(
        process.execPath,
        [
          `${root}/node_modules/typescript/bin/tsc`,
          '--noEmit',
          '--strict',
          '--module',
          'nodenext',
          '--target',
          'es2022',
          '--types',
          '',
          '--lib',
          'es2022,dom',
          file,
        ],
        {
          cwd: folder,
          reject: false,
        },
      );
    expect((await check('good.ts')).stdout).toBe('');
    expect([...(await check('bad.ts')).stdout.matchAll(/bad\.ts\((\d+),/g)].map(([, line]) => line)).toEqual(['3', '4', '5', '6']);
  });

  it('in a browser, as an end user', async () => {
    const home = await temporaryDirectory();
    const { privateKey, publicKey } = await jose.generateKeyPair('ES256', { extractable: true });
    const jwks = `${home}/jwks.json`;
    await writeFile(jwks, JSON.stringify({ keys: [{ ...(await jose.exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] }));
    await execa(process.execPath, [`${root}/scripts/build-client.ts`], { cwd: root });
    const [page, script] = [await readFile(`${clientFolder}/examples/browser.html`), await readFile(`${clientFolder}/dist/index.js`)];
    const origin = await listen(
      createServer((request, response) => {
        const isScript = request.url === '/index.js';
        response.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'text/html' }).end(isScript ? script : page);
      }),
    );
    const url = await startProcess({ corsOrigins: [origin], endUsers: { jwks, issuer: 'i', audience: 'a', claim: 'sub' } });
    await createClient({ baseUrl: url, token: apiToken }).createRoom({ id: 'r1' });
    const token = await new jose.SignJWT({ sub: 'ann' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer('i')
      .setAudience('a')
      .setExpirationTime('1m')
      .sign(privateKey);
    const browser = await launchChromium({ home, trusted: [] });
    onTestFinished(() => browser.close());
    const shown = async (identity: string): Promise<string | null> => {
      const tab = await browser.newPage();
      await tab.goto(`${origin}/#${new URLSearchParams({ url, token, room: 'r1', identity })}`);
      await tab.waitForFunction(`document.getElementById('out').textContent !== ''`);
      return tab.textContent('#out');
    };
    expect(await shown('ann')).toBe('joined as ann at wss://meet.example.com');
    expect(await shown('bob')).toBe('refused: NOT_YOURS ann 不能这样做');
  });

  it('knows every operation', () => {
    expect(Object.entries(routes)).toEqual(operations.map(({ name, method, path }) => [name, [method, path]]));
  });

  it('sends again what may be sent again, and nothing else', async () => {
    const asked: string[] = [];
    const answers: number[] = [];
    const url = await listen(
      createServer((request, response) => {
        asked.push(request.method ?? '');
        const status = answers.shift() ?? 200;
        response
          .writeHead(status, { 'retry-after': '0', 'x-request-id': 'id-of-the-request' })
          .end(JSON.stringify({ code: 'LIVEKIT_UNAVAILABLE', detail: 'away' }));
      }),
    );
    const client = createClient({ baseUrl: `${url}/`, token: 'x' });
    const outcome = async (statuses: number[], call: () => Promise<unknown>): Promise<unknown> => {
      asked.length = 0;
      answers.splice(0, answers.length, ...statuses);
      return call().then(
        () => asked.length,
        (error: unknown) => [asked.length, error instanceof ApiError ? [error.status, error.code, error.requestId] : error],
      );
    };
    expect(await outcome([503, 429], () => client.getRoom('a/b'))).toBe(3);
    expect(await outcome([503, 503, 503], () => client.getRoom('r'))).toEqual([3, [503, 'LIVEKIT_UNAVAILABLE', 'id-of-the-request']]);
    expect(await outcome([503], () => client.createRoom({}))).toEqual([1, [503, 'LIVEKIT_UNAVAILABLE', 'id-of-the-request']]);
    expect(await outcome([429, 200], () => client.createRoom({}))).toBe(2);
    expect(await outcome([503, 200], () => client.createRoom({}, { idempotencyKey: 'k' }))).toBe(2);
    expect(await outcome([404], () => client.getRoom('r'))).toEqual([1, [404, 'LIVEKIT_UNAVAILABLE', 'id-of-the-request']]);
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(client.getRoom('r', { signal })).rejects.toThrow('enough');
  });
});

describe('docs/clients.md', () => {
  it('the Python snippet does what it says', async () => {
    const [url, folder] = [await startProcess(), await temporaryDirectory()];
    await writeFile(`${folder}/room.py`, snippet('python'));
    const { stdout } = await execa(await programOf('python3', 'python3'), [`${folder}/room.py`], { env: { FLEET_URL: url, FLEET_TOKEN: apiToken } });
    expect(stdout).toBe('connect to wss://meet.example.com as ann');
  });

  it('the Go snippet does what it says', async () => {
    const [url, folder] = [await startProcess(), await temporaryDirectory()];
    await writeFile(`${folder}/main.go`, snippet('go'));
    const { stdout } = await execa(await programOf('go', 'golang-go'), ['run', `${folder}/main.go`], {
      env: { FLEET_URL: url, FLEET_TOKEN: apiToken, GOFLAGS: '-mod=mod', GO111MODULE: 'off', GOTOOLCHAIN: 'local' },
    });
    expect(stdout).toBe('connect to wss://meet.example.com as ann');
  });
});
