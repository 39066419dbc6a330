import type { FleetEvent } from '../kernel/events.ts';
import type { ErrorParams } from '../kernel/errors.ts';
import type { ErrorCode, MessageCode, Params, TextCode } from '../kernel/messages/en.ts';
import { translateDetail } from '../kernel/messages/details.ts';
import { translate } from '../kernel/messages/translate.ts';
import type { Language } from '../kernel/messages/translate.ts';
import type { Problem } from '../settings/problem.ts';

/** The only place that prints: text for people, or JSON lines for programs. */
export interface Reporter {
  emit(event: FleetEvent): void;
  /** A message by code. */
  say<C extends TextCode>(code: C, ...params: Params<C> extends Record<string, never> ? [] : [Params<C>]): void;
  /** A line as it is (tables, log lines). */
  line(text: string): void;
  /** The result for a program; printed only with --json. */
  result(value: unknown): void;
  problems(problems: readonly Problem[]): void;
  error(code: ErrorCode, params: ErrorParams): void;
}

/** Text goes to `out`, errors to `err`; with `isJson` one JSON document a line goes to `out`, progress to nowhere. */
export function createReporter(options: { language: Language; isJson: boolean; out: (text: string) => void; err: (text: string) => void }): Reporter {
  const { language, isJson, out, err } = options;
  const text = (code: MessageCode, params?: ErrorParams): string => translate(language, code, params);
  const spoken = (detail: string): string => translateDetail(language, detail);
  const line = (content: string): void => {
    if (!isJson) out(`${content}\n`);
  };
  const progress = new Map<string, string>();
  return {
    line,
    say: (code, ...[params]) => line(text(code, params)),
    emit(event) {
      switch (event.kind) {
        case 'step-started':
          line(`▸ ${text(event.code, event.params)}`);
          break;
        case 'step-progress':
          if (progress.get(event.id) !== event.detail) line(`    ${spoken(event.id)}: ${spoken(event.detail)}`);
          progress.set(event.id, event.detail);
          break;
        case 'step-finished':
          line(`  ✓ ${spoken(event.id)}${event.detail === undefined ? '' : ` ${spoken(event.detail)}`} (${(event.ms / 1000).toFixed(1)} s)`);
          break;
        case 'step-failed':
          line(`  ✗ ${spoken(event.id)}: ${spoken(event.detail)} (${(event.ms / 1000).toFixed(1)} s)`);
          break;
        case 'note':
          line(`  ${text(event.code, event.params)}`);
          break;
      }
    },
    result(value) {
      if (isJson) out(`${JSON.stringify(value)}\n`);
    },
    problems(problems) {
      if (isJson) out(`${JSON.stringify({ error: 'SETTINGS_INVALID', problems })}\n`);
      for (const one of problems) {
        const place = one.line === null ? text('FROM_COMMAND_LINE') : `.env ${text('LINE', { line: one.line })}`;
        const what = [one.variable, one.value === null ? null : `(${one.value})`].filter((word) => word !== null).join(' ');
        err(`${place}: ${what === '' ? '' : `${what} – `}${text(one.code, { hint: one.hint ?? '' })}\n`);
      }
      err(`${text('SETTINGS_INVALID', { count: problems.length })}\n`);
    },
    error(code, params) {
      if (isJson) out(`${JSON.stringify({ error: code, ...params })}\n`);
      err(`✗ ${text(code, params)}\n`);
    },
  };
}
