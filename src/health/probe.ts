import { existsSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import * as z from 'zod';
import { sendRequest } from '../clients/http-request.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { readTcpListeners } from '../host/listeners.ts';
import type { Listener } from '../host/listeners.ts';
import type { Settings } from '../settings/schema.ts';
import { firewallFiles } from '../topology/firewall-files.ts';
import { backupFiles } from '../topology/backup-files.ts';
import { socketFiles } from '../topology/socket-files.ts';
import { upgradeFiles } from '../topology/upgrade-files.ts';
import type { Part, Role, Topology } from '../topology/topology.ts';

/** What is asked, and of whom. */
export interface ProbeContext {
  readonly settings: Settings;
  readonly topology: Topology;
  /** The user that the parts run as; null where there is none. */
  readonly user: { readonly uid: number } | null;
}

/** Whether one part answers as it should. */
export interface Health {
  readonly part: Part;
  readonly ok: boolean;
  readonly detail: string;
  /** It runs, and what it last did has failed: no start of it mends that, and nobody who starts it waits for that. */
  readonly isUp?: true;
}

type ListeningPart = Exclude<Part, 'firewall' | 'sockets' | 'upgrades' | 'backups'>;

/** Loopback answers within milliseconds. */
const ANSWER_MS = 1500;
/** Where no media machine answers, Caddy says so only after it has tried two of them for a second each. */
const CADDY_ANSWER_MS = 4000;

/**
 * Asks each of these parts once, side by side.
 * @param heard parts that have answered well just now: of these, only whether they still hold their ports
 */
export async function probeAll({ settings, topology, user }: ProbeContext, parts: readonly Part[], heard: ReadonlySet<Part> = new Set()): Promise<Health[]> {
  // Ours listen on IPv4, which the kernel prefers for 127.0.0.1: who holds the port on IPv6 alone is never asked.
  const listeners = readTcpListeners();
  return Promise.all(
    parts.map((part) => probe(part, { settings, topology, uid: user?.uid ?? null, listeners, isHeard: heard.has(part) && isOwnWord(part, topology) })),
  );
}

/** What LiveKit's answer is worth on a media machine, its agent says, which may have come up since. */
function isOwnWord(part: Part, { role }: Topology): boolean {
  return part !== 'livekit' || role !== 'media';
}

/** A program of another user on a part's port is not asked: it may want the password that comes with the question. */
async function probe(
  part: Part,
  {
    settings,
    topology,
    uid,
    listeners,
    isHeard,
  }: { settings: Settings; topology: Topology; uid: number | null; listeners: readonly Listener[]; isHeard: boolean },
): Promise<Health> {
  if (part === 'firewall') return probeFirewall(topology);
  if (part === 'sockets') return probeState(part, socketFiles(topology.layout).state);
  if (part === 'upgrades') return probeState(part, upgradeFiles(topology.layout).state);
  if (part === 'backups') return probeBackups(topology);
  const port = portOf(part, settings);
  const holders = listeners.filter((one) => one.protocol === 'tcp' && one.port === port && one.isOnLoopback);
  const stranger = holders.find((one) => one.uid !== uid);
  if (stranger !== undefined) return { part, ok: false, detail: `port ${port} is held by user id ${stranger.uid}` };
  if (holders.length === 0) return { part, ok: false, detail: `nothing listens on port ${port}` };
  if (isHeard) return { part, ok: true, detail: 'listening' };
  try {
    const detail = await ask(part, settings, topology.role);
    return { part, ok: true, detail };
  } catch (error) {
    return { part, ok: false, detail: error instanceof Error ? reason(error) : String(error) };
  }
}

/** The firewall part says itself what is in force. */
function probeFirewall({ layout }: Topology): Health {
  const state = readState(firewallFiles(layout).state) ?? 'no rules loaded yet';
  return { part: 'firewall', ok: /^(in force|on trial)/.test(state), detail: state };
}

/** A part without a port writes down what it is doing. */
function probeState(part: Part, path: string): Health {
  const state = readState(path) ?? '';
  return { part, ok: state !== '', detail: state === '' ? 'not ready yet' : state };
}

/** A machine whose last backup failed, or is refused, has none of today. */
function probeBackups({ layout }: Topology): Health {
  const files = backupFiles(layout);
  const health = probeState('backups', files.state);
  const last = readState(files.last) ?? '';
  if (!health.ok || last === '') return health;
  const detail = `${last}; ${health.detail}`;
  return /^(✗|refused)/.test(last) ? { part: 'backups', ok: false, isUp: true, detail } : { ...health, detail };
}

/** What a part has written down; null where it has not. Synchronous: while parts start they are asked again and again. */
function readState(path: string): string | null {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : null;
}

/** Where a part is asked. */
function portOf(part: ListeningPart, settings: Settings): number {
  const ports: Record<ListeningPart, number> = {
    redis: settings.REDIS_PORT,
    sentinel: settings.SENTINEL_PORT,
    livekit: settings.LIVEKIT_HTTP_PORT,
    service: settings.SERVICE_PORT,
    agent: settings.AGENT_PORT,
    caddy: settings.GATEWAY_INTERNAL_PORT,
  };
  return ports[part];
}

function ask(part: ListeningPart, settings: Settings, role: Role): Promise<string> {
  switch (part) {
    case 'redis':
      return redis(settings.REDIS_PORT, settings.REDIS_PASSWORD, 'PING', '+PONG');
    case 'sentinel':
      // A gateway's watches nothing while it has no vote.
      if (role === 'gateway') return redis(settings.SENTINEL_PORT, settings.REDIS_PASSWORD, 'PING', '+PONG');
      return redis(settings.SENTINEL_PORT, settings.REDIS_PASSWORD, 'SENTINEL GET-MASTER-ADDR-BY-NAME livekit', '*2').then(() => 'primary known');
    case 'livekit':
      return livekit(settings, role);
    case 'service':
      // A gateway is well without media machines: it waits for them.
      return http(`http://127.0.0.1:${settings.SERVICE_PORT}/${role === 'gateway' ? 'healthz' : 'readyz'}`, [200]);
    case 'agent':
      return http(agentHealth(settings), [200]);
    case 'caddy':
      return caddy(settings, role);
  }
}

/** On a media machine only once its agent has told the fleet of it: until then machine 1 leads nobody there. */
async function livekit(settings: Settings, role: Role): Promise<string> {
  const detail = await http(`http://127.0.0.1:${settings.LIVEKIT_HTTP_PORT}/`, [200]);
  if (role !== 'media') return detail;
  // An agent that does not answer is said to be sick itself.
  const agent = await sendRequest({ url: agentHealth(settings), timeoutMs: ANSWER_MS }).catch(() => null);
  if (parseJson(agentAnswer, agent?.text ?? '')?.livekit === false) throw new Error('up, but the fleet has not been told of it yet');
  return detail;
}

const agentAnswer = z.object({ livekit: z.boolean() });

function agentHealth(settings: Settings): string {
  return `http://127.0.0.1:${settings.AGENT_PORT}/healthz`;
}

async function caddy(settings: Settings, role: Role): Promise<string> {
  const answer = await http(
    `http://127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}/rtc/validate`,
    role === 'gateway' ? [401, 502, 503, 504] : [401],
    CADDY_ANSWER_MS,
  );
  // 401 is LiveKit's own answer to a join without a token: the whole way through Caddy stands.
  return answer === 'HTTP 401' ? 'LiveKit answers through it' : 'no LiveKit behind it yet';
}

/**
 * One GET on a connection of its own; rejects unless the answer has a wanted status. Every part is asked many times while all of
 * them start and need the CPU, of which `node:http` would take twice as much.
 */
async function http(url: string, wanted: readonly number[], timeoutMs = ANSWER_MS): Promise<string> {
  const { host, port, pathname } = new URL(url);
  const answer = await exchange(Number(port), `GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, 1, timeoutMs);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer[0] ?? '')?.[1] ?? 0);
  if (!wanted.includes(status)) throw new Error(`HTTP ${status}`);
  return `HTTP ${status}`;
}

/** One command over the inline protocol after AUTH; rejects unless the answer starts as wanted. */
async function redis(port: number, password: string, command: string, wanted: string): Promise<string> {
  const [first = '', second = ''] = await exchange(port, `AUTH ${password}\r\n${command}\r\n`, 2);
  if (second.startsWith(wanted)) return second;
  throw new Error(first.startsWith('-') ? first : second);
}

/** Sends a question to a port of this machine and gives the first lines of the answer; those that are missing when the other side has ended it, are. */
function exchange(port: number, question: string, count: number, timeoutMs = ANSWER_MS): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    let answer = '';
    const end = (): void => {
      socket.destroy();
      resolve(answer.split('\r\n').slice(0, count));
    };
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('timeout')));
    socket.on('error', reject);
    socket.on('connect', () => socket.write(question));
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      if (answer.split('\r\n').length > count) end();
    });
    socket.on('end', end);
  });
}

function reason(error: Error): string {
  const cause: unknown = error.cause;
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message;
}
