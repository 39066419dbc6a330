import { DatabaseSync } from 'node:sqlite';
import type { EventView } from '../../contract/rooms.ts';
import type { StoredEvent } from '../webhooks/event.ts';
import { openEventRows } from './event-rows.ts';
import { createGroupCommit } from './group-commit.ts';
import { openHistoryRows } from './history-rows.ts';
import type { HistoryRows } from './history-rows.ts';
import { migrate } from './migrations.ts';
import { openRoomRows } from './room-rows.ts';
import type { NewRoom, Once, RoomPage, RoomRecord } from './room-rows.ts';

/** The service's durable state. A change is on the disk when its promise resolves, and nothing of it when that rejects. */
export interface Store {
  /** Adds the room, a new life where the one before is finished; null (nothing changes) while one of this id is not finished. */
  addRoom(room: NewRoom): Promise<RoomRecord | null>;
  /** As addRoom; where the same request came before with this key, what was made then. */
  addRoomOnce(room: NewRoom, once: Once): Promise<RoomRecord | 'mismatch' | null>;
  changeRoom(key: number, wanted: { name: string; metadata: string }): Promise<void>;
  finishRoom(key: number, atMs: number, reason: string): Promise<boolean>;
  /** Takes back a life that LiveKit did not make. */
  takeBack(room: RoomRecord): Promise<void>;
  /** Keeps when LiveKit made the room; events of an older room of this name do not count for this one. */
  noteMade(key: number, livekitCreatedAtMs: number): Promise<void>;
  findRoom(id: string): RoomRecord | null;
  /** Rooms in the order of their ids, those after `cursor`. */
  listRooms(page: RoomPage): RoomRecord[];
  /** Rooms that LiveKit has made and nobody has ended. */
  openRooms(): RoomRecord[];
  /** Who is in this life of a room. */
  present(roomKey: number): Array<{ sid: string; identity: string }>;
  /** True for who is in this life of a room. */
  isPresent(roomKey: number, identity: string): boolean;
  /** Commits the event and what it says about its room; false when its id was known already (nothing changes). */
  addEvent(event: StoredEvent): Promise<boolean>;
  eventsOf(room: string): EventView[];
  /** Rooms that have ended, the latest first. */
  history: HistoryRows['list'];
  /** Removes rooms that ended, and events that came, before `beforeMs`, some hundreds of each. Gives how much that was; 0: nothing is left. */
  forgetHistory(beforeMs: number): Promise<number>;
  /** Commits a change to the disk, as an event would be; throws where that fails (full, read-only, locked). */
  checkWritable(): void;
  /** Commits what waits, and ends. */
  close(): void;
}

/** A few milliseconds' work: nobody waits for longer. */
const FORGET_AT_A_TIME = 200;
/** 16 MiB of log. */
const CHECKPOINT_PAGES = 4_000;

/** Opens (and migrates) the database file: WAL, synchronous=FULL, so a committed event survives a power cut. */
export function openStore(path: string): Store {
  const db = new DatabaseSync(path);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;');
  // What is written often is copied from the log into the file less often.
  db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  migrate(db);
  const group = createGroupCommit(db);
  const rooms = openRoomRows(db);
  const events = openEventRows(db);
  const history = openHistoryRows(db);
  const writeCheck = db.prepare('INSERT INTO write_checks (id, checks) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET checks = checks + 1');
  return {
    addRoom: (room) => group.commit(() => rooms.add(room)),
    addRoomOnce: (room, once) => group.commit(() => rooms.addOnce(room, once)),
    changeRoom: (key, wanted) => group.commit(() => rooms.change(key, wanted)),
    finishRoom: (key, atMs, reason) => group.commit(() => events.finish(key, atMs, reason)),
    takeBack: (room) => group.commit(() => rooms.takeBack(room)),
    noteMade: (key, atMs) => group.commit(() => rooms.noteMade(key, atMs)),
    findRoom: (id) => rooms.find(id),
    listRooms: (page) => rooms.list(page),
    openRooms: () => rooms.open(),
    present: (key) => events.present(key),
    isPresent: (key, identity) => events.isPresent(key, identity),
    addEvent: (event) => group.commit(() => events.add(event)),
    eventsOf: (room) => events.of(room),
    history: (page) => history.list(page),
    forgetHistory: (beforeMs) => group.commit(() => history.forget(beforeMs, FORGET_AT_A_TIME)),
    checkWritable: () => void writeCheck.run(),
    close() {
      group.flush();
      db.close();
    },
  };
}
