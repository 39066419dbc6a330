import type { FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { apiProblems } from '../contract/problems.ts';
import type { ApiProblemCode } from '../contract/problems.ts';

/** Codes of what Fastify itself refuses. */
const CODES: ReadonlyMap<number, ApiProblemCode> = new Map([
  [413, 'BODY_TOO_LARGE'],
  [415, 'UNSUPPORTED_MEDIA_TYPE'],
]);

/** An answer in RFC 9457 form; `code` is stable and for programs. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly status: number;
  readonly code: ApiProblemCode;
  constructor(status: number, code: ApiProblemCode, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.status = status;
    this.code = code;
  }
}

/** @throws HttpProblem 404 NOT_FOUND */
export function refuseUnknown(): never {
  throw new HttpProblem(404, 'NOT_FOUND', 'There is nothing at this address');
}

/** Answers with what went wrong; of what nobody foresaw only the log tells more. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, code, message } = toProblem(error);
  const language = preferredLanguage(request.headers['accept-language']);
  if (status >= 500) request.log.error({ err: error }, code);
  // What is refused before its body came is not read to its end.
  if (!request.raw.complete) void reply.header('connection', 'close');
  return reply
    .code(status)
    .type('application/problem+json')
    .header('content-language', language)
    .send({ type: 'about:blank', title: apiProblems[code][language], status, code, detail: message, instance: request.url });
}

function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof z.ZodError)
    return new HttpProblem(400, 'BAD_REQUEST', error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '));
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500)
    return new HttpProblem(error.statusCode, CODES.get(error.statusCode) ?? 'BAD_REQUEST', error.message);
  return new HttpProblem(500, 'INTERNAL', 'Something went wrong; the log has the details');
}

/** The first of ours that an Accept-Language header (RFC 9110, 12.5.4) likes best; English where it names none. */
export function preferredLanguage(header: string | undefined): 'zh' | 'en' {
  const wanted = (header ?? '').split(',').flatMap((part) => {
    const [, language, quality = '1'] = /^\s*(zh|en)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+))?\s*$/i.exec(part) ?? [];
    return language === undefined ? [] : [{ language: language.toLowerCase(), quality: Number(quality) }];
  });
  return wanted.toSorted((a, b) => b.quality - a.quality)[0]?.language === 'zh' ? 'zh' : 'en';
}
