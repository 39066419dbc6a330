import { globSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { apiProblems } from '../../src/contract/problems.ts';
import type { ApiProblemCode } from '../../src/contract/problems.ts';
import { FleetError } from '../../src/kernel/errors.ts';
import { causes, en, errors, problems } from '../../src/kernel/messages/en.ts';
import type { MessageCode } from '../../src/kernel/messages/en.ts';
import { renderClientContract } from '../../scripts/manual/client.ts';
import { exitCodes, renderErrors } from '../../scripts/manual/errors.ts';
import { translate } from '../../src/kernel/messages/translate.ts';
import { zh } from '../../src/kernel/messages/zh.ts';
import { renderExample } from '../../src/settings/example.ts';
import { renderManual } from '../../scripts/manual/settings.ts';
import { schema } from '../../src/settings/schema.ts';

const codes = Object.keys(en) as MessageCode[];
const sources = globSync('src/**/*.ts', { exclude: ['src/kernel/messages/**'] }).map((path) => readFileSync(path, 'utf8'));
const placeholders = (text: string): string[] => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? ''))].toSorted();

/** That a code exists and is given its parameters is the compiler's business; `npm run typecheck` fails where one of these passes. */
export function refusedByTheCompiler(): unknown[] {
  // @ts-expect-error no such code
  const unknown = new FleetError('NO_SUCH_CODE');
  // @ts-expect-error a parameter of the text is missing
  const missing = new FleetError('LOCKED', { command: 'deploy', pid: 7 });
  // @ts-expect-error a parameter that the text does not have
  const surplus = new FleetError('INTERRUPTED', { part: 'caddy' });
  // @ts-expect-error no parameters at all
  const none = new FleetError('NOT_DEPLOYED');
  return [unknown, missing, surplus, none];
}

describe('message catalogues', () => {
  it('have the same codes and the same placeholders', () => {
    expect(Object.keys(zh).toSorted()).toEqual(codes.toSorted());
    for (const code of codes) expect([code, placeholders(zh[code])]).toEqual([code, placeholders(en[code])]);
  });

  it('have no text that nothing uses', () => {
    expect(codes.filter((code) => !sources.some((text) => text.includes(`'${code}'`)))).toEqual([]);
  });

  it('are Chinese in the one and hold no Chinese but the commands in the other', () => {
    for (const code of codes) {
      expect([code, /\p{Script=Han}/u.test(zh[code])]).toEqual([code, true]);
      expect([code, /\p{Script=Han}/u.test(en[code].replaceAll('./部署.sh', ''))]).toEqual([code, false]);
    }
  });

  it('fill problems with {hint} alone', () => {
    for (const text of Object.values(problems)) expect(placeholders(text).filter((name) => name !== 'hint')).toEqual([]);
  });

  it('leave no placeholder open when filled', () => {
    expect(translate('en', 'PORT_TAKEN', { port: 1, use: 'a', program: 'b', variable: 'C' })).toBe(
      'Port 1 (a) is used by b. Stop that program, or set C to another port in .env.',
    );
    expect(translate('zh', 'LOCKED', { command: 'deploy', pid: 7, path: '/x' })).toBe('另一个命令正持有锁：deploy（pid 7）。请等它结束；锁文件：/x。');
  });
});

describe('problems of the HTTP API', () => {
  const all = Object.entries(apiProblems) as Array<[ApiProblemCode, { zh: string; en: string; detail?: { zh: string; en: string } }]>;
  it.each(all)('%s says the same in both languages', (_code, { zh: title, en: english, detail }) => {
    expect(placeholders(detail?.zh ?? '')).toEqual(placeholders(detail?.en ?? ''));
    // Of some the parameters say all.
    for (const text of [title, ...(detail === undefined ? [] : [detail.zh])].filter((one) => one.replaceAll(/\{\w+\}/g, '') !== ''))
      expect(text).toMatch(/\p{Script=Han}/u);
    for (const text of [english, detail?.en ?? '']) expect(text.replaceAll('./部署.sh', '')).not.toMatch(/\p{Script=Han}/u);
    expect(`${title}${english}`).not.toMatch(/[{}]/);
  });
});

describe('docs made from the code (npm run docs)', () => {
  it.each([
    ['docs/errors.md', renderErrors],
    ['docs/settings.md', renderManual],
    ['.env.example', renderExample],
    ['packages/client/src/contract.ts', renderClientContract],
  ])('%s is current', (path, render) => {
    expect(readFileSync(path, 'utf8')).toBe(render());
  });

  it('explain every code and every variable', () => {
    for (const code of [...Object.keys(errors), ...Object.keys(problems), ...Object.keys(causes)]) expect(renderErrors()).toContain(`| \`${code}\` |`);
    for (const name of Object.keys(schema)) expect(renderManual()).toContain(`| \`${name}\` |`);
  });

  it('explain every code of the HTTP API with the status that it has', () => {
    for (const [code, { status }] of Object.entries(apiProblems)) expect(renderErrors()).toContain(`| \`${code}\` | ${status} |`);
    expect(Object.keys(apiProblems).filter((code) => !sources.some((text) => text.includes(`'${code}'`)))).toEqual([]);
  });

  it('explain every exit code that the code uses', () => {
    const used = sources.flatMap((text) => [...text.matchAll(/exitCode(?:: | = | \?\? )(\d+)/g)].map((match) => Number(match[1])));
    expect(used.length).toBeGreaterThan(3);
    const known = exitCodes.map((one) => one.code);
    expect(used.filter((code) => !known.includes(code))).toEqual([]);
  });
});
