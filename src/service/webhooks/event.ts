import { isWebhookTokenValid, signedBodyHash } from '../../clients/livekit-token.ts';
import { parseWebhookEvent } from '../../contract/webhook-event.ts';
import { HttpProblem } from '../problem.ts';

/** A verified webhook event, ready to be stored; `body` is without `turnPassword`. */
export interface StoredEvent {
  readonly id: string;
  readonly event: string;
  readonly room: string;
  readonly participant: { identity: string; sid: string } | null;
  /** When LiveKit made the room, by its own clock; 0 where the event does not say. */
  readonly roomCreatedAtMs: number;
  readonly receivedAtMs: number;
  readonly body: string;
}

/** The room's TURN secret, in both spellings of protobuf's JSON. */
const SECRET_FIELDS: ReadonlySet<string> = new Set(['turnPassword', 'turn_password']);

/**
 * Verifies a webhook as LiveKit signs it: the Authorization header is a bare JWT of one of the keys whose `sha256`
 * claim is the standard base64 of the raw body's SHA-256.
 * @throws HttpProblem 401 WEBHOOK_SIGNATURE, 400 WEBHOOK_BODY
 */
export function verifyEvent(
  rawBody: Buffer,
  authorization: string | undefined,
  options: { keys: Readonly<Record<string, string>>; nowMs: number },
): StoredEvent {
  if (!isWebhookTokenValid(authorization ?? '', rawBody, options)) throw notSigned();
  const parsed = parseWebhookEvent(rawBody);
  if (parsed === null) throw new HttpProblem(400, 'WEBHOOK_BODY', 'The body is not a LiveKit webhook event');
  const { id, event, room, participant } = parsed;
  return {
    id,
    event,
    room: room?.name ?? '',
    participant: participant == null || participant.sid === '' ? null : { identity: participant.identity, sid: participant.sid },
    roomCreatedAtMs: room?.creationTimeMs ?? (room?.creationTime ?? 0) * 1000,
    receivedAtMs: options.nowMs,
    body: JSON.stringify(parsed, (key, value: unknown) => (SECRET_FIELDS.has(key) ? undefined : value)),
  };
}

/**
 * Refuses who cannot sign at all, from the header alone.
 * @throws HttpProblem 401 WEBHOOK_SIGNATURE
 */
export function checkSigner(authorization: string | undefined, options: { keys: Readonly<Record<string, string>>; nowMs: number }): void {
  if (signedBodyHash(authorization ?? '', options) === null) throw notSigned();
}

function notSigned(): HttpProblem {
  return new HttpProblem(401, 'WEBHOOK_SIGNATURE', 'Not signed by a key of this fleet, too old, or not for this body');
}
