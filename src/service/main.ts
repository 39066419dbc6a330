import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildApp } from './app.ts';
import { serviceConfigSchema } from './config.ts';
import type { ServiceConfig } from './config.ts';
import { openStore } from './store/store.ts';

/** Longest wait for accepted requests at stop: the slowest one waits 5 s for LiveKit; twice that. */
const STOP_DEADLINE_MS = 10_000;

const config = readConfig();
const store = openStore(config.database);
const app = buildApp({ config, store, now: Date.now });
let isStopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop());
await app.listen({ host: config.bind, port: config.port });

async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  setTimeout(() => {
    app.log.error('requests did not finish in time; their connections are cut');
    app.server.closeAllConnections();
  }, STOP_DEADLINE_MS).unref();
  await app.close();
  store.close();
  process.exit(0);
}

function readConfig(): ServiceConfig {
  const path = process.argv.length > 2 ? configPath() : refuse('--config FILE is missing');
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    // A syntax error's message quotes the file, and the file holds secrets.
    refuse(`${path}: ${error instanceof SyntaxError ? 'not valid JSON' : error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = serviceConfigSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  return refuse(`${path}: ${parsed.error.issues.map((issue) => `${issue.path.join('.') || '(all)'}: ${issue.message}`).join('; ')}`);
}

function configPath(): string {
  try {
    return parseArgs({ options: { config: { type: 'string' } } }).values.config ?? refuse('--config FILE is missing');
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

function refuse(message: string): never {
  process.stderr.write(`service: configuration: ${message.replaceAll('\n', ' ')}\n`);
  process.exit(2);
}
