import type { FastifyInstance } from 'fastify';
import { sendRequest } from '../../clients/http-request.ts';
import type { ServiceConfig } from '../config.ts';
import type { Store } from '../store/store.ts';

/** Anyone may ask: what is well is looked at again after the first, and what is not after the second, for somebody waits for it. */
const CHECK_PERIOD_MS = 1_000;
const RECHECK_PERIOD_MS = 100;
/** Ample inside one machine. */
const LIVEKIT_TIMEOUT_MS = 1_000;

/** `healthz` (the process answers) and `readyz` (it can also do its work), open to all, beside the pages and beside the API. */
export function addHealthRoutes(app: FastifyInstance, { config, store, now }: { config: ServiceConfig; store: Store; now: () => number }): void {
  const checkDatabase = nowAndThen(() => tryWriting(store), now);
  const checkLivekit = nowAndThen(() => tryLivekit(config), now);
  for (const prefix of ['', '/api']) {
    app.get(`${prefix}/healthz`, () => ({ status: 'ok' }));
    app.get(`${prefix}/readyz`, async (_request, reply) => {
      const reasons = [...(await checkDatabase()), ...(await checkLivekit())];
      return reply.code(reasons.length === 0 ? 200 : 503).send({ status: reasons.length === 0 ? 'ready' : 'not ready', reasons });
    });
  }
}

/** Gives what stands in the way, as it was last looked for. */
function nowAndThen(check: () => Promise<readonly string[]>, now: () => number): () => Promise<readonly string[]> {
  let last: { atMs: number; periodMs: number; reasons: Promise<readonly string[]> } | null = null;
  const look = (): NonNullable<typeof last> => {
    const reasons = check();
    const looked = { atMs: now(), periodMs: CHECK_PERIOD_MS, reasons };
    void reasons.then(({ length }) => {
      if (length > 0) looked.periodMs = RECHECK_PERIOD_MS;
    });
    return looked;
  };
  return () => {
    if (last === null || Math.abs(now() - last.atMs) >= last.periodMs) last = look();
    return last.reasons;
  };
}

async function tryWriting(store: Store): Promise<readonly string[]> {
  try {
    await store.checkWritable();
    return [];
  } catch (error) {
    return [`database: ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function tryLivekit(config: ServiceConfig): Promise<string[]> {
  // LiveKit answers 401 to a validation without a token.
  const status = await sendRequest({ url: `${config.livekitApiUrl}/rtc/validate`, timeoutMs: LIVEKIT_TIMEOUT_MS }).then(
    (answer) => answer.status,
    () => 0,
  );
  return status === 401 ? [] : [`livekit: ${status === 0 ? 'unreachable' : `HTTP ${status}`}`];
}
