import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import { createTokenSchema, tokenIdSchema } from '../../contract/tokens.ts';
import type { ServerTokens } from '../auth/server-tokens.ts';
import { HttpProblem } from '../problem.ts';

const params = z.object({ token: tokenIdSchema });

/** `/tokens` (contract/api.ts); who asks was let in before. */
export function addTokenRoutes(api: FastifyInstance, tokens: ServerTokens): void {
  api.post('/tokens', async (request, reply) => {
    const { principal } = request;
    if (principal.kind !== 'server') throw new HttpProblem('NOT_YOURS', { identity: principal.identity });
    return reply.code(201).send(await tokens.create(createTokenSchema.parse(request.body), principal));
  });
  api.get('/tokens', async () => ({ tokens: await tokens.list() }));
  api.delete('/tokens/:token', async (request, reply) => {
    await tokens.revoke(params.parse(request.params).token);
    return reply.code(204).send();
  });
}
