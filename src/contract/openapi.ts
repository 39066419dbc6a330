import * as z from 'zod';
import { operations } from './api.ts';
import type { Operation } from './operation.ts';
import { apiProblems } from './problems.ts';
import type { ApiProblemCode } from './problems.ts';
import { identitySchema, roomIdSchema } from './rooms.ts';
import { tokenIdSchema } from './tokens.ts';

/** What every operation may answer. */
const ALWAYS: readonly ApiProblemCode[] = ['BAD_REQUEST', 'UNAUTHORIZED', 'FORBIDDEN', 'RATE_LIMITED', 'INTERNAL', 'DATABASE_UNAVAILABLE'];
/** What it may answer to an end user. */
const OF_USERS: readonly ApiProblemCode[] = ['NOT_YOURS', 'AUTH_UNAVAILABLE'];
const WITH_BODY: readonly ApiProblemCode[] = ['BODY_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];
/** Those of paths. */
const PARAMETERS: Readonly<Record<string, z.ZodType>> = { id: roomIdSchema, identity: identitySchema, token: tokenIdSchema };
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
    components: { securitySchemes: describeSecurity(language), schemas: { Problem: problemSchema } },
  };
}

function describeSecurity(language: 'zh' | 'en'): unknown {
  const say = (zh: string, en: string): string => (language === 'zh' ? zh : en);
  return {
    token: { type: 'http', scheme: 'bearer', description: say('服务端 token；列出所需权限', 'A server token; the scopes that it needs are listed') },
    user: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: say('终端用户的 JWT（AUTH_JWKS）', 'An end user’s JWT (AUTH_JWKS)') },
  };
}

function describe(operation: Operation, language: 'zh' | 'en'): unknown {
  const { name: operationId, path, scope, users, query, body, answer, status, problems } = operation;
  return {
    summary: operation[language],
    operationId,
    security: [{ token: [scope] }, ...(users === undefined ? [] : [{ user: [] }])],
    ...(users === undefined ? {} : { description: `${language === 'zh' ? '终端用户：' : 'End users: '}${users[language]}` }),
    parameters: [
      ...[...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
        name,
        in: 'path',
        required: true,
        schema: schemaOf(PARAMETERS[name ?? ''] ?? identitySchema, 'input'),
      })),
      ...Object.entries(query?.shape ?? {}).map(([name, schema]) => ({ name, in: 'query', schema: schemaOf(schema as z.ZodType, 'input') })),
      ...(operation.hasIdempotencyKey === true ? [{ name: 'Idempotency-Key', in: 'header', schema: { type: 'string', maxLength: 255 } }] : []),
    ],
    ...(body === undefined
      ? {}
      : { requestBody: { required: !body.safeParse({}).success, content: { 'application/json': { schema: schemaOf(body, 'input') } } } }),
    responses: {
      [status]: { description: 'OK', ...(answer === null ? {} : { content: { 'application/json': { schema: schemaOf(answer, 'output') } } }) },
      ...problemsOf([...ALWAYS, ...(users === undefined ? [] : OF_USERS), ...(body === undefined ? [] : WITH_BODY), ...problems], language),
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
