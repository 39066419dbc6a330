import '../kernel/plain-zod.ts';
import { readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { errorCode } from '../clients/http-request.ts';
import { parseAgentConfig } from './config.ts';
import type { AgentConfig } from './config.ts';
import { startAgent } from './start-agent.ts';

/** Parts get this long to end by themselves; the slowest is a Redis command's own second. */
const STOP_DEADLINE_MS = 3_000;

function refuse(problem: string): never {
  process.stderr.write(`agent: ${problem}\n`);
  process.exit(2);
}

async function loadConfig(): Promise<AgentConfig> {
  const [option, path, ...more] = process.argv.slice(2);
  if (option !== '--config' || path === undefined || more.length > 0) refuse('usage: main --config FILE');
  const text = await readFile(path, 'utf8').catch((error: unknown) => refuse(`cannot read ${path}: ${errorCode(error)}`));
  const result = parseAgentConfig(text);
  if ('problem' in result) refuse(`${path}: ${result.problem}`);
  return result.config;
}

const config = await loadConfig();
const log = pino({ level: config.logLevel, base: null });
// ioredis writes a stack for each failed attempt of its own connections to Sentinels, which nobody else can listen to.
globalThis.console.error = (...words: readonly unknown[]): void =>
  log.debug({ said: words.map((word) => String(word).split('\n')[0]).join(' ') }, 'a library complains');
const stop = await startAgent(config, { log, nowMs: () => Date.now(), monotonicMs: () => performance.now() }).catch((error: unknown) => {
  log.fatal({ err: error }, 'agent not started');
  return process.exit(1);
});

let isStopping = false;
const end = (signal: string): void => {
  if (isStopping) return;
  isStopping = true;
  log.info({ signal }, 'agent ends');
  setTimeout(() => process.exit(0), STOP_DEADLINE_MS).unref();
  stop().then(
    () => process.exit(0),
    (error: unknown) => {
      log.error({ err: error }, 'agent did not end cleanly');
      process.exit(1);
    },
  );
};
process.on('SIGTERM', end);
process.on('SIGINT', end);
