import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { closedAddress, listen, meetingConfigFor, routes, runMeetingProcess, secrets, serve } from './meeting-process.ts';

// The process of a meeting against servers that stand in for what is broken; test/e2e breaks the real thing.
const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';

test('nothing listens at the address', async () => {
  const { code, lines } = await runMeetingProcess(meetingConfigFor(`http://${await closedAddress()}`));
  expect(code).toBe(1);
  expect(lines).toEqual([
    expect.objectContaining({ step: 'create-room', ok: false, cause: 'GATEWAY_UNREACHABLE', detail: expect.stringContaining('ECONNREFUSED') }),
  ]);
});

test.each([
  { name: 'the token is refused', status: 401, body: { code: 'UNAUTHORIZED', detail: `not ${secrets.apiToken}` }, cause: 'API_UNAUTHORIZED' },
  { name: 'the service misses LiveKit', status: 503, body: { code: 'LIVEKIT_UNAVAILABLE', detail: `invalid token: ${JWT}` }, cause: 'LIVEKIT_UNAVAILABLE' },
  { name: 'the proxy misses the service', status: 502, body: '', cause: 'SERVICE_UNAVAILABLE' },
  { name: 'the service refuses the request', status: 409, body: { code: 'ROOM_EXISTS' }, cause: 'API_REFUSED' },
  { name: 'another program has no such address', status: 404, body: 'not found', cause: 'API_FOREIGN' },
  { name: 'another program answers', status: 200, body: '<html>', cause: 'API_FOREIGN' },
])('$name', async ({ status, body, cause }) => {
  const { code, lines, output } = await runMeetingProcess(meetingConfigFor(await serve(routes({ 'POST /api/v1/rooms': [status, body] }))));
  expect(code).toBe(1);
  expect(lines).toEqual([expect.objectContaining({ step: 'create-room', ok: false, cause, detail: expect.stringContaining(`HTTP ${status}`) })]);
  expect(output).not.toContain(secrets.apiToken);
  expect(output).not.toContain('eyJ');
});

test.each([
  { name: 'an unknown issuer', names: 'IP:127.0.0.1', isTrusted: false, days: 2, cause: 'TLS_UNTRUSTED' },
  { name: 'another name', names: 'DNS:example.com', isTrusted: true, days: 2, cause: 'TLS_WRONG_NAME' },
  { name: 'a past time', names: 'IP:127.0.0.1', isTrusted: true, days: -1, cause: 'TLS_EXPIRED' },
])('a certificate of $name', async ({ names, isTrusted, days, cause }) => {
  const { keyFile, certFile } = await makeCertificate(names, days);
  const port = await listen(createTlsServer({ key: await readFile(keyFile), cert: await readFile(certFile) }));
  const { code, lines } = await runMeetingProcess(meetingConfigFor(`https://127.0.0.1:${port}`), { env: isTrusted ? { NODE_EXTRA_CA_CERTS: certFile } : {} });
  expect(code).toBe(1);
  expect(lines).toEqual([expect.objectContaining({ step: 'create-room', ok: false, cause })]);
});

test('an API that never answers fails at the deadline of the step', async () => {
  const { code, lines } = await runMeetingProcess(meetingConfigFor(await serve(() => {}), 300));
  expect(code).toBe(1);
  expect(lines).toEqual([expect.objectContaining({ step: 'create-room', ok: false, cause: 'SERVICE_UNAVAILABLE', detail: expect.stringContaining('300 ms') })]);
  expect(lines[0]?.ms).toBeGreaterThanOrEqual(300);
  expect(lines[0]?.ms).toBeLessThan(2000);
});

test.each([
  { name: 'that nothing serves', validate: null, cause: 'GATEWAY_UNREACHABLE' },
  { name: 'that misses LiveKit', validate: [502, ''] as const, cause: 'LIVEKIT_UNAVAILABLE' },
  { name: 'that refuses the token', validate: [401, `invalid token: ${JWT}`] as const, cause: 'KEYS_DIFFER' },
  { name: 'that takes the token and opens no WebSocket', validate: [200, 'success'] as const, cause: 'SIGNALLING_FAILED' },
])('signalling $name', async ({ validate, cause }) => {
  const signalling = validate === null ? `http://${await closedAddress()}` : await serve(routes({ '/rtc/validate': validate }));
  const ticket = { url: signalling.replace(/^http/, 'ws'), token: JWT };
  const apiUrl = await serve(routes({ '/join': [200, ticket], 'POST /api/v1/rooms': [201, { id: 'r1' }] }));
  const { code, lines, output } = await runMeetingProcess(meetingConfigFor(apiUrl));
  expect(code).toBe(1);
  expect(lines.map(({ step, ok }) => [step, ok])).toEqual([
    ['create-room', true],
    ['join-alice', false],
  ]);
  expect(lines[1]?.cause).toBe(cause);
  expect(output).not.toContain('eyJ');
});

test('a signal ends the meeting and deletes its room', async () => {
  const deleted: string[] = [];
  const apiUrl = await serve((request, response) => {
    if (request.url === '/api/v1/rooms') response.writeHead(201).end('{"id":"r1"}');
    if (request.url?.endsWith('/DeleteRoom') !== true) return;
    request.on('data', (chunk: Buffer) => deleted.push(chunk.toString()));
    request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
  });
  const { code, lines, output, ms } = await runMeetingProcess(meetingConfigFor(apiUrl, 30_000), { onStep: (_line, child) => child.kill('SIGINT') });
  expect(code).toBe(130);
  expect(lines).toEqual([expect.objectContaining({ step: 'create-room', ok: true })]);
  expect(deleted).toEqual(['{"room":"r1"}']);
  expect(output.match(/\n/g)).toHaveLength(1);
  expect(ms).toBeLessThan(10_000);
});

/** A self-signed certificate in files that are gone when the test ends. */
async function makeCertificate(names: string, days: number): Promise<{ keyFile: string; certFile: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'meeting-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const [keyFile, certFile, requestFile, namesFile] = [`${directory}/key`, `${directory}/cert`, `${directory}/request`, `${directory}/names`];
  await writeFile(namesFile, `subjectAltName=${names}\n`);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', keyFile];
  execFileSync('openssl', ['req', ...key, '-out', requestFile, '-subj', '/CN=localhost'], { stdio: 'ignore' });
  const signing = ['-in', requestFile, '-signkey', keyFile, '-days', String(days), '-extfile', namesFile];
  execFileSync('openssl', ['x509', '-req', ...signing, '-out', certFile], { stdio: 'ignore' });
  return { keyFile, certFile };
}
