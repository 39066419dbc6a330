import * as z from 'zod';
import { newTokenView, tokenView } from '../contract/tokens.ts';
import type { TokenView } from '../contract/tokens.ts';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import { alignRows } from '../report/columns.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { recorded } from './journal.ts';
import { askService } from './service-api.ts';

const UNITS_MS = { h: 3_600_000, d: 86_400_000, y: 365 * 86_400_000 } as const;

/**
 * Makes a server token and shows it, the only time. @param given.expires `90d`, `12h`, `1y` or a date
 * @throws FleetError BAD_OPTION_VALUE, and what askService throws
 */
export async function addToken(context: CliContext, name: string, given: { scopes: string; expires: string | undefined }): Promise<void> {
  requireRoot('tokens');
  const { reporter, language } = context;
  const loaded = loadSettings(context);
  const scopes = given.scopes.split(/[\s,，]+/).filter((one) => one !== '');
  const body = { name, scopes, ...(given.expires === undefined ? {} : { expiresAt: readTime(given.expires, Date.now()) }) };
  const made = await recorded(context, loaded, () => askService(loaded, { method: 'POST', path: '/tokens', body, answer: newTokenView, language }));
  if (made === null) return;
  reporter.say('TOKEN_MADE', { id: made.id, scopes: made.scopes.join(' ') });
  reporter.line(made.token);
  reporter.result(made);
}

/** The server tokens, without what they are. @throws what askService throws */
export async function listTokens(context: CliContext): Promise<void> {
  requireRoot('tokens');
  const { reporter, language } = context;
  const found = await askService(loadSettings(context), { path: '/tokens', answer: z.object({ tokens: z.array(tokenView) }), language });
  const tokens = found?.tokens ?? [];
  for (const line of alignRows(tokens.map((one) => describe(one, language)))) reporter.line(line);
  if (tokens.length === 0) reporter.say('TOKENS_NONE');
  reporter.result({ tokens });
}

/** @throws what askService throws */
export async function revokeToken(context: CliContext, id: string): Promise<void> {
  requireRoot('tokens');
  const { reporter, language } = context;
  const loaded = loadSettings(context);
  const path = `/tokens/${encodeURIComponent(id)}`;
  await recorded(context, loaded, () => askService(loaded, { method: 'DELETE', path, answer: null, language }));
  reporter.say('TOKEN_REVOKED', { id });
  reporter.result({ revoked: id });
}

function describe({ id, name, scopes, expiresAt, lastUsedAt }: TokenView, language: CliContext['language']): string[] {
  const lasts = expiresAt === null ? translate(language, 'TOKEN_LASTS') : translate(language, 'TOKEN_EXPIRES', { at: expiresAt });
  const used = lastUsedAt === null ? translate(language, 'TOKEN_UNUSED') : translate(language, 'TOKEN_USED', { at: lastUsedAt });
  return [id, name, scopes.join(' '), lasts, used];
}

function readTime(text: string, nowMs: number): string {
  const [, count, unit] = /^([1-9]\d{0,4})([hdy])$/.exec(text) ?? [];
  const atMs = unit === undefined ? Date.parse(text) : nowMs + Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS];
  if (Number.isNaN(atMs) || atMs <= nowMs) throw new FleetError('BAD_OPTION_VALUE', { option: '--expires', value: text }, { exitCode: 2 });
  return new Date(atMs).toISOString();
}
