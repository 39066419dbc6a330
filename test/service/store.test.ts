import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import type { NewRoom } from '../../src/service/store/room-rows.ts';
import { temporaryDirectory } from './fixtures.ts';

const firstSchema = `
  CREATE TABLE rooms (id TEXT PRIMARY KEY, name TEXT NOT NULL, max_participants INTEGER NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL, finished_at INTEGER) STRICT;
  CREATE TABLE participants (room TEXT NOT NULL, identity TEXT NOT NULL, sid TEXT NOT NULL, left INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room, sid)) STRICT;
  CREATE TABLE events (id TEXT PRIMARY KEY, room TEXT NOT NULL, event TEXT NOT NULL, identity TEXT, received_at INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
  CREATE INDEX events_by_room ON events (room, received_at);
  PRAGMA user_version = 1;`;

const newRoom = (id: string): NewRoom => ({ id, name: 'One', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: 5 });

describe('the database', () => {
  it('keeps its rooms when it comes from the first schema', async () => {
    const path = join(await temporaryDirectory(), 'service.db');
    const db = new DatabaseSync(path);
    db.exec(firstSchema);
    db.exec(`INSERT INTO rooms VALUES ('r1', 'One', 0, 'live', 1700000000900, NULL);
      INSERT INTO participants VALUES ('r1', 'ann', 'PA_ann', 0), ('r1', 'bob', 'PA_bob', 1);
      INSERT INTO events VALUES ('EV_0', 'r1', 'room_finished', NULL, 1600000000000, '{"room":{"name":"r1","creationTime":1600000000}}'),
        ('EV_1', 'r1', 'room_started', NULL, 1700000000950, '{"room":{"name":"r1","creationTime":"1700000000"}}'),
        ('EV_2', 'r1', 'egress_started', NULL, 1700000000960, '{}');`);
    db.close();

    const store = await openStore(path);
    const participant = { identity: 'cid', sid: 'PA_cid', name: '', joinedAtMs: null, reason: null };
    const event = {
      event: 'participant_joined',
      room: 'r1',
      participant,
      atMs: 1_700_000_001_000,
      roomCreatedAtMs: 1_700_000_000_362,
      receivedAtMs: 1,
      isMadeUp: false,
      body: '{}',
    };
    expect(await store.addEvent({ ...event, id: 'EV_3' })).toBe(true);
    // What came before the migration is known after it.
    expect(await store.addEvent({ ...event, id: 'EV_1', event: 'room_started', participant: null, atMs: 0 })).toBe(false);
    expect(await store.findRoom('r1')).toMatchObject({ name: 'One', type: 'video', state: 'live', numParticipants: 2 });
    expect([await store.isPresent(1, 'ann'), await store.isPresent(1, 'bob'), await store.isPresent(1, 'cid')]).toEqual([true, false, true]);
    expect(await store.eventsOf('r1')).toHaveLength(4);
    await store.close();
  });

  it('survives being opened again, and refuses one of a newer program', async () => {
    const path = join(await temporaryDirectory(), 'service.db');
    const first = await openStore(path);
    await first.addRoom(newRoom('r1'));
    await first.close();
    const second = await openStore(path);
    expect(second.findRoom('r1')).toMatchObject({ id: 'r1', state: 'new' });
    await second.close();
    const db = new DatabaseSync(path);
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    db.exec('PRAGMA user_version = 99');
    db.close();
    await expect(openStore(path)).rejects.toThrow('schema 99');
  });

  it('keeps why a room ended, whoever is the first to say that it has', async () => {
    const store = await openStore(join(await temporaryDirectory(), 'service.db'));
    const finished = { event: 'room_finished', participant: null, atMs: 6, roomCreatedAtMs: 5, receivedAtMs: 6, isMadeUp: false, body: '{}' };
    for (const [id, isTakenBack] of [
      ['r1', false],
      ['r2', true],
    ] as const) {
      const key = (await store.addRoom(newRoom(id)))?.key ?? 0;
      await store.noteMade(key, 5);
      await store.noteEnding(key, 'ended');
      if (isTakenBack) await store.noteEnding(key, null);
      await store.addEvent({ ...finished, id: `EV_${id}`, room: id });
      expect(await store.finishRoom(key, 7, 'ended')).toBe(false);
    }
    expect(await store.findRoom('r1')).toMatchObject({ state: 'finished', finishReason: 'ended' });
    expect(await store.findRoom('r2')).toMatchObject({ state: 'finished', finishReason: 'empty' });
    await store.close();
  });

  it('undoes a whole event when a part of it cannot be stored', async () => {
    const path = join(await temporaryDirectory(), 'service.db');
    const store = await openStore(path);
    await store.addRoom(newRoom('r1'));
    const other = new DatabaseSync(path);
    other.exec(`CREATE TRIGGER refuse BEFORE UPDATE ON rooms BEGIN SELECT RAISE(ABORT, 'refused by the test'); END`);
    const event = {
      id: 'EV_1',
      event: 'room_started',
      room: 'r1',
      participant: null,
      atMs: 6,
      roomCreatedAtMs: 5,
      receivedAtMs: 6,
      isMadeUp: false,
      body: '{}',
    };
    const [refused, innocent] = await Promise.allSettled([store.addEvent(event), store.addRoom(newRoom('r2'))]);
    expect(refused).toMatchObject({ status: 'rejected', reason: { message: 'refused by the test' } });
    expect(await store.eventsOf('r1')).toEqual([]);
    // They were to share a transaction.
    expect(innocent).toMatchObject({ status: 'fulfilled', value: { id: 'r2' } });
    expect(await store.findRoom('r2')).toMatchObject({ id: 'r2' });
    other.exec('DROP TRIGGER refuse');
    other.close();
    expect(await store.addEvent(event)).toBe(true);
    expect(await store.findRoom('r1')).toMatchObject({ state: 'live' });
    await store.close();
  });
});
