import { execa } from 'execa';

/**
 * Runs a program that kills itself right before one of its acts (see deathBefore), or that is killed.
 * What V8 compiled of its sources is kept: it takes as long as all the rest.
 * @param program path of it
 */
export const runMortal = (program: string, words: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  execa(process.execPath, ['--import', `${import.meta.dirname}/keep-compiled.ts`, program, ...words], { env, reject: false });
