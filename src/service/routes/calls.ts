import type { FastifyInstance, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { acceptSchema, bySchema, cancelSchema, endSchema, inviteSchema, listCallsSchema, readCallSchema } from '../../contract/calls.ts';
import { createCallSchema, identitySchema, roomIdSchema } from '../../contract/rooms.ts';
import { checkIsFor } from '../auth/principal.ts';
import type { Calls } from '../calls/calls.ts';
import { HttpProblem } from '../problem.ts';
import { idempotencyKeyOf, isPlain } from './request.ts';

const params = z.object({ id: roomIdSchema });
const userParams = z.object({ identity: identitySchema });

/** `/calls` and what is below, and `/users/:identity/sync` (contract/call-operations.ts); who asks was let in before. */
export function addCallRoutes(api: FastifyInstance, calls: Calls): void {
  api.post('/calls', async (request, reply) => {
    const wanted = createCallSchema.parse(request.body);
    checkIsFor(request.principal, wanted.caller);
    // An end user's call takes the id of no room that an application is about to make.
    if (request.principal.kind === 'user' && wanted.id !== undefined) throw new HttpProblem('NOT_YOURS', { identity: wanted.caller });
    return reply.code(201).send(await calls.create(wanted, idempotencyKeyOf(request)));
  });
  api.get('/calls', async (request) => {
    const { limit, cursor = null, state = null, by } = listCallsSchema.parse(request.query);
    const page = await calls.list({ limit, before: cursor, state, identity: actorOf(request, by) });
    return { calls: page.map(({ view }) => view), cursor: page.length === limit ? String(page.at(-1)?.key) : null };
  });
  api.get('/calls/:id', async (request) => calls.read(idOf(request), actorOf(request, readCallSchema.parse(request.query).by)));
  api.post('/calls/:id/invite', async (request) => calls.invite(idOf(request), acting(request, inviteSchema)));
  api.post('/calls/:id/accept', async (request) => {
    const wanted = acting(request, acceptSchema);
    // Applications trust what it says.
    if (request.principal.kind === 'user' && wanted.metadata !== undefined) throw new HttpProblem('NOT_YOURS', { identity: wanted.by });
    return calls.accept(idOf(request), wanted, isPlain(request));
  });
  api.post('/calls/:id/reject', async (request) => calls.reject(idOf(request), acting(request, bySchema).by));
  api.post('/calls/:id/cancel', async (request) => calls.cancel(idOf(request), acting(request, cancelSchema)));
  api.post('/calls/:id/leave', async (request) => calls.leave(idOf(request), acting(request, bySchema).by));
  api.post('/calls/:id/end', async (request) => calls.end(idOf(request), actorOf(request, endSchema.parse(request.body ?? {}).by)));
  api.get('/users/:identity/sync', async (request) => {
    const { identity } = userParams.parse(request.params);
    checkIsFor(request.principal, identity);
    return calls.sync(identity, isPlain(request));
  });
}

/** The body of a request, whose acting person `by` is the end user who asks, if it is one. */
function acting<T extends { by: string }>(request: FastifyRequest, schema: z.ZodType<T>): T {
  const body = schema.parse(request.body);
  checkIsFor(request.principal, body.by);
  return body;
}

/** The acting person where one need not be named: an end user is meant themselves. Null: an application that speaks for nobody. */
function actorOf({ principal }: FastifyRequest, by: string | undefined): string | null {
  if (by !== undefined) checkIsFor(principal, by);
  return by ?? (principal.kind === 'user' ? principal.identity : null);
}

function idOf(request: FastifyRequest): string {
  return params.parse(request.params).id;
}
