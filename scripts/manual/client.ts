import * as z from 'zod';
import { operations } from '../../src/contract/api.ts';
import type { Operation } from '../../src/contract/operation.ts';
import { apiProblems } from '../../src/contract/problems.ts';

interface Schema {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

/** `packages/client/src/contract.ts`: the API's operations as the client knows them, types without zod. */
export function renderClientContract(): string {
  return `// Made from src/contract by \`npm run docs\`.

/** A \`code\` of a problem answer. */
export type ProblemCode =
${Object.keys(apiProblems)
  .map((code) => `  | '${code}'`)
  .join('\n')};

/** Method and path of each operation; \`:name\` is given as an argument, in this order. */
export const routes = {
${operations.map(({ name, method, path }) => `  ${name}: ['${method}', '${path}'],`).join('\n')}
} as const;

/** The operations that take a body or a query. */
export const takesInput: ReadonlySet<string> = new Set([${operations
    .filter(({ query, body }) => (body ?? query) !== undefined)
    .map(({ name }) => `'${name}'`)
    .join(', ')}]);

/** What a request may be given besides what it is about. */
export interface RequestOptions {
  /** The same key with the same request makes one room within a day. */
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

/** Every operation of the API. Each rejects with an ApiError. */
export interface Operations {
${operations.map(renderOperation).join('\n')}
}
`;
}

function renderOperation({ name, path, zh, en, query, body, answer }: Operation): string {
  const params = [...path.matchAll(/:(\w+)/g)].map(([, param]) => `${param}: string`);
  const input = body === undefined ? query : body;
  const given =
    input === undefined ? [] : [`${isOptional(input, body === undefined) ? 'given?' : 'given'}: ${typeOf(schemaOf(input, 'input'), 1, body === undefined)}`];
  const result = answer === null ? 'void' : typeOf(schemaOf(answer, 'output'), 1, false);
  return `  /** ${en}. ${zh}。 */\n  ${name}(${[...params, ...given, 'options?: RequestOptions'].join(', ')}): Promise<${result}>;`;
}

function isOptional(schema: z.ZodType, isQuery: boolean): boolean {
  return isQuery || (schemaOf(schema, 'input').required ?? []).length === 0;
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Schema {
  return z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' }) as Schema;
}

/** @param isText a query: what is no list of texts is text or number */
function typeOf(schema: Schema, depth: number, isText: boolean): string {
  const { type, anyOf, oneOf, items, properties, additionalProperties } = schema;
  if (schema.const !== undefined) return literal(schema.const);
  if (schema.enum !== undefined) return schema.enum.map(literal).join(' | ');
  const some = anyOf ?? oneOf;
  if (some !== undefined) return [...new Set(some.map((one) => typeOf(one, depth, isText)))].join(' | ');
  if (Array.isArray(type)) return type.map((one: string) => typeOf({ ...schema, type: one }, depth, isText)).join(' | ');
  switch (type) {
    case 'string':
    case 'boolean':
    case 'null':
      return type;
    case 'integer':
    case 'number':
      return 'number';
    case 'array':
      return `Array<${typeOf(items ?? {}, depth, isText)}>`;
    case 'object': {
      if (properties === undefined || Object.keys(properties).length === 0)
        return `Record<string, ${typeof additionalProperties === 'object' ? typeOf(additionalProperties, depth, isText) : 'unknown'}>`;
      const indent = '  '.repeat(depth + 1);
      const lines = Object.entries(properties).map(
        ([key, one]) =>
          `${indent}${/^\w+$/.test(key) ? key : `'${key}'`}${schema.required?.includes(key) === true ? '' : '?'}: ${typeOf(one, depth + 1, isText)}${schema.required?.includes(key) === true ? '' : ' | undefined'};`,
      );
      return `{\n${lines.join('\n')}\n${'  '.repeat(depth)}}`;
    }
    default:
      // What a query coerces says nothing of what it takes.
      return isText ? 'string | number | boolean' : 'unknown';
  }
}

function literal(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
}
