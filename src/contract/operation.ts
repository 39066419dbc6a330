import type * as z from 'zod';
import type { ApiProblemCode } from './problems.ts';
import type { Scope } from './scopes.ts';

/** An operation of the HTTP API below /api/v1. Its path's `:id` is a room's, a call's or an endpoint's, `:identity` a person's. */
export interface Operation {
  /** As clients call it (OpenAPI's operationId). */
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** What a server token needs. */
  readonly scope: Scope;
  /** Of what end users may ask; absent: they may not. */
  readonly users?: { readonly zh: string; readonly en: string };
  readonly zh: string;
  readonly en: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  /** Null: 204 without a body. */
  readonly answer: z.ZodObject | null;
  readonly status: 200 | 201 | 204;
  /** An `Idempotency-Key` header: the same request with the same key within a day is one. */
  readonly hasIdempotencyKey?: boolean;
  /** Beside those that every operation may answer. */
  readonly problems: readonly ApiProblemCode[];
}
