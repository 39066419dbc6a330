import type { EventView } from '../../contract/rooms.ts';
import type { StoredEvent } from '../webhooks/event.ts';
import { createCallStore } from './call-store.ts';
import type { CallStore } from './call-store.ts';
import { addEvent } from './call-works.ts';
import type { Awaitable, Database } from './database.ts';
import * as events from './event-rows.ts';
import * as history from './history-rows.ts';
import { measure } from './measure-rows.ts';
import type { Measures } from './measure-rows.ts';
import { openPostgres } from './postgres.ts';
import * as rooms from './room-rows.ts';
import type { NewRoom, Once, RoomPage, RoomRecord } from './room-rows.ts';
import { openSqlite } from './sqlite.ts';
import * as tokens from './token-rows.ts';
import type { TokenRecord } from './token-rows.ts';
import { tidyOutbox } from './queue-rows.ts';
import { createWebhookStore } from './webhook-store.ts';
import type { WebhookStore } from './webhook-store.ts';
import { change } from './work.ts';
import type { Work } from './work.ts';

/** The service's durable state. A change is on the disk when its promise resolves, and nothing of it when that rejects. */
export interface Store {
  readonly calls: CallStore;
  /** Adds the room, a new life where the one before is finished; null (nothing changes) while one of this id is not finished. */
  addRoom(room: NewRoom): Promise<RoomRecord | null>;
  /** As addRoom; where the same request came before with this key, what was made then. */
  addRoomOnce(room: NewRoom, once: Once): Promise<RoomRecord | 'mismatch' | null>;
  changeRoom(key: number, wanted: { name: string; metadata: string }): Promise<void>;
  finishRoom(key: number, atMs: number, reason: string): Promise<boolean>;
  /** Keeps why the room is about to end, whoever is the first to say that it has; null: it goes on. */
  noteEnding(key: number, reason: string | null): Promise<void>;
  /** Ends rooms that LiveKit was never asked for, of some hundred that are old enough; gives how many those are, and the key of the last. */
  expireRooms(look: events.ExpiryLook): Promise<{ lastKey: number; count: number }>;
  /** Takes back a life that LiveKit did not make. */
  takeBack(room: RoomRecord): Promise<void>;
  /** Keeps when LiveKit made the room; events of an older room of this name do not count for this one. */
  noteMade(key: number, livekitCreatedAtMs: number): Promise<void>;
  findRoom(id: string): Awaitable<RoomRecord | null>;
  /** Rooms in the order of their ids, those after `cursor`. */
  listRooms(page: RoomPage): Awaitable<RoomRecord[]>;
  /** Rooms that LiveKit has made and nobody has ended. */
  openRooms(): Awaitable<RoomRecord[]>;
  /** Who is in this life of a room. */
  present(roomKey: number): Awaitable<Array<{ sid: string; identity: string }>>;
  /** True for who is in this life of a room. */
  isPresent(roomKey: number, identity: string): Awaitable<boolean>;
  /** Commits the event and what it says about its room and its call; false when its id was known already (nothing changes). */
  addEvent(event: StoredEvent): Promise<boolean>;
  /** As addEvent; says what it was. */
  receive(event: StoredEvent): Promise<events.EventFate>;
  eventsOf(room: string): Awaitable<EventView[]>;
  /** Rooms that have ended, the latest first. */
  history(page: history.HistoryPage): Awaitable<ReturnTypeOf<typeof history.listHistory>>;
  /** Removes rooms that ended, and events that came, before `beforeMs`, some hundreds of each. Gives how much that was; 0: nothing is left. */
  forgetHistory(beforeMs: number, nowMs: number): Promise<number>;
  /** How much there is at this moment. */
  measure(): Awaitable<Measures>;
  /** Server tokens. */
  readonly tokens: TokenStore;
  /** Endpoints of the operator, and what waits for them. */
  readonly webhooks: WebhookStore;
  /** True where other services may use the same database. */
  readonly isShared: boolean;
  /** Calls `listener` after each change of what is not the queue's own; null: nobody has to know. */
  watch(listener: (() => void) | null): void;
  /** Commits a change to the disk, as an event would be; rejects where that fails (full, read-only, locked). */
  checkWritable(): Promise<void>;
  /** Commits what waits, and ends. */
  close(): Awaitable<void>;
}

export interface TokenStore {
  add(token: TokenRecord): Promise<void>;
  /** All, the oldest first; also those that have expired. */
  list(): Awaitable<TokenRecord[]>;
  /** False where there is none of this id. */
  remove(id: string): Promise<boolean>;
  noteUse(id: string, atMs: number): Promise<void>;
}

type ReturnTypeOf<F> = F extends (...args: never[]) => Generator<unknown, infer T, never> ? T : never;

/** A few milliseconds' work: nobody waits for longer. */
const FORGET_AT_A_TIME = 200;
/** So many events are looked through in vain for one room's. */
const INDEX_EVERY = 2_000;
const WRITE_CHECK = 'INSERT INTO write_checks (id, checks) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET checks = write_checks.checks + 1';

/**
 * The store in the SQLite file of this path, or in the PostgreSQL database of this URL.
 * @throws SchemaError when a newer program wrote it; Error where the file cannot be opened
 */
export async function openStore(database: string): Promise<Store> {
  return createStore(isPostgres(database) ? await openPostgres(database) : openSqlite(database));
}

/** True for a URL of PostgreSQL, false for a path. */
export function isPostgres(database: string): boolean {
  return /^postgres(ql)?:\/\//.test(database);
}

/** The store over a database, which it closes at its end. */
export function createStore(database: Database): Store {
  const { read } = database;
  let added = 0;
  let watcher: (() => void) | null = null;
  const commit = <T>(work: () => Work<T>, subject?: string): Promise<T> => {
    const done = database.commit(work, subject);
    if (watcher !== null) void done.then(watcher, () => undefined);
    return done;
  };
  const receive = async (event: StoredEvent): Promise<events.EventFate> => {
    const fate = await commit(() => addEvent(event), event.room);
    // An index that is late is looked past.
    if (database.indexesLate && added++ % INDEX_EVERY === 0) void commit(events.indexEvents).catch(() => undefined);
    return fate;
  };
  return {
    calls: createCallStore({ read, commit }),
    addRoom: (room) => commit(() => rooms.addRoom(room)),
    addRoomOnce: (room, once) => commit(() => rooms.addRoomOnce(room, once)),
    changeRoom: (key, wanted) => commit(() => rooms.changeRoom(key, wanted)),
    noteEnding: (key, reason) => commit(() => rooms.noteEnding(key, reason)),
    finishRoom: (key, atMs, reason) => commit(() => events.finishRoom(key, atMs, reason)),
    expireRooms: (look) => commit(() => events.expireRooms(look, FORGET_AT_A_TIME)),
    takeBack: (room) => commit(() => rooms.takeRoomBack(room)),
    noteMade: (key, atMs) => commit(() => rooms.noteMade(key, atMs)),
    findRoom: (id) => read(() => rooms.findRoom(id)),
    listRooms: (page) => read(() => rooms.listRooms(page)),
    openRooms: () => read(rooms.openRooms),
    present: (key) => read(() => events.present(key)),
    isPresent: (key, identity) => read(() => events.isPresent(key, identity)),
    receive,
    addEvent: async (event) => (await receive(event)) !== 'duplicate',
    eventsOf: (room) => read(() => events.eventsOf(room, database.indexesLate)),
    history: (page) => read(() => history.listHistory(page)),
    forgetHistory: (beforeMs, nowMs) =>
      commit(function* () {
        const count = (yield* history.forgetHistory(beforeMs, FORGET_AT_A_TIME, database.indexesLate)) + (yield* rooms.forgetRequests(nowMs, FORGET_AT_A_TIME));
        return count + (yield* tidyOutbox({ beforeMs, nowMs, limit: FORGET_AT_A_TIME }));
      }),
    measure: () => read(measure),
    tokens: {
      add: (token) => commit(() => tokens.addToken(token)),
      list: () => read(tokens.listTokens),
      remove: (id) => commit(() => tokens.removeToken(id)),
      noteUse: (id, atMs) => commit(() => tokens.noteTokenUse(id, atMs)),
    },
    webhooks: createWebhookStore(database),
    isShared: database.isShared,
    watch: (listener) => (watcher = listener),
    async checkWritable() {
      await commit(() => change(WRITE_CHECK));
    },
    close: () => database.close(),
  };
}
