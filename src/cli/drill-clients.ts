import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseDrillWord } from '../contract/drill.ts';
import type { DrillClients, DrillCounts, RoomAttempt } from '../contract/drill.ts';
import { FleetError } from '../kernel/errors.ts';
import { redact } from '../kernel/secret.ts';
import { internalCaFile } from '../render/caddy.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** Two clients come together within a second; rooms have to come to the right node first. */
const START_MS = 60_000;
/** What is on its way gets 15 s, leaving 3 s. */
const END_MS = 20_000;

/** The clients of a drill, in a process of their own: the client's native part reads the CA only at its start. */
export interface RunningClients {
  readonly rooms: readonly RoomAttempt[];
  /** When sound was last heard, in milliseconds since 1970. */
  lastSoundMs(): number;
  /** Lets them leave. @throws FleetError DRILL_CLIENTS */
  end(): Promise<DrillCounts>;
  /** Ends them as they are; nothing to do where they have ended. */
  kill(): void;
}

/**
 * Starts the clients; resolves when they hear each other.
 * @throws FleetError DRILL_CLIENTS; the signal's reason
 */
export async function startClients(context: CliContext, topology: Topology, config: DrillClients): Promise<RunningClients> {
  const ca = internalCaFile(topology);
  const trust = topology.tls.kind === 'internal' && existsSync(ca) ? { SSL_CERT_FILE: ca, NODE_EXTRA_CA_CERTS: ca } : {};
  const child = spawn(process.execPath, [`${context.projectRoot}/dist/drill.cjs`], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...trust } });
  const rooms: RoomAttempt[] = [];
  let [soundAtMs, errors] = [0, ''];
  const [started, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<DrillCounts>()];
  ended.promise.catch(() => {});
  const fail = (detail: string): void => {
    const error = new FleetError('DRILL_CLIENTS', { detail: redact(detail, [config.apiToken]).slice(-400) });
    started.reject(error);
    ended.reject(error);
  };
  child.stderr.on('data', (chunk: Buffer) => (errors = `${errors}${chunk.toString()}`.slice(-8_000)));
  // One that ends before it has read says why on stderr.
  child.stdin.on('error', () => {});
  child.stdin.write(`${JSON.stringify(config)}\n`);
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const word = parseDrillWord(line);
    if (word?.kind === 'started') started.resolve();
    else if (word?.kind === 'sound') soundAtMs = word.atMs;
    else if (word?.kind === 'room') rooms.push(word);
    else if (word?.kind === 'counts') ended.resolve(word);
    else if (word?.kind === 'failed') fail(word.detail);
  });
  void once(lines, 'close').then(() => fail(errors));
  const kill = (): void => void child.kill('SIGKILL');
  const interrupt = (): void => {
    kill();
    started.reject(context.signal.reason);
  };
  context.signal.addEventListener('abort', interrupt);
  child.once('exit', () => context.signal.removeEventListener('abort', interrupt));
  try {
    await within(started.promise, START_MS, () => fail(`they did not hear each other within ${START_MS / 1_000} s`));
  } catch (error) {
    kill();
    throw error;
  }
  return {
    rooms,
    lastSoundMs: () => soundAtMs,
    async end() {
      child.stdin.end();
      return within(ended.promise, END_MS, () => fail('they did not leave'));
    },
    kill,
  };
}

async function within<T>(work: Promise<T>, ms: number, late: () => void): Promise<T> {
  const timer = setTimeout(late, ms);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}
