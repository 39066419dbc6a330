import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import { createRoomSchema, joinRoomSchema, leaveRoomSchema, listRoomsSchema, roomIdSchema } from '../../contract/rooms.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { Store } from '../store/store.ts';

const params = z.object({ id: roomIdSchema });

/** `/rooms` and what is below; who asks was let in before. */
export function addRoomRoutes(api: FastifyInstance, { rooms, store }: { rooms: Rooms; store: Store }): void {
  api.post('/rooms', async (request, reply) => reply.code(201).send(await rooms.create(createRoomSchema.parse(request.body ?? {}))));
  api.get('/rooms', async (request) => {
    const { limit, cursor } = listRoomsSchema.parse(request.query);
    const found = rooms.list({ limit, cursor: cursor ?? null });
    return { rooms: found, cursor: found.length === limit ? (found.at(-1)?.id ?? null) : null };
  });
  api.get('/rooms/:id', async (request) => rooms.read(params.parse(request.params).id));
  api.post('/rooms/:id/join', async (request) => {
    // Caddy sets this header and drops what a client wrote into it.
    const isPlain = request.headers['x-forwarded-proto'] === 'http';
    return rooms.join(params.parse(request.params).id, joinRoomSchema.parse(request.body), isPlain);
  });
  api.post('/rooms/:id/leave', async (request, reply) => {
    await rooms.leave(params.parse(request.params).id, leaveRoomSchema.parse(request.body).identity);
    return reply.code(204).send();
  });
  api.get('/rooms/:id/events', async (request) => ({ events: store.eventsOf(params.parse(request.params).id) }));
}
