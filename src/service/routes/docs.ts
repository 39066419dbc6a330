import type { FastifyInstance } from 'fastify';
import { openApiDocument } from '../../contract/openapi.ts';
import { preferredLanguage } from '../problem.ts';

/** `/api/docs`, open to all: the OpenAPI document, in the language that is asked for. */
export function addDocsRoute(app: FastifyInstance): void {
  app.get('/api/docs', (request, reply) => {
    const language = preferredLanguage(request.headers['accept-language']);
    return reply.header('content-language', language).header('vary', 'accept-language').send(openApiDocument(language));
  });
}
