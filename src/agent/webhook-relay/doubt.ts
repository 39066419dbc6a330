import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { ROOMS_KEY, ROOM_NODE_KEY, readRoom } from '../../contract/livekit-records.ts';
import { fencedKey } from '../../contract/sight.ts';
import type { WebhookEvent } from '../../contract/webhook-event.ts';
import { startTicker } from '../ticker.ts';
import type { VanishedNodes } from '../vanished-nodes.ts';
import type { WebhookRelay } from './relay.ts';

const PERIOD_MS = 250;
/** The others give up a machine's rooms when it has been silent for longer; LiveKit misses a participant only after 15 s. */
const SPEECHLESS_MS = 2_000;
/** Where Redis is away from all, their webhooks are worth more late than never: nobody takes rooms over meanwhile. */
const HOLD_MS = 5 * 60_000;

export interface DoubtOptions {
  readonly redis: Redis;
  readonly relay: Pick<WebhookRelay, 'hold' | 'resume' | 'dropEnds'>;
  readonly seen: Pick<VanishedNodes, 'speechlessMs' | 'isAlone' | 'isWithMost'>;
  /** Of this machine's LiveKit; null while none runs. */
  readonly nodeId: () => string | null;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly monotonicMs: () => number;
}

/**
 * Holds this machine's webhooks while it has no word with Redis, or is alone with its own: the others may have given its rooms on, and its
 * LiveKit, which loses all who went with them, ends rooms that live. Once most machines speak to the same Redis, the ends of those rooms are
 * dropped, and the rest is delivered. Who left is true all the same: whoever comes back elsewhere is another participant to LiveKit.
 * Gives a function that ends it.
 */
export function doubtWhileSpeechless(options: DoubtOptions): () => Promise<void> {
  const { redis, relay, seen, log, monotonicMs } = options;
  let isInDoubt = false;
  /** Since when it has been held. As long as no other machine is reached, and Redis neither, nobody could be told anyway. */
  let sinceMs = 0;
  let wasAlone = false;

  const tick = async (): Promise<void> => {
    const isSpeechless = seen.speechlessMs() >= SPEECHLESS_MS;
    const [isAlone, isWithMost] = [seen.isAlone(), seen.isWithMost()];
    if (!isSpeechless && isWithMost) {
      if (isInDoubt) await settle();
      return;
    }
    if (!isInDoubt && !isSpeechless && !isAlone) return;
    // Whoever comes back has much to hear first.
    if (!isInDoubt || isAlone !== wasAlone || (isAlone && isSpeechless)) sinceMs = monotonicMs();
    isInDoubt = true;
    wasAlone = isAlone;
    if (monotonicMs() - sinceMs < HOLD_MS) relay.hold();
    else relay.resume();
  };
  const settle = async (): Promise<void> => {
    relay.hold();
    const own = options.nodeId();
    // It is about to be ended, and may end rooms until then.
    if (own !== null && (await redis.exists(fencedKey(own))) === 1) return;
    await relay.dropEnds(goesOnElsewhere);
    isInDoubt = false;
    relay.resume();
  };
  /** The same room, not one that was made anew under its name. */
  const goesOnElsewhere = async ({ room }: WebhookEvent): Promise<boolean> => {
    if (room == null || room.sid === '') return false;
    const [record, nodeId] = await Promise.all([redis.hgetBuffer(ROOMS_KEY, room.name), redis.hget(ROOM_NODE_KEY, room.name)]);
    return record !== null && readRoom(record)?.sid === room.sid && nodeId !== null && nodeId !== options.nodeId();
  };
  // What is under way when Redis goes away again is begun anew when it is back.
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.debug({ err: error }, 'webhooks held on'));
  return () => ticker.stop();
}
