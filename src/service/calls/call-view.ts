import type { CallHead, CallView, PartyView } from '../../contract/calls.ts';
import type { CallRecord } from '../store/call-rows.ts';
import type { Party } from './call.ts';

/** A call as the API shows it. */
export function callViewOf(record: CallRecord): CallView {
  return { ...headOf(record), parties: record.call.parties.map(partyViewOf) };
}

/** The same without its parties. */
export function headOf({ room, call }: CallRecord): CallHead {
  return {
    id: room.id,
    name: room.name,
    type: room.type,
    metadata: room.metadata,
    caller: call.caller,
    mode: call.mode,
    state: call.state,
    reason: call.reason,
    ringTimeout: call.ringMs / 1000,
    reconnectGrace: call.graceMs / 1000,
    maxParticipants: call.maxParties,
    createdAt: new Date(call.createdAtMs).toISOString(),
    startedAt: timeOf(call.startedAtMs),
    endedAt: timeOf(call.endedAtMs),
  };
}

export function partyViewOf(party: Party): PartyView {
  const { identity, state, invitedBy, deadlineMs, reason } = party;
  const isAway = state === 'joined' && deadlineMs !== null;
  return {
    identity,
    state,
    invitedBy,
    isAway,
    ringsUntil: state === 'ringing' ? timeOf(deadlineMs) : null,
    acceptedAt: timeOf(party.acceptedAtMs),
    joinedAt: timeOf(party.joinedAtMs),
    leftAt: timeOf(party.leftAtMs),
    reason: isAway ? null : reason,
  };
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
