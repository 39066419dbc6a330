import type { ErrorParams } from '../errors.ts';
import { en } from './en.ts';
import { zh } from './zh.ts';

/** Language of everything that people read. */
export type Language = 'zh' | 'en';

/** The text of a code in a language; the code itself where no catalogue knows it. */
export function translate(language: Language, code: string, params: ErrorParams = {}): string {
  const template = (language === 'zh' ? zh : en)[code] ?? code;
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}

/** `--lang` first, then LC_ALL, LC_MESSAGES, LANG: Chinese where it starts with zh, else English. */
export function chooseLanguage(given: string | undefined, environment: Readonly<Record<string, string | undefined>>): Language {
  const text = given ?? (environment['LC_ALL'] || environment['LC_MESSAGES'] || environment['LANG'] || '');
  return text.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}
