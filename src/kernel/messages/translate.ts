import type { ErrorParams } from '../errors.ts';
import { translateDetail } from './details.ts';
import { causes, en, problems } from './en.ts';
import type { CauseCode, MessageCode, ProblemCode } from './en.ts';
import { zh } from './zh.ts';

/** Language of everything that people read. */
export type Language = 'zh' | 'en';

/** The text of a code in a language; a placeholder without a parameter stays as it is. */
export function translate(language: Language, code: MessageCode, params: ErrorParams = {}): string {
  return (language === 'zh' ? zh : en)[code].replace(/\{(\w+)\}/g, (whole, name: string) => inLanguage(language, name, String(params[name] ?? whole)));
}

/** Parameters that say something in words themselves. */
function inLanguage(language: Language, name: string, value: string): string {
  if (name === 'detail' || name === 'reason') return translateDetail(language, value);
  // As NOT_HEALTHY has them: `caddy (timeout), redis (HTTP 500)`.
  if (name === 'parts') return value.replaceAll(/\(([^()]*)\)/g, (_whole, detail: string) => `(${translateDetail(language, detail)})`);
  return value;
}

/** `--lang` first, then LC_ALL, LC_MESSAGES, LANG: Chinese where it starts with zh, else English. */
export function chooseLanguage(given: string | undefined, environment: Readonly<Record<string, string | undefined>>): Language {
  const text = given ?? (environment['LC_ALL'] || environment['LC_MESSAGES'] || environment['LANG'] || '');
  return text.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

/** True for the code of a problem with the settings. */
export function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(problems, code);
}

/** True for a cause that `verify` knows. */
export function isCauseCode(code: string): code is CauseCode {
  return Object.hasOwn(causes, code);
}
