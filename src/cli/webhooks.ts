import * as z from 'zod';
import { deadLetterView, testView, webhookView } from '../contract/webhooks.ts';
import type { WebhookView } from '../contract/webhooks.ts';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import { alignRows } from '../report/columns.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { recorded } from './journal.ts';
import { askService } from './service-api.ts';

/** The endpoints that hear of events, and how they do. @throws what askService throws */
export async function listWebhooks(context: CliContext): Promise<void> {
  requireRoot('webhooks');
  const { reporter, language } = context;
  const webhooks = await endpointsOf(context);
  for (const line of alignRows(webhooks.map((one) => describe(one, language)))) reporter.line(line);
  if (webhooks.length === 0) reporter.say('WEBHOOKS_NONE');
  reporter.result({ webhooks });
}

/** What an endpoint did not take in time, the oldest first: 200 at most. @throws what askService throws */
export async function listDeadLetters(context: CliContext, id: string): Promise<void> {
  requireRoot('webhooks');
  const { reporter, language } = context;
  const answer = z.object({ letters: z.array(deadLetterView) });
  const found = await askService(loadSettings(context), { path: `/webhooks/${encodeURIComponent(id)}/dead-letters?limit=200`, answer, language });
  const letters = found?.letters ?? [];
  const rows = letters.map((one) => [String(one.letter), one.queuedAt, one.type, one.room, `${one.attempts} ×`, one.error]);
  for (const line of alignRows(rows, { right: [0, 4] })) reporter.line(line);
  if (letters.length === 0) reporter.say('DEAD_LETTERS_NONE');
  reporter.result({ letters });
}

/**
 * Sends again what an endpoint, or any, did not take in time. @param given.letters numbers with commas between; undefined: all
 * @throws FleetError BAD_OPTION_VALUE, and what askService throws
 */
export async function replayWebhooks(context: CliContext, id: string | undefined, given: { letters: string | undefined }): Promise<void> {
  requireRoot('webhooks');
  const { reporter, language } = context;
  const loaded = loadSettings(context);
  const body = given.letters === undefined ? {} : { letters: readNumbers(given.letters) };
  const ids = id === undefined ? (await endpointsOf(context)).filter(({ dead }) => dead > 0).map((one) => one.id) : [id];
  const count = await recorded(context, loaded, async () => {
    let sum = 0;
    for (const one of ids) {
      const path = `/webhooks/${encodeURIComponent(one)}/replay`;
      sum += (await askService(loaded, { method: 'POST', path, body, answer: z.object({ replayed: z.int() }), language }))?.replayed ?? 0;
    }
    return sum;
  });
  reporter.say('WEBHOOKS_REPLAYED', { count });
  reporter.result({ replayed: count });
}

/** Sends a test message to an endpoint, or to all that are switched on; 1 where one did not take it. @throws what askService throws */
export async function testWebhooks(context: CliContext, id: string | undefined): Promise<number> {
  requireRoot('webhooks');
  const { reporter, language } = context;
  const loaded = loadSettings(context);
  const one = id === undefined ? null : await askService(loaded, { path: `/webhooks/${encodeURIComponent(id)}`, answer: webhookView, language });
  const endpoints = one === null ? (await endpointsOf(context)).filter(({ enabled }) => enabled) : [one];
  if (endpoints.length === 0) reporter.say('WEBHOOKS_NONE');
  const results = [];
  for (const { id: endpoint, url } of endpoints) {
    const result = await askService(loaded, { method: 'POST', path: `/webhooks/${endpoint}/test`, answer: testView, language, timeoutMs: TEST_TIMEOUT_MS });
    if (result === null) continue;
    results.push({ id: endpoint, url, ...result });
    reporter.line(`${result.ok ? '✓' : '✗'} ${endpoint}  ${url}  ${result.ok ? `HTTP ${result.status}` : result.error}  ${result.ms} ms`);
  }
  reporter.result({ ok: results.every(({ ok }) => ok), tests: results });
  return results.every(({ ok }) => ok) ? 0 : 1;
}

/** An endpoint may take 30 s to answer. */
const TEST_TIMEOUT_MS = 40_000;

async function endpointsOf(context: CliContext): Promise<WebhookView[]> {
  const answer = z.object({ webhooks: z.array(webhookView) });
  return (await askService(loadSettings(context), { path: '/webhooks', answer, language: context.language }))?.webhooks ?? [];
}

function describe(one: WebhookView, language: CliContext['language']): string[] {
  const state =
    one.failingSince === null
      ? translate(language, 'WEBHOOK_WELL')
      : translate(language, 'WEBHOOK_FAILING', { since: one.failingSince, error: one.lastError ?? '' });
  const off = one.disabledReason === null ? translate(language, 'WEBHOOK_OFF') : translate(language, 'WEBHOOK_GONE');
  const queue = translate(language, 'WEBHOOK_QUEUE', { waiting: one.waiting, dead: one.dead });
  return [one.id, one.url, one.events.join(','), one.enabled ? state : off, queue];
}

function readNumbers(text: string): number[] {
  const words = text.split(/[\s,，]+/).filter((one) => one !== '');
  if (words.length === 0 || !words.every((one) => /^[1-9]\d{0,14}$/.test(one)))
    throw new FleetError('BAD_OPTION_VALUE', { option: '--letters', value: text }, { exitCode: 2 });
  return words.map(Number);
}
