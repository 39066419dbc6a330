import type { FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import zhCN from 'zod/v4/locales/zh-CN.js';
import { apiProblems, problemDetail } from '../contract/problems.ts';
import type { ApiProblemCode, ProblemParams } from '../contract/problems.ts';
import { DatabaseUnavailable } from './store/database.ts';

/** Codes of what Fastify itself refuses. */
const CODES: ReadonlyMap<number, ApiProblemCode> = new Map([
  [413, 'BODY_TOO_LARGE'],
  [415, 'UNSUPPORTED_MEDIA_TYPE'],
]);

/** An answer in RFC 9457 form; `code` is stable and for programs, and names its texts (contract/problems.ts), which `params` fill. */
export class HttpProblem<C extends ApiProblemCode = ApiProblemCode> extends Error {
  override readonly name = 'HttpProblem';
  readonly code: ApiProblemCode;
  readonly params: Readonly<Record<string, string | number>>;

  constructor(
    code: C,
    ...[params, options]: ProblemParams<C> extends Record<string, never>
      ? [params?: ProblemParams<C>, options?: ErrorOptions]
      : [params: ProblemParams<C>, options?: ErrorOptions]
  ) {
    super(problemDetail(code, params ?? {}, 'en'), options);
    this.code = code;
    this.params = params ?? {};
  }
}

/** @throws HttpProblem 404 NOT_FOUND */
export function refuseUnknown(): never {
  throw new HttpProblem('NOT_FOUND');
}

/** Answers with what went wrong; of what nobody foresaw only the log tells more. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const language = preferredLanguage(request.headers['accept-language']);
  const { code, params } = toProblem(error, language);
  const { status } = apiProblems[code];
  if (status >= 500) request.log.error({ err: error }, code);
  // What is refused before its body came is not read to its end.
  if (!request.raw.complete) void reply.header('connection', 'close');
  // RFC 6750, 3: a bearer token is what is asked for.
  if (status === 401) void reply.header('www-authenticate', 'Bearer');
  if (code === 'RATE_LIMITED') void reply.header('retry-after', String(params['seconds']));
  return reply
    .code(status)
    .type('application/problem+json')
    .header('content-language', language)
    .send({ type: 'about:blank', title: apiProblems[code][language], status, code, detail: problemDetail(code, params, language), instance: request.url });
}

function toProblem(error: unknown, language: 'zh' | 'en'): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof z.ZodError)
    return new HttpProblem('BAD_REQUEST', { issues: error.issues.map((issue) => `${issue.path.join('.')}: ${describeIssue(issue, language)}`).join('; ') });
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500) {
    const code = CODES.get(error.statusCode);
    return code === 'BODY_TOO_LARGE' || code === 'UNSUPPORTED_MEDIA_TYPE' ? new HttpProblem(code) : new HttpProblem('BAD_REQUEST', { issues: error.message });
  }
  if (error instanceof DatabaseUnavailable) return new HttpProblem('DATABASE_UNAVAILABLE');
  return new HttpProblem('INTERNAL');
}

const chinese = zhCN().localeError;

/** Zod writes English when it finds an issue, and no longer knows what it found when it is asked for Chinese. */
function describeIssue(issue: z.core.$ZodIssue, language: 'zh' | 'en'): string {
  if (language === 'en' || issue.code === 'custom') return issue.message;
  const said = chinese(issue as z.core.$ZodRawIssue);
  const [, received = '?'] = /received (.+)$/.exec(issue.message) ?? [];
  return ((typeof said === 'string' ? said : said?.message) ?? issue.message).replace(/(?<=，实际接收 )undefined$/, received);
}

/** The first of ours that an Accept-Language header (RFC 9110, 12.5.4) likes best; English where it names none. */
export function preferredLanguage(header: string | undefined): 'zh' | 'en' {
  const wanted = (header ?? '').split(',').flatMap((part) => {
    const [, language, quality = '1'] = /^\s*(zh|en)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+))?\s*$/i.exec(part) ?? [];
    return language === undefined ? [] : [{ language: language.toLowerCase(), quality: Number(quality) }];
  });
  return wanted.toSorted((a, b) => b.quality - a.quality)[0]?.language === 'zh' ? 'zh' : 'en';
}
