import { accessSync, constants, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { openLivekitRooms } from '../clients/livekit-rooms.ts';
import { buildApp } from './app.ts';
import { serviceConfigSchema } from './config.ts';
import type { ServiceConfig } from './config.ts';
import { createDeadlines } from './calls/deadlines.ts';
import { listenOn } from './listen.ts';
import { createExpiry } from './rooms/expire.ts';
import { createReconciler } from './rooms/reconcile.ts';
import { openStore } from './store/store.ts';

/** A room differs at two looks before anything is made up of it. */
const RECONCILE_PERIOD_MS = 30_000;
/** Old rooms and events are looked for this often, and removed some at a time with a pause between. */
const FORGET_PERIOD_MS = 3_600_000;
const FORGET_PAUSE_MS = 100;
const DAY_MS = 86_400_000;
/** Longest wait for accepted requests at stop: the slowest one waits 5 s for LiveKit; twice that. */
const STOP_DEADLINE_MS = 10_000;

const config = readConfig();
const store = await openStore(config.database);
const app = buildApp({ config, store, now: Date.now });
let isStopping = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop());
const stopping = new AbortController();
await listenOn(app, config);
if (process.env['FLEET_COMPILED'] === undefined) keepYoung();
if (Object.hasOwn(config.livekitKeys, config.signingKey)) void keepReconciling(stopping.signal);
void keepForgetting(stopping.signal);
void keepCallsInTime(stopping.signal);

/**
 * V8 notes which kinds of objects outlive a scavenge or two, and then makes them old from the start. Here that is whatever waits for the
 * disk: old ones that have long done hold on to the young ones they name, all of which grow old with them. Half the processes under load
 * then need 40 MB more. As a flag at the start it would cost 20 ms: what was compiled before is good for the same flags only, and so is
 * what is compiled of this program (starter.cjs), whose making leaves it out.
 */
function keepYoung(): void {
  // Loaded only now: at the start it would take time from what is waited for.
  process.getBuiltinModule('node:v8').setFlagsFromString('--no-allocation-site-pretenuring');
}

/** Webhooks come within seconds; a whole fleet's rooms are one answer of LiveKit's. */
async function keepReconciling(signal: AbortSignal): Promise<void> {
  const { livekitApiUrl: apiUrl, signingKey: apiKey, livekitKeys } = config;
  const livekit = openLivekitRooms({ apiUrl, apiKey, secret: livekitKeys[apiKey] ?? '', now: Date.now });
  const reconciler = createReconciler({ livekit, store, now: Date.now });
  for (;;) {
    await delay(RECONCILE_PERIOD_MS, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    await reconciler.look().then(
      (madeUp) => {
        if (madeUp > 0) app.log.warn({ madeUp }, 'events made up: their webhooks never came');
      },
      (error: unknown) => app.log.warn({ err: error }, 'rooms not compared with LiveKit’s'),
    );
  }
}

/** Calls are missed, and whoever lost the connection is gone, in time. */
async function keepCallsInTime(signal: AbortSignal): Promise<void> {
  const { livekitApiUrl: apiUrl, signingKey: apiKey, livekitKeys } = config;
  const livekit = openLivekitRooms({ apiUrl, apiKey, secret: livekitKeys[apiKey] ?? '', now: Date.now });
  await createDeadlines({ store, livekit, now: Date.now, warn: (error, what) => app.log.warn({ err: error }, what) }).keepLooking(signal);
}

/** Removes what is older than `historyDays`, and ends rooms that nobody joined. */
async function keepForgetting(signal: AbortSignal): Promise<void> {
  const expiry = createExpiry({ store, now: Date.now });
  for (;;) {
    const counts = [store.forgetHistory(Date.now() - config.historyDays * DAY_MS, Date.now()), expiry.look()];
    const [forgotten = 0, expired = 0] = await Promise.all(counts).catch((error: unknown) => {
      app.log.error({ err: error }, 'history not shortened');
      return [];
    });
    const count = forgotten + expired;
    await delay(count > 0 ? FORGET_PAUSE_MS : FORGET_PERIOD_MS, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
  }
}

async function stop(): Promise<void> {
  if (isStopping) return;
  isStopping = true;
  stopping.abort();
  setTimeout(() => {
    app.log.error('requests did not finish in time; their connections are cut');
    app.server.closeAllConnections();
  }, STOP_DEADLINE_MS).unref();
  await app.close();
  await store.close();
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
  if (parsed.success) {
    checkReadable(parsed.data.endUsers?.jwks);
    return parsed.data;
  }
  return refuse(`${path}: ${parsed.error.issues.map((issue) => `${issue.path.join('.') || '(all)'}: ${issue.message}`).join('; ')}`);
}

function checkReadable(path: string | undefined): void {
  if (path?.startsWith('/') !== true) return;
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    refuse(`endUsers.jwks: ${error instanceof Error ? error.message : String(error)}`);
  }
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
