import type { FastifyInstance } from 'fastify';
import { openApiDocument } from '../../contract/openapi.ts';
import { preferredLanguage } from '../problem.ts';

/** `/api/docs`, open to all: the OpenAPI document, in the language that is asked for. */
export function addDocsRoute(app: FastifyInstance): void {
  const documents: { zh?: string; en?: string } = {};
  app.get('/api/docs', (request, reply) => {
    const language = preferredLanguage(request.headers['accept-language']);
    const document = (documents[language] ??= JSON.stringify(openApiDocument(language)));
    return reply
      .type('application/json')
      .header('content-language', language)
      .header('vary', 'accept-language, origin')
      .header('cache-control', 'no-cache')
      .send(document);
  });
}
