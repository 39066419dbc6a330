import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import { roomIdSchema } from '../../contract/rooms.ts';
import { createWebhookSchema, listDeadLettersSchema, replaySchema, rotateSecretSchema, updateWebhookSchema } from '../../contract/webhooks.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';

const params = z.object({ id: roomIdSchema });

/** `/webhooks` and what is below (contract/webhooks-api.ts); who asks was let in before. */
export function addWebhookRoutes(api: FastifyInstance, webhooks: Webhooks): void {
  api.post('/webhooks', async (request, reply) => reply.code(201).send(await webhooks.create(createWebhookSchema.parse(request.body))));
  api.get('/webhooks', async () => ({ webhooks: await webhooks.list() }));
  api.get('/webhooks/:id', (request) => webhooks.read(idOf(request)));
  api.patch('/webhooks/:id', async (request) => webhooks.update(idOf(request), updateWebhookSchema.parse(request.body)));
  api.delete('/webhooks/:id', async (request, reply) => {
    await webhooks.remove(idOf(request));
    return reply.code(204).send();
  });
  api.post('/webhooks/:id/rotate', async (request) => webhooks.rotate(idOf(request), rotateSecretSchema.parse(request.body ?? {})));
  api.post('/webhooks/:id/test', (request) => webhooks.test(idOf(request)));
  api.get('/webhooks/:id/dead-letters', async (request) => {
    const { limit, cursor = 0 } = listDeadLettersSchema.parse(request.query);
    const found = await webhooks.deadLetters(idOf(request), { limit, cursor });
    return { letters: found, cursor: found.length === limit ? String(found.at(-1)?.letter) : null };
  });
  api.post('/webhooks/:id/replay', async (request) => ({ replayed: await webhooks.replay(idOf(request), replaySchema.parse(request.body ?? {})) }));
}

function idOf(request: { params: unknown }): string {
  return params.parse(request.params).id;
}
