import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editEnv, readEnv } from '../../src/settings/env-file.ts';
import { renderExample } from '../../src/settings/example.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { missingSecrets } from '../../src/settings/secrets.ts';

const codes = (text: string, environment = {}): string[] => parseSettings(text, environment).problems.map((one) => `${one.code} ${one.variable} ${one.line}`);

describe('settings', () => {
  it('accepts its own example, and the example file is the generated one', () => {
    expect(readFileSync('.env.example', 'utf8')).toBe(renderExample());
    expect(parseSettings(renderExample(), {}).problems).toEqual([]);
  });

  it('reads BOM, CRLF, quotes, spaces and full-width characters', () => {
    const { settings } = parseSettings(
      '\uFEFFDOMAIN = "a.example.com"\r\nNODES＝１９２.168.1.2，192.168.1.3\r\nexport LOG_LEVEL=\'warn\' \r\nREDIS_HOST=192.168.1.2        # 指向机器 2\r\n',
      {},
    );
    expect(settings).toMatchObject({ DOMAIN: 'a.example.com', NODES: ['192.168.1.2', '192.168.1.3'], LOG_LEVEL: 'warn', REDIS_HOST: '192.168.1.2' });
  });

  it('lets the command line beat the file', () => {
    const parsed = parseSettings('NODES=localhost\n', { NODES: '10.0.0.1' });
    expect(parsed.settings?.NODES).toEqual(['10.0.0.1']);
    expect(parsed.origins.NODES).toBe('command-line');
  });

  it('reports every problem at once, with its line', () => {
    expect(codes('DOMIAN=x\nHTTP_PORT=70000\nNODES=1.2.3\nNODES=localhost\njust words\nLOG_LEVEL=loud\nDOMAIN="a')).toEqual([
      'NOT_AN_ASSIGNMENT null 5',
      'UNCLOSED_QUOTE null 7',
      'UNKNOWN_VARIABLE DOMIAN 1',
      'DUPLICATE_VARIABLE NODES 4',
      'NOT_NODES NODES 3',
      'NOT_A_PORT HTTP_PORT 2',
      'NOT_ONE_OF LOG_LEVEL 6',
    ]);
    expect(parseSettings('DOMIAN=x', {}).problems[0]?.hint).toBe('DOMAIN');
  });

  it('never carries a secret in a problem', () => {
    const { problems } = parseSettings('LIVEKIT_API_KEY=abc\nLIVEKIT_API_SECRET=hunter2hunter2\n', {});
    expect(problems.map((one) => one.code)).toEqual(['SECRET_TOO_SHORT']);
    expect(JSON.stringify(problems)).not.toContain('hunter2');
  });

  it('finds clashing ports', () => {
    expect(codes('HTTP_PORT=8080\n')).toEqual(['PORT_CLASH SERVICE_PORT null']);
  });

  it('generates what is missing once and derives the same Redis password from the same secret', () => {
    const first = parseSettings('', {}).settings;
    if (first === null) throw new Error('unreachable');
    const made = missingSecrets(first);
    const second = parseSettings(editEnv(renderExample(), made), {}).settings;
    if (second === null) throw new Error('unreachable');
    expect(missingSecrets(second)).toEqual({});
    expect(missingSecrets({ ...second, REDIS_PASSWORD: '' })).toEqual({ REDIS_PASSWORD: made['REDIS_PASSWORD'] });
  });

  it('edits one value and keeps all other bytes (property)', () => {
    const line = fc.constantFrom('# 注释', '', 'A=1', 'B = "two words"', 'C=3 # tail', "D='x'");
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\n', '\r\n'), fc.stringMatching(/^[A-Za-z0-9 _./:-]{0,20}$/), (lines, eol, value) => {
        const text = lines.join(eol) + eol;
        const edited = editEnv(text, { E: value.trim() });
        expect(edited.startsWith(text)).toBe(true);
        expect(readEnv(edited).assignments.at(-1)).toMatchObject({ name: 'E', value: value.trim() });
        expect(editEnv(edited, { E: value.trim() })).toBe(edited);
      }),
    );
  });
});
