import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { MeetingConfig } from '../../src/meeting/config.ts';
import type { StepReport } from '../../src/meeting/step.ts';

/** What no output may hold. */
export const secrets = { apiToken: 'a-token-that-must-not-be-printed', apiSecret: 'a-secret-of-more-than-32-characters-for-tests' };

/** A config for the process; webhooks of an agent that is not there. */
export function meetingConfigFor(apiUrl: string, timeoutMs = 5000): MeetingConfig {
  return {
    apiUrl,
    apiToken: secrets.apiToken,
    livekit: { apiKey: 'devkey', apiSecret: secrets.apiSecret },
    timeoutMs,
    webhooks: { agentUrl: 'http://127.0.0.1:1', isElsewhere: false },
  };
}

/** Runs the real process to its end; `onStep` sees each line as it comes, with the child to signal; `env` is added. */
export async function runMeetingProcess(
  config: MeetingConfig,
  options: { onStep?: (line: StepReport, child: ChildProcess) => void; env?: Record<string, string> } = {},
): Promise<{ code: number | null; lines: StepReport[]; output: string; ms: number }> {
  const began = performance.now();
  const main = fileURLToPath(new URL('../../src/meeting/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stdin.end(JSON.stringify(config));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const lines: StepReport[] = [];
  for await (const text of createInterface({ input: child.stdout })) {
    output += `${text}\n`;
    if (!text.startsWith('{"step"')) continue;
    const line = JSON.parse(text) as StepReport;
    lines.push(line);
    options.onStep?.(line, child);
  }
  const [code] = await exited;
  return { code, lines, output, ms: performance.now() - began };
}

/** Serves on a free port until the test ends; gives the address. */
export async function serve(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(createServer(listener))}`;
}

/** Makes a server of HTTP or HTTPS listen on a free port until the test ends; gives the port. */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Answers each request by the first route whose text the method and path contain. */
export function routes(table: Record<string, readonly [status: number, body: unknown]>): RequestListener {
  return (request, response) => {
    const found = Object.entries(table).find(([route]) => `${request.method} ${request.url}`.includes(route));
    const [status, body] = found?.[1] ?? [404, ''];
    response.writeHead(status, { 'content-type': 'application/json' }).end(typeof body === 'string' ? body : JSON.stringify(body));
  };
}

/** `host:port` that was free a moment ago, so that nothing listens there. */
export async function closedAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}
