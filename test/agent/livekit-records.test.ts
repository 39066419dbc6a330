import fc from 'fast-check';
import { ParticipantInfo, Room } from 'livekit-server-sdk';
import { expect, test } from 'vitest';
import { finishedEvent, ghostEndMs, leftEvents, parseGhost } from '../../src/contract/ghosts.ts';
import { abandonedMark, isAbandoned, readParticipant, readRoom } from '../../src/contract/livekit-records.ts';
import { parseWebhookEvent } from '../../src/contract/webhook-event.ts';

const room = {
  sid: 'RM_1',
  name: '房间',
  metadata: '{"a":1}',
  emptyTimeout: 300,
  departureTimeout: 20,
  creationTime: 1_700_000_000,
  creationTimeMs: 1_700_000_000_123,
};
const participant = { sid: 'PA_1', identity: 'alice', name: '爱丽丝', metadata: 'm', joinedAt: 1_700_000_001 };
const ghost = { room, participants: [participant], endedAtMs: 1_700_000_100_000, isTold: false };

test('what LiveKit stores is read as LiveKit means it', () => {
  const stored = new Room({
    ...room,
    creationTime: BigInt(room.creationTime),
    creationTimeMs: BigInt(room.creationTimeMs),
    turnPassword: 'secret',
    numParticipants: 3,
  });
  expect(readRoom(stored.toBinary())).toEqual(room);
  const attributes = { color: 'red' };
  const joined = new ParticipantInfo({
    ...participant,
    joinedAt: BigInt(participant.joinedAt),
    attributes,
    permission: { canPublish: true },
    isPublisher: true,
  });
  expect(readParticipant(joined.toBinary())).toEqual(participant);
  expect(readRoom(new Room({ name: 'x' }).toBinary())).toBeNull();
});

test('the mark of a room without a node changes nothing, and is gone when LiveKit writes the record', () => {
  const stored = new Room({ ...room, creationTime: BigInt(room.creationTime), creationTimeMs: BigInt(room.creationTimeMs) }).toBinary();
  const marked = Buffer.concat([stored, abandonedMark(room, 1_700_000_100_000)]);
  expect(Room.fromBinary(marked).toJson()).toEqual(Room.fromBinary(stored).toJson());
  expect(readRoom(marked)).toEqual(room);
  expect(isAbandoned(marked, 1_700_000_100_000)).toBe(true);
  expect([isAbandoned(marked, 1_700_000_200_000), isAbandoned(stored, 1_700_000_100_000)]).toEqual([false, false]);
  expect(isAbandoned(Room.fromBinary(marked).toBinary(), 1_700_000_100_000)).toBe(false);
});

test('what is no record is none, whatever it is (property)', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const found of [readRoom(bytes), readParticipant(bytes)]) expect(found === null || found.sid !== '').toBe(true);
    }),
  );
});

test('who left and what ended is told in the form of LiveKit’s own webhooks', () => {
  const [left] = leftEvents(ghost).map((event) => parseWebhookEvent(Buffer.from(JSON.stringify(event))));
  expect(left).toMatchObject({
    event: 'participant_left',
    id: 'EV_ENDED_PA_1',
    room: { name: '房间', creationTimeMs: room.creationTimeMs },
    participant: { sid: 'PA_1', identity: 'alice' },
  });
  expect(JSON.stringify(leftEvents(ghost))).toBe(JSON.stringify(leftEvents({ ...ghost, isTold: true })));
  expect(parseWebhookEvent(Buffer.from(JSON.stringify(finishedEvent(ghost))))).toMatchObject({ event: 'room_finished', room: { name: '房间' } });
  expect(finishedEvent(ghost)).toMatchObject({ room: { sid: 'RM_1' } });
});

test('a room is waited for as long as LiveKit itself would keep it', () => {
  const wait = (change: Partial<typeof ghost>): number => (ghostEndMs({ ...ghost, ...change }) - ghost.endedAtMs) / 1000;
  expect([wait({}), wait({ participants: [] }), wait({ room: { ...room, departureTimeout: 60 } }), wait({ room: { ...room, departureTimeout: 1 } })]).toEqual([
    20, 300, 60, 20,
  ]);
  expect(parseGhost(JSON.stringify(ghost))).toEqual(ghost);
  expect([parseGhost('{'), parseGhost('{}')]).toEqual([null, null]);
});
