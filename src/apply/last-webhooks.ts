import * as z from 'zod';
import { sendRequest } from '../clients/http-request.ts';
import { parseJson } from '../kernel/parse-json.ts';

const ANSWER_MS = 2_000;
const POLL_MS = 250;
const answerSchema = z.object({ webhooksWaiting: z.number().nullable() });

/**
 * Waits until this machine's agent has delivered what LiveKit gave it to deliver. Gives the number of webhooks that still wait after
 * `patienceMs`, at most a thousand; 0 as well where no agent answers.
 * @throws the signal's reason
 */
export async function awaitDelivery({
  port,
  patienceMs,
  now,
  signal,
}: {
  port: number;
  patienceMs: number;
  now: () => number;
  signal: AbortSignal;
}): Promise<number> {
  for (const deadline = now() + patienceMs; ; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
    signal.throwIfAborted();
    const answer = await sendRequest({ url: `http://127.0.0.1:${port}/healthz`, timeoutMs: ANSWER_MS, signal }).catch(() => null);
    const waiting = parseJson(answerSchema, answer?.text ?? '')?.webhooksWaiting ?? 0;
    if (waiting === 0 || now() >= deadline) return waiting;
  }
}
