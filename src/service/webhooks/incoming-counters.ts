import type { EventFate } from '../store/event-rows.ts';

/** LiveKit's webhooks since the start. What is refused is not kept; all else is, whatever it is. */
export interface IncomingCounts {
  /** Events that came for the first time. */
  readonly taken: number;
  /** Of these: about a life of a room that is over, or about a room that is not known. */
  readonly late: number;
  /** Of these: of a kind that this program does not know. */
  readonly unknown: number;
  /** Had come before, replayed or sent again: they change nothing. */
  readonly duplicate: number;
  /** Not signed by a key of this fleet, too old, or not for their body. */
  readonly badSignature: number;
  /** Signed, and no event. */
  readonly badBody: number;
}

export interface IncomingCounters {
  count(event: string, fate: EventFate): void;
  /** @param code of the problem that it was answered */
  refused(code: string): void;
  snapshot(): IncomingCounts;
}

/** livekit/protocol, webhook/notifier.go and livekit_webhook.proto. */
const KNOWN =
  /^(room_(started|finished)|participant_(joined|left|connection_aborted)|track_(un)?published|egress_(started|updated|ended)|ingress_(started|ended))$/;

export function createIncomingCounters(): IncomingCounters {
  const counts = { taken: 0, late: 0, unknown: 0, duplicate: 0, badSignature: 0, badBody: 0 };
  return {
    count(event, fate) {
      if (fate === 'duplicate') {
        counts.duplicate++;
        return;
      }
      counts.taken++;
      if (fate === 'late') counts.late++;
      if (!KNOWN.test(event)) counts.unknown++;
    },
    refused(code) {
      if (code === 'WEBHOOK_SIGNATURE') counts.badSignature++;
      else counts.badBody++;
    },
    snapshot: () => ({ ...counts }),
  };
}
