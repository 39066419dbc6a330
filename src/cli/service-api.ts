import * as z from 'zod';
import { errorCode, sendRequest } from '../clients/http-request.ts';
import type { HttpRequest } from '../clients/http-request.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Language } from '../kernel/messages/translate.ts';
import { parseJson } from '../kernel/parse-json.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';

/** The slowest request waits 5 s for LiveKit; twice that. */
const TIMEOUT_MS = 10_000;
const problemSchema = z.object({ code: z.string(), detail: z.string() });

/** One request to this machine's business service. */
export interface ServiceCall<T> extends Pick<HttpRequest, 'method'> {
  /** Below /api/v1. */
  readonly path: string;
  readonly body?: unknown;
  /** Null where it answers without a body. */
  readonly answer: z.ZodType<T> | null;
  readonly language: Language;
  /** Where it may take longer than most. */
  readonly timeoutMs?: number;
}

/** Asks the business service of this machine, with SERVICE_API_TOKEN. @throws FleetError SERVICE_ELSEWHERE, NOT_DEPLOYED, SERVICE_SILENT, SERVICE_REFUSED */
export async function askService<T>({ settings, topology }: { settings: Settings; topology: Topology }, call: ServiceCall<T>): Promise<T | null> {
  if (!topology.parts.includes('service')) throw new FleetError('SERVICE_ELSEWHERE', {}, { exitCode: 2 });
  if (settings.SERVICE_API_TOKEN === '') throw new FleetError('NOT_DEPLOYED', { path: topology.layout.root });
  const url = `http://${topology.serviceUpstream}`;
  const { method = 'GET', path, body, language, timeoutMs = TIMEOUT_MS } = call;
  const { status, text } = await sendRequest({
    url: `${url}/api/v1${path}`,
    method,
    headers: {
      authorization: `Bearer ${settings.SERVICE_API_TOKEN}`,
      'accept-language': language,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    timeoutMs,
  }).catch((error: unknown) => {
    throw new FleetError('SERVICE_SILENT', { url, reason: errorCode(error) }, { cause: error });
  });
  if (status >= 300) {
    const { code, detail } = parseJson(problemSchema, text) ?? { code: `HTTP ${status}`, detail: text.slice(0, 200) };
    throw new FleetError('SERVICE_REFUSED', { code, detail });
  }
  if (call.answer === null) return null;
  const answer = parseJson(call.answer, text);
  if (answer === null) throw new FleetError('SERVICE_REFUSED', { code: `HTTP ${status}`, detail: text.slice(0, 200) });
  return answer;
}
