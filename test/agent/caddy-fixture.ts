import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, inject, onTestFinished } from 'vitest';
import { openUpstreams } from '../../src/agent/upstream-files.ts';
import { upstreamFiles } from '../../src/contract/upstream-files.ts';
import { renderCaddy } from '../../src/render/caddy.ts';
import type { Role } from '../../src/topology/topology.ts';
import { freePorts } from '../e2e/installation.ts';
import { desireFrom } from '../golden/render.ts';
import { temporaryDirectory, until } from './fixtures.ts';

/** A server on 127.0.0.1 until the test ends; gives the port, a free one unless it is named. */
export async function serve(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** A server that reads each request, however long its header, and answers 200 with its path. */
export function echoPath(): Server {
  return createServer({ maxHeaderSize: 1024 * 1024 }, (request, response) => {
    request.on('error', () => response.destroy());
    request.on('end', () => response.end(request.url)).resume();
  });
}

/** An agent that knows no room's way. */
function knowingNothing(): Server {
  return createServer({ maxHeaderSize: 1024 * 1024 }, (_request, response) => response.writeHead(204).end());
}

export interface Gateway {
  /** Where plain http is served, the same routes as with TLS. */
  readonly port: number;
  /** The agent's state directory. */
  readonly stateDir: string;
  /** What Caddy has written so far. */
  output(): string;
}

/**
 * The real Caddy with the configuration that a `.env` with these variables asks for, `edit`ed, and its LiveKit as the one that serves; ends with
 * the test. Its agent, where none is named, knows no room's way. Alone, or a fleet's gateway by its `role`.
 */
export async function startGateway(
  variables: Readonly<Record<string, string | number>>,
  edit: (json: string) => string = (json) => json,
  role: Role = 'all',
): Promise<Gateway> {
  const program = globSync(`${inject('componentStore')}/caddy/*/bin/caddy`)[0] ?? '';
  const folder = await temporaryDirectory();
  const [HTTP_PORT = 0, HTTPS_PORT = 0, GATEWAY_INTERNAL_PORT = 0] = await freePorts(3);
  const AGENT_PORT = variables['AGENT_PORT'] ?? (await serve(knowingNothing()));
  const all = { DATA_DIR: folder, DOMAIN: 'localhost', HTTP_PORT, HTTPS_PORT, GATEWAY_INTERNAL_PORT, ...variables, AGENT_PORT };
  const lines = Object.entries(all).map(([name, value]) => `${name}=${value}\n`);
  const { settings, topology } = desireFrom(lines.join(''), { role });
  for (const part of ['caddy', 'agent']) await mkdir(`${folder}/state/${part}`, { recursive: true });
  await openUpstreams(upstreamFiles(`${folder}/state/agent`, topology.hasMedia)).give([`127.0.0.1:${settings.LIVEKIT_HTTP_PORT}`]);
  await writeFile(`${folder}/caddy.json`, edit(renderCaddy(settings, topology).content));
  const env = { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const child = spawn(program, ['run', '--config', `${folder}/caddy.json`], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  await until(async () => expect((await fetch(`http://127.0.0.1:${HTTP_PORT}/nothing`)).status, output).toBe(404), 20_000);
  return { port: HTTP_PORT, stateDir: `${folder}/state/agent`, output: () => output };
}
