import * as z from 'zod';
import { operations } from './api.ts';
import type { Operation } from './api.ts';
import { apiProblems } from './problems.ts';
import type { ApiProblemCode } from './problems.ts';
import { identitySchema, roomIdSchema } from './rooms.ts';

/** What every operation may answer. */
const ALWAYS: readonly ApiProblemCode[] = ['BAD_REQUEST', 'UNAUTHORIZED', 'INTERNAL'];
const WITH_BODY: readonly ApiProblemCode[] = ['BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];
const problemSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'code', 'detail', 'instance'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: Object.keys(apiProblems) },
    detail: { type: 'string' },
    instance: { type: 'string' },
  },
};

/** The OpenAPI 3.1 document of the HTTP API (https://spec.openapis.org/oas/v3.1.0), made from the schemas that check requests. */
export function openApiDocument(language: 'zh' | 'en'): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const path = `/api/v1${operation.path.replaceAll(/:(\w+)/g, '{$1}')}`;
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: describe(operation, language) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'livekit-fleet', version: '1' },
    paths,
    security: [{ token: [] }],
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } }, schemas: { Problem: problemSchema } },
  };
}

function describe(operation: Operation, language: 'zh' | 'en'): unknown {
  const { method, path, query, body, answer, status, problems } = operation;
  return {
    summary: operation[language],
    operationId: `${method.toLowerCase()}${path.replaceAll(/[/:]+(\w)/g, (_all, letter: string) => letter.toUpperCase())}`,
    parameters: [
      ...[...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        schema: schemaOf(name === 'id' ? roomIdSchema : identitySchema, 'input'),
      })),
      ...Object.entries(query?.shape ?? {}).map(([name, schema]) => ({ name, in: 'query', schema: schemaOf(schema as z.ZodType, 'input') })),
      ...(method === 'POST' && path === '/rooms' ? [{ name: 'Idempotency-Key', in: 'header', schema: { type: 'string', maxLength: 255 } }] : []),
    ],
    ...(body === undefined ? {} : { requestBody: { required: path !== '/rooms', content: { 'application/json': { schema: schemaOf(body, 'input') } } } }),
    responses: {
      [status]: { description: 'OK', ...(answer === null ? {} : { content: { 'application/json': { schema: schemaOf(answer, 'output') } } }) },
      ...problemsOf([...ALWAYS, ...(body === undefined ? [] : WITH_BODY), ...problems], language),
    },
  };
}

/** By status, since that is how OpenAPI knows them. */
function problemsOf(codes: readonly ApiProblemCode[], language: 'zh' | 'en'): Record<string, unknown> {
  const byStatus = Map.groupBy(codes, (code) => apiProblems[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      String(status),
      {
        description: some.map((code) => `${code}: ${apiProblems[code][language]}`).join('; '),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  );
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): unknown {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
