import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** LiveKit's own hashes (livekit-server, pkg/routing/redisrouter.go): node id → node, room name → node id. */
export const LIVEKIT_NODES_KEY = 'nodes';
export const ROOM_NODE_KEY = 'room_node_map';
/** And those of its store (pkg/service/redisstore.go): room name → room, and in one hash per room identity → participant. */
export const ROOMS_KEY = 'rooms';
export const participantsKey = (room: string): string => `room_participants:${room}`;

/** What LiveKit's Redis says of a room (livekit/protocol, livekit_models.proto), as far as webhooks need it. */
export interface RoomRecord {
  readonly sid: string;
  readonly name: string;
  readonly metadata: string;
  readonly emptyTimeout: number;
  readonly departureTimeout: number;
  /** Seconds and milliseconds since 1970. */
  readonly creationTime: number;
  readonly creationTimeMs: number;
}

/** Of a participant. */
export interface ParticipantRecord {
  readonly sid: string;
  readonly identity: string;
  readonly name: string;
  readonly metadata: string;
  readonly joinedAt: number;
}

const ROOM_FIELDS = {
  sid: 1,
  name: 2,
  emptyTimeout: 3,
  creationTime: 5,
  metadata: 8,
  departureTimeout: 14,
  creationTimeMs: 15,
} as const;
const PARTICIPANT_FIELDS = { sid: 1, identity: 2, metadata: 5, joinedAt: 6, name: 9 } as const;

/** Reads a value of the Redis hash `rooms`; null for what is none. Throws nothing. */
export function readRoom(bytes: Uint8Array): RoomRecord | null {
  const found = readFields(bytes, ROOM_FIELDS);
  if (found === null || found.text('sid') === '' || found.text('name') === '') return null;
  return {
    sid: found.text('sid'),
    name: found.text('name'),
    metadata: found.text('metadata'),
    emptyTimeout: found.count('emptyTimeout'),
    departureTimeout: found.count('departureTimeout'),
    creationTime: found.count('creationTime'),
    creationTimeMs: found.count('creationTimeMs'),
  };
}

/**
 * Bytes that change nothing when they stand at a room record's end, since the last word on a field counts: its time of creation, after
 * another one that tells when its node ended. LiveKit writes the record anew, without them, when somebody makes the room again
 * (CreateRoom of pkg/service/roomallocator.go, 1.13). https://protobuf.dev/programming-guides/encoding/#last-one-wins
 */
export function abandonedMark({ creationTime }: RoomRecord, endedAtMs: number): Uint8Array {
  const writer = new BinaryWriter();
  for (const value of [endedAtMs, creationTime]) writer.tag(ROOM_FIELDS.creationTime, WireType.Varint).int64(value);
  return writer.finish();
}

/** True for a record that bears the mark of that time. */
export function isAbandoned(bytes: Uint8Array, endedAtMs: number): boolean {
  const room = readRoom(bytes);
  const mark = room === null ? null : abandonedMark(room, endedAtMs);
  return mark !== null && Buffer.from(bytes).subarray(-mark.length).equals(mark);
}

/** Reads a value of a Redis hash `room_participants:*`; null for what is none. Throws nothing. */
export function readParticipant(bytes: Uint8Array): ParticipantRecord | null {
  const found = readFields(bytes, PARTICIPANT_FIELDS);
  if (found === null || found.text('sid') === '') return null;
  return {
    sid: found.text('sid'),
    identity: found.text('identity'),
    name: found.text('name'),
    metadata: found.text('metadata'),
    joinedAt: found.count('joinedAt'),
  };
}

interface Fields<Name extends string> {
  text(name: Name): string;
  count(name: Name): number;
}

/** The wanted fields of a protobuf message; what is missing is empty, as protobuf has it. */
function readFields<Name extends string>(bytes: Uint8Array, wanted: Readonly<Record<Name, number>>): Fields<Name> | null {
  const values = new Map<number, string | number>();
  const numbers = new Set<number>(Object.values(wanted));
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (!numbers.has(field)) reader.skip(type, field);
      else if (type === WireType.LengthDelimited) values.set(field, reader.string());
      else if (type === WireType.Varint) values.set(field, Number(reader.int64()));
      else return null;
    }
  } catch {
    // The reader knows one kind of failure: these bytes are no message.
    return null;
  }
  return {
    text(name) {
      const value = values.get(wanted[name]);
      return typeof value === 'string' ? value : '';
    },
    count(name) {
      const value = values.get(wanted[name]);
      return typeof value === 'number' ? value : 0;
    },
  };
}

const NODE_STATS = 4;
const STATS_UPDATED_AT = 2;

/**
 * What a value of the Redis hash `nodes` (Node of livekit_internal.proto) says about when it was written, in seconds since 1970: first
 * LiveKit's own word, then what was added to it since, of which the last counts. None where it does not say. Throws nothing.
 */
export function readNodeStamps(bytes: Uint8Array): number[] {
  const stamps: number[] = [];
  try {
    const node = new BinaryReader(bytes);
    while (node.pos < node.len) {
      const [field, type] = node.tag();
      if (field === NODE_STATS && type === WireType.LengthDelimited)
        stamps.push(readFields(node.bytes(), { updatedAt: STATS_UPDATED_AT })?.count('updatedAt') ?? 0);
      else node.skip(type, field);
    }
  } catch {
    return [];
  }
  return stamps.filter((seconds) => seconds > 0);
}

/** Bytes that make a value of the hash `nodes` count as written at another time when they stand at its end. */
export function nodeStamp(seconds: number): Uint8Array {
  return new BinaryWriter().tag(NODE_STATS, WireType.LengthDelimited).fork().tag(STATS_UPDATED_AT, WireType.Varint).int64(seconds).join().finish();
}

const NODE_STATE = 6;
const SHUTTING_DOWN = 2;

/**
 * True where a value of the hash `nodes` says that its LiveKit was told to end, and waits for its participants to leave. Its own word is the
 * first: others may have added one of theirs. Throws nothing.
 */
export function isShuttingDown(bytes: Uint8Array): boolean {
  try {
    const node = new BinaryReader(bytes);
    while (node.pos < node.len) {
      const [field, type] = node.tag();
      if (field === NODE_STATE && type === WireType.Varint) return node.int32() === SHUTTING_DOWN;
      node.skip(type, field);
    }
  } catch {
    // No message.
  }
  return false;
}
