import { isHashOf, signedBodyHash } from '../../clients/livekit-token.ts';
import type { ApiKeys } from '../../clients/livekit-token.ts';
import { parseWebhookEvent } from '../../contract/webhook-event.ts';
import { HttpProblem } from '../problem.ts';

/** A verified webhook event, ready to be stored; `body` is without `turnPassword`. */
export interface StoredEvent {
  readonly id: string;
  readonly event: string;
  readonly room: string;
  readonly participant: EventParticipant | null;
  /** When LiveKit made the event; the same however often it comes. 0 where it does not say. */
  readonly atMs: number;
  /** When LiveKit made the room, by its own clock; 0 where the event does not say. */
  readonly roomCreatedAtMs: number;
  readonly receivedAtMs: number;
  /** True for one that LiveKit did not send: it follows from what LiveKit says of its rooms. */
  readonly isMadeUp: boolean;
  readonly body: string;
}

/** Whom an event is about. */
export interface EventParticipant {
  readonly identity: string;
  readonly sid: string;
  readonly name: string;
  /** Null where the event does not say. */
  readonly joinedAtMs: number | null;
  /** LiveKit's DisconnectReason, such as CLIENT_INITIATED. */
  readonly reason: string | null;
}

/** The room's TURN secret, in both spellings of protobuf's JSON. */
const SECRET_FIELDS: ReadonlySet<string> = new Set(['turnPassword', 'turn_password']);

const SECRET_IN_TEXT = /("turn_?[pP]assword"\s*:\s*)"[^"\\]*"/g;
const SECRET_LEFT = /\\u|"turn_?[pP]assword"\s*:\s*(?!"")/;

/**
 * Reads a webhook whose Authorization header vouches for a body of `hash` (see checkSigner).
 * @throws HttpProblem 401 WEBHOOK_SIGNATURE, 400 WEBHOOK_BODY
 */
export function readEvent(rawBody: Buffer, hash: string, receivedAtMs: number): StoredEvent {
  if (!isHashOf(hash, rawBody)) throw notSigned();
  const text = rawBody.toString('utf8');
  const parsed = parseWebhookEvent(text);
  if (parsed === null) throw new HttpProblem('WEBHOOK_BODY');
  const { id, event, room, participant: who, createdAt } = parsed;
  return {
    id,
    event,
    room: room?.name ?? '',
    participant:
      who == null || who.sid === ''
        ? null
        : {
            identity: who.identity,
            sid: who.sid,
            name: who.name ?? '',
            joinedAtMs: who.joinedAt === 0 ? null : who.joinedAt * 1000,
            reason: who.disconnectReason ?? null,
          },
    atMs: createdAt * 1000,
    roomCreatedAtMs: room?.creationTimeMs ?? (room?.creationTime ?? 0) * 1000,
    receivedAtMs,
    isMadeUp: false,
    body: withoutSecrets(text),
  };
}

/**
 * The hash of the body that LiveKit signed: the Authorization header is a bare JWT of one of the keys whose `sha256` claim is the
 * standard base64 of the raw body's SHA-256. Who cannot sign is refused from the header alone.
 * @throws HttpProblem 401 WEBHOOK_SIGNATURE
 */
export function checkSigner(authorization: string | undefined, options: { keys: ApiKeys; nowMs: number }): string {
  const hash = signedBodyHash(authorization ?? '', options);
  if (hash === null) throw notSigned();
  return hash;
}

/** Empties them in the text, which is many times quicker; where a name may be written with escapes (\u0074…), or has another kind of value, all is read. */
function withoutSecrets(text: string): string {
  const emptied = text.replaceAll(SECRET_IN_TEXT, '$1""');
  if (!SECRET_LEFT.test(emptied)) return emptied;
  return JSON.stringify(JSON.parse(emptied), (key, value: unknown) => (SECRET_FIELDS.has(key) ? undefined : value));
}

function notSigned(): HttpProblem {
  return new HttpProblem('WEBHOOK_SIGNATURE');
}
