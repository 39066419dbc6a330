import type { LivekitParticipant, LivekitRoom, LivekitRooms } from '../../clients/livekit-rooms.ts';
import type { RoomRecord } from '../store/room-rows.ts';
import type { Store } from '../store/store.ts';
import type { EventParticipant, StoredEvent } from '../webhooks/event.ts';

export interface ReconcileDeps {
  readonly livekit: Pick<LivekitRooms, 'listRooms' | 'listParticipants'>;
  readonly store: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Compares the service's rooms with LiveKit's. */
export interface Reconciler {
  /** Gives the number of events that it made up. Rejects, with nothing changed, while LiveKit does not answer. */
  look(): Promise<number>;
}

/**
 * Webhooks that were lost, in an outage or with LiveKit's own memory, are made up from what LiveKit says. Only what differs at two looks
 * in a row is: a webhook that is on its way comes meanwhile. Should one come later after all, it changes nothing more.
 */
export function createReconciler({ livekit, store, now }: ReconcileDeps): Reconciler {
  /** What differed at the last look: keys of rooms with the number of participants on both sides. */
  let suspicious = new Map<number, string>();
  /** Ids that were made up of rooms that still differ: what helped nothing once helps nothing again. */
  let told = new Set<string>();

  const missingOf = async (room: RoomRecord): Promise<StoredEvent[]> => {
    const [theirs, ours] = [await livekit.listParticipants(room.id), await store.present(room.key)];
    const [theirSids, ourSids] = [new Set(theirs.map(({ sid }) => sid)), new Set(ours.map(({ sid }) => sid))];
    return [
      ...theirs.filter(({ sid }) => !ourSids.has(sid)).map((who) => madeUp(room, 'participant_joined', now(), personOf(who))),
      ...ours
        .filter(({ sid }) => !theirSids.has(sid))
        .map(({ sid, identity }) => madeUp(room, 'participant_left', now(), { sid, identity, name: '', joinedAtMs: null, reason: null })),
    ];
  };

  return {
    async look() {
      const listed = new Map((await livekit.listRooms()).map((room) => [room.name, room]));
      const differing = (await store.openRooms()).flatMap((room) => {
        const theirs = listed.get(room.id);
        const difference = differenceOf(room, theirs);
        return difference === null ? [] : [{ room, difference, isGone: theirs === undefined }];
      });
      const former = suspicious;
      suspicious = new Map(differing.map(({ room, difference }) => [room.key, difference]));
      let count = 0;
      const before = told;
      told = new Set();
      for (const { room, difference, isGone } of differing) {
        if (former.get(room.key) !== difference) continue;
        // Of a room whose node is gone nobody answers; the next look asks again.
        const events = isGone ? [madeUp(room, 'room_finished', now(), null)] : await missingOf(room).catch(() => []);
        for (const { id } of events) told.add(id);
        const fresh = events.filter(({ id }) => !before.has(id));
        await Promise.all(fresh.map((event) => store.addEvent(event)));
        count += fresh.length;
      }
      return count;
    },
  };
}

/** Null where both sides say the same. */
function differenceOf(room: RoomRecord, theirs: LivekitRoom | undefined): string | null {
  if (theirs === undefined) return 'gone';
  return theirs.numParticipants === room.numParticipants ? null : `${theirs.numParticipants} of ${room.numParticipants}`;
}

function personOf({ sid, identity, name, joined_at, joinedAt }: LivekitParticipant): EventParticipant {
  return { sid, identity, name, joinedAtMs: (joined_at ?? joinedAt) * 1000, reason: null };
}

/** Its id follows from what it says: told twice it is one. */
function madeUp(room: RoomRecord, event: string, nowMs: number, participant: EventParticipant | null): StoredEvent {
  const subject = participant?.sid ?? `${room.key}_${room.livekitCreatedAtMs}`;
  const id = `EV_MADE_UP_${event}_${subject}`;
  const atMs = Math.floor(nowMs / 1000) * 1000;
  const said = { id, event, createdAt: String(atMs / 1000), room: { name: room.id, creationTimeMs: String(room.livekitCreatedAtMs) } };
  return {
    id,
    event,
    room: room.id,
    participant,
    atMs,
    roomCreatedAtMs: room.livekitCreatedAtMs,
    receivedAtMs: nowMs,
    isMadeUp: true,
    body: JSON.stringify(participant === null ? said : { ...said, participant: { sid: participant.sid, identity: participant.identity } }),
  };
}
