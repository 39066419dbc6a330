import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import {
  createCallSchema,
  createRoomSchema,
  historySchema,
  identitySchema,
  joinRoomSchema,
  leaveRoomSchema,
  listRoomsSchema,
  muteSchema,
  roomIdSchema,
  sendDataSchema,
  updateParticipantSchema,
  updateRoomSchema,
} from '../../contract/rooms.ts';
import { checkIsFor, checkMayAsk } from '../auth/principal.ts';
import type { Calls } from '../calls/calls.ts';
import { HttpProblem } from '../problem.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { Store } from '../store/store.ts';
import { idempotencyKeyOf, isPlain } from './request.ts';

const params = z.object({ id: roomIdSchema });
const personParams = z.object({ id: roomIdSchema, identity: identitySchema });

/** `/rooms` and what is below, and `/history` (contract/api.ts); who asks was let in before. */
export function addRoomRoutes(api: FastifyInstance, { rooms, calls, store }: { rooms: Rooms; calls: Calls; store: Store }): void {
  api.post('/rooms', async (request, reply) => {
    const { caller, invitees, mode, ringTimeout, reconnectGrace, busy, ...wanted } = createRoomSchema.parse(request.body ?? {});
    const key = idempotencyKeyOf(request);
    if (caller === undefined || invitees === undefined) return reply.code(201).send(await rooms.create(wanted, key));
    checkMayAsk(request.principal, { scope: 'calls:write' });
    const { start: _atTheFirstJoin, ...room } = wanted;
    const { id } = await calls.create(createCallSchema.parse({ ...room, caller, invitees, mode, ringTimeout, reconnectGrace, busy }), key);
    return reply.code(201).send(await rooms.read(id));
  });
  api.get('/rooms', async (request) => {
    const { limit, cursor = null, state = null, type = null } = listRoomsSchema.parse(request.query);
    const found = await rooms.list({ limit, cursor, state, type });
    return { rooms: found, cursor: found.length === limit ? (found.at(-1)?.id ?? null) : null };
  });
  api.get('/rooms/:id', async (request) => {
    const [id, { principal }] = [idOf(request), request];
    const room = await rooms.read(id);
    // Whoever is not of a call does not see it.
    if (room.isCall && principal.kind === 'user' && !(await calls.hasParty(id, principal.identity))) throw new HttpProblem('ROOM_NOT_FOUND', { id });
    return room;
  });
  api.patch('/rooms/:id', async (request) => rooms.update(idOf(request), updateRoomSchema.parse(request.body)));
  api.delete('/rooms/:id', async (request, reply) => {
    await rooms.end(idOf(request));
    return reply.code(204).send();
  });
  api.post('/rooms/:id/join', async (request) => {
    const wanted = joinRoomSchema.parse(request.body);
    checkIsFor(request.principal, wanted.identity);
    // Applications trust what it says.
    if (request.principal.kind === 'user' && wanted.metadata !== undefined) throw new HttpProblem('NOT_YOURS', { identity: wanted.identity });
    return rooms.join(idOf(request), wanted, isPlain(request));
  });
  api.post('/rooms/:id/leave', async (request, reply) => {
    const { identity } = leaveRoomSchema.parse(request.body);
    checkIsFor(request.principal, identity);
    await rooms.leave(idOf(request), identity);
    return reply.code(204).send();
  });
  api.get('/rooms/:id/events', async (request) => ({ events: await store.eventsOf(idOf(request)) }));
  api.get('/history', async (request) => {
    const { limit, cursor = null, room = null } = historySchema.parse(request.query);
    const found = await store.history({ limit, before: cursor, room });
    return { rooms: found.map(({ view }) => view), cursor: found.length === limit ? String(found.at(-1)?.key) : null };
  });
  addParticipantRoutes(api, rooms.participants);
}

function addParticipantRoutes(api: FastifyInstance, participants: Rooms['participants']): void {
  api.get('/rooms/:id/participants', async (request) => {
    const { principal } = request;
    const found = await participants.list(idOf(request));
    if (principal.kind === 'user' && !found.some(({ identity }) => identity === principal.identity))
      throw new HttpProblem('NOT_YOURS', { identity: principal.identity });
    return { participants: found };
  });
  api.post('/rooms/:id/data', async (request, reply) => {
    await participants.send(idOf(request), sendDataSchema.parse(request.body));
    return reply.code(204).send();
  });
  api.patch('/rooms/:id/participants/:identity', async (request, reply) => {
    const { id, identity } = personParams.parse(request.params);
    await participants.update(id, identity, updateParticipantSchema.parse(request.body));
    return reply.code(204).send();
  });
  api.delete('/rooms/:id/participants/:identity', async (request, reply) => {
    const { id, identity } = personParams.parse(request.params);
    await participants.remove(id, identity);
    return reply.code(204).send();
  });
  api.post('/rooms/:id/participants/:identity/mute', async (request, reply) => {
    const { id, identity } = personParams.parse(request.params);
    await participants.mute(id, identity, muteSchema.parse(request.body));
    return reply.code(204).send();
  });
}

function idOf(request: { params: unknown }): string {
  return params.parse(request.params).id;
}
