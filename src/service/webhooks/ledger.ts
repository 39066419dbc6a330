import { setTimeout as delay } from 'node:timers/promises';
import type { EndpointState } from '../store/endpoint-rows.ts';
import type { FailedMessage } from '../store/queue-rows.ts';
import type { WebhookStore } from '../store/webhook-store.ts';

/** Keeps what became of one endpoint's messages, many at a time. What is not kept yet at a crash is sent again. */
export interface Ledger {
  delivered(seq: number): void;
  delayed(message: FailedMessage): void;
  dead(message: FailedMessage): void;
  /** Resolves when all that was said so far is on the disk. */
  kept(): Promise<void>;
}

export interface LedgerDeps {
  readonly endpoint: string;
  readonly store: Pick<WebhookStore, 'settle'>;
  readonly takeState: () => EndpointState | null;
  /** They are in the queue no more. */
  readonly onGone: (seqs: readonly number[]) => void;
  readonly onError: (error: unknown) => void;
}

/** Nobody waits for it: some dozens go together. */
const GATHER_MS = 20;
const AGAIN_MS = 1_000;

export function createLedger({ endpoint, store, takeState, onGone, onError }: LedgerDeps): Ledger {
  let entries = none();
  /** The one that is written, and the one that gathers. */
  let [last, next]: [Promise<void>, Promise<void> | null] = [Promise.resolve(), null];

  async function write(): Promise<void> {
    await delay(GATHER_MS);
    next = null;
    const batch = entries;
    entries = none();
    let state = takeState();
    for (;;) {
      try {
        await store.settle(endpoint, batch, state);
        break;
      } catch (error) {
        onError(error);
        await delay(AGAIN_MS);
        state = takeState() ?? state;
      }
    }
    onGone([...batch.delivered, ...batch.dead.map(({ seq }) => seq)]);
  }

  const gather = (): Promise<void> => {
    if (next === null) {
      next = last.then(write);
      last = next;
    }
    return next;
  };
  return {
    delivered(seq) {
      entries.delivered.push(seq);
      void gather();
    },
    delayed(message) {
      entries.delayed.push(message);
      void gather();
    },
    dead(message) {
      entries.dead.push(message);
      void gather();
    },
    kept: () => next ?? last,
  };
}

function none(): { delivered: number[]; delayed: FailedMessage[]; dead: FailedMessage[] } {
  return { delivered: [], delayed: [], dead: [] };
}
