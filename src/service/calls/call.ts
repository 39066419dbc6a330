/** Why a call is over. `failed`: it was lost, nobody hung up. */
export type EndReason = 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed';
export type CallState = 'ringing' | 'active' | 'ended';
/** `ringing`, `accepted` (may enter) and `joined` (was seen in the room) take part; all others do not. */
export type PartyState = 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
/** Why a party left. */
export type LeaveReason = 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended';

/** One person of a call. All times are milliseconds since 1970, null where it has not come to that. */
export interface Party {
  readonly identity: string;
  readonly state: PartyState;
  /** Null for the caller. */
  readonly invitedBy: string | null;
  readonly invitedAtMs: number;
  readonly acceptedAtMs: number | null;
  readonly joinedAtMs: number | null;
  readonly leftAtMs: number | null;
  /** Of one who left; of one who is away (`joined` with a deadline): what it will be. */
  readonly reason: LeaveReason | null;
  /** When `ringing` becomes `missed`, and an `accepted` or `joined` one who is not in the room has left. */
  readonly deadlineMs: number | null;
  /** Has to be taken out of LiveKit's room. */
  readonly mustEvict: boolean;
}

/** A call as it stands; what its room says (name, type, metadata, capacity) is with the room. */
export interface Call {
  readonly caller: string;
  /** A `direct` call of two ends when one of them leaves. */
  readonly mode: 'direct' | 'group';
  readonly state: CallState;
  readonly ringMs: number;
  readonly graceMs: number;
  /** What an invitee gets who is in another call. */
  readonly busy: 'reject' | 'ring';
  /** 0: as many as come. Counts who takes part, those who are asked included. */
  readonly maxParties: number;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly reason: EndReason | null;
  /** LiveKit's room has to end. */
  readonly mustClose: boolean;
  /** In the order in which they came. */
  readonly parties: readonly Party[];
}

/** True for who rings or is in: who holds a place in the call. */
export function takesPart({ state }: Party): boolean {
  return state === 'ringing' || isInside(state);
}

/** True for who has accepted and not left. */
export function isInside(state: PartyState): boolean {
  return state === 'accepted' || state === 'joined';
}

/** The earliest moment at which something happens by itself; null: nothing does. */
export function deadlineOf({ parties }: Call): number | null {
  const all = parties.flatMap(({ deadlineMs }) => deadlineMs ?? []);
  return all.length === 0 ? null : Math.min(...all);
}
