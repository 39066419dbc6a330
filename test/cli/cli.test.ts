import { execa } from 'execa';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeJoin } from '../../src/settings/join-line.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { until } from '../e2e/installation.ts';

const root = resolve(import.meta.dirname, '../..');
const COMMANDS = [
  'deploy',
  'deploy-caddy-service-only',
  'deploy-livekit-only',
  'join',
  'plan',
  'start',
  'stop',
  'restart',
  'status',
  'logs',
  'verify',
  'drill',
  'journal',
  'upgrade',
  'rollback',
  'leave',
  'forget',
  'uninstall',
  'backup',
  'restore',
  'bundle',
  'tokens',
  'webhooks',
  'version',
];
const NEEDS_ROOT = [
  'deploy',
  'deploy --dry-run',
  'deploy-caddy-service-only',
  'deploy-livekit-only',
  'join x',
  'plan',
  'start',
  'stop',
  'restart',
  'upgrade --dry-run',
  'rollback',
  'status',
  'logs',
  'drill --dry-run',
  'tokens list',
  'webhooks list',
  'webhooks test',
  'backup',
  'backup list',
  'restore x',
];
const SECRET = 'hunter2hunter2hunter2hunter2hunter2';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The real command line, in a copy of the installation that every user may read. */
describe('the command line', () => {
  let place: string;
  let node: string;

  async function run(words: string, options: { env?: Record<string, string>; isRoot?: boolean; input?: string } = {}): Promise<Ran> {
    const argv = [node, `${place}/dist/cli.cjs`, ...words.split(' ').filter((word) => word !== '')];
    const [program = '', ...rest] = options.isRoot === false ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', ...argv] : argv;
    const result = await execa(program, rest, {
      env: { PATH: process.env['PATH'] ?? '', LANG: 'C', ...options.env },
      extendEnv: false,
      input: options.input ?? '',
      reject: false,
      cwd: place,
    });
    return { code: result.exitCode ?? -1, out: result.stdout, err: result.stderr };
  }

  /** Every path below the copy with size and time of change. */
  async function everything(): Promise<string[]> {
    const entries = await readdir(place, { recursive: true });
    const rows = await Promise.all(entries.map(async (path) => [path, (await stat(`${place}/${path}`)).mtimeMs].join(' ')));
    return rows.toSorted();
  }

  beforeAll(async () => {
    await execa(process.execPath, [`${root}/scripts/build.ts`]);
    place = await mkdtemp(`${tmpdir()}/livekit-fleet-cli-`);
    await chmod(place, 0o755);
    await mkdir(`${place}/dist`);
    for (const file of ['dist/cli.cjs', 'dist/cli.js', 'package.json', '.env.example']) await copyFile(`${root}/${file}`, `${place}/${file}`);
    node = `${place}/node`;
    await copyFile(process.execPath, node);
    await chmod(node, 0o755);
  });

  afterAll(() => rm(place, { recursive: true, force: true }));

  it.each(['zh', 'en'])('has help in %s with an example for every command', async (lang) => {
    const screens = await Promise.all(
      [
        '',
        ...COMMANDS,
        'monitor',
        'monitor status',
        'monitor logs',
        'tokens add',
        'tokens list',
        'tokens revoke',
        'webhooks list',
        'webhooks dead',
        'webhooks replay',
        'webhooks test',
      ].map(async (command) => [command, await run(`${command} --help --lang ${lang}`)] as const),
    );
    for (const [command, { code, err, out }] of screens) {
      expect([command, code, err]).toEqual([command, 0, '']);
      if (command !== 'monitor') expect(out).toMatch(lang === 'zh' ? /\n示例：\n {2}\S/ : /\nExamples:\n {2}\S/);
    }
    await expect(screens.map(([command, { out }]) => `$ ./部署.sh ${command} --help\n${out}\n`).join('\n')).toMatchFileSnapshot(`help.${lang}.txt`);
  });

  it('lists every command in its help and shows help without one', async () => {
    const bare = await run('');
    expect(bare.code).toBe(2);
    for (const command of COMMANDS) expect(bare.err).toMatch(new RegExp(`\n  ${command}\\b`));
  });

  it('gives its help as JSON', async () => {
    const [all, same, one, other] = await Promise.all(['help --json', '--help --json', 'logs --help --json', 'help logs --json'].map((words) => run(words)));
    expect(all).toMatchObject({ code: 0, err: '' });
    expect(same).toEqual(all);
    expect(other).toEqual(one);
    const { commands } = JSON.parse(all?.out ?? '') as { commands: Array<{ name: string; description: string; options: unknown[] }> };
    expect(commands.map((command) => command.name).toSorted()).toEqual([...COMMANDS, 'help'].toSorted());
    const lines = { flags: '-n, --lines <n>', description: 'number of lines (default: 50)' };
    const logs = {
      name: 'logs',
      description: 'show logs',
      arguments: [{ name: 'part', isRequired: false }],
      options: expect.arrayContaining([lines]) as unknown,
    };
    expect(commands).toContainEqual({ ...logs, commands: [] });
    expect(JSON.parse(one?.out ?? '')).toMatchObject({
      ...logs,
      globalOptions: expect.arrayContaining([{ flags: '--json', description: 'print JSON' }]) as unknown,
    });
  });

  it('is a program in ASCII, since the starter reads it as Latin-1: else no regular expression knows 是, ， or ✗', async () => {
    for (const name of ['agent', 'cli', 'drill', 'meeting', 'service'])
      expect((await readFile(`${root}/dist/${name}.js`, 'utf8')).match(/.{0,20}[^\0-\x7F].{0,20}/g), name).toBeNull();
  });

  it.each([
    ['deplyo', 'UNKNOWN_COMMAND', { given: 'deplyo', suggestion: 'deploy' }],
    ['xyzzy', 'UNKNOWN_COMMAND', { given: 'xyzzy', suggestion: COMMANDS.join(', ') }],
    ['xyzzy tokens', 'UNKNOWN_COMMAND', { given: 'xyzzy', suggestion: COMMANDS.join(', ') }],
    ['constructor', 'UNKNOWN_COMMAND', { given: 'constructor', suggestion: COMMANDS.join(', ') }],
    ['tokens foo', 'UNKNOWN_COMMAND', { given: 'foo', suggestion: 'add, list, revoke' }],
    ['monitor foo', 'UNKNOWN_COMMAND', { given: 'foo', suggestion: 'status, logs' }],
    ['deploy --dryrun', 'UNKNOWN_OPTION', { given: '--dryrun', suggestion: '--dry-run' }],
    ['logs --folow', 'UNKNOWN_OPTION', { given: '--folow', suggestion: '--follow' }],
    ['logs --lines', 'OPTION_WITHOUT_VALUE', { option: '-n, --lines <n>' }],
    ['restore', 'MISSING_WORD', { word: 'archive' }],
    ['logs --lines many', 'BAD_OPTION_VALUE', { option: '-n, --lines <n>', value: 'many' }],
    ['version --lang fr', 'BAD_OPTION_VALUE', { option: '--lang <zh|en>', value: 'fr' }],
    ['version now', 'TOO_MANY_WORDS', { command: 'version' }],
  ])('refuses %s with exit code 2 and says what was meant', async (words, code, params) => {
    const [text, json] = await Promise.all([run(words), run(`${words} --json`.replace('--lines --json', '--json --lines'))]);
    expect(text).toMatchObject({ code: 2, out: '' });
    for (const value of Object.values(params)) expect(text.err).toContain(value);
    expect(json.code).toBe(2);
    expect(JSON.parse(json.out)).toEqual({ error: code, ...params });
  });

  it('speaks the language of the environment, and --lang beats it', async () => {
    const words = 'deplyo';
    const chinese = '✗ 没有名为 deplyo 的命令。是否想用：deploy？请看：./部署.sh help';
    const english = '✗ There is no command called deplyo. Did you mean: deploy? See: ./部署.sh help';
    expect((await run(words, { env: { LANG: 'zh_CN.UTF-8' } })).err).toBe(chinese);
    expect((await run(words, { env: { LANG: 'en_US.UTF-8' } })).err).toBe(english);
    expect((await run(words, { env: { LANG: 'en_US.UTF-8', LC_ALL: 'zh_CN.UTF-8' } })).err).toBe(chinese);
    expect((await run(`--lang en ${words}`, { env: { LANG: 'zh_CN.UTF-8' } })).err).toBe(english);
    expect((await run(`--lang=zh ${words}`)).err).toBe(chinese);
  });

  it('gives the problems of a bad .env as text or JSON, with exit code 2, no secret, and nothing changed', async () => {
    const file = `${place}/bad.env`;
    await writeFile(file, `DOMIAN=x\r\nDATA_DIR=${place}/data\r\nREDIS_PASSWORD="${SECRET}:"\r\n`);
    const before = await everything();
    const [text, json] = await Promise.all([run(`deploy --env ${file}`), run(`deploy --json --env ${file}`, { env: { HTTP_PORT: '0' } })]);
    expect(text).toMatchObject({ code: 2, out: '' });
    expect(text.err).toContain('.env line 1: DOMIAN – unknown variable. Did you mean DOMAIN?');
    expect(text.err).toContain('.env line 3: REDIS_PASSWORD – has spaces');
    expect(json.code).toBe(2);
    expect(JSON.parse(json.out)).toEqual({
      error: 'SETTINGS_INVALID',
      problems: [
        { code: 'NOT_A_PORT', variable: 'HTTP_PORT', line: null, value: '0', hint: null },
        { code: 'MISSPELT_VARIABLE', variable: 'DOMIAN', line: 1, value: null, hint: 'DOMAIN' },
        { code: 'BAD_CHARACTERS', variable: 'REDIS_PASSWORD', line: 3, value: null, hint: null },
      ],
    });
    expect(text.err + json.out + json.err).not.toContain('hunter2');
    expect(await everything()).toEqual(before);
  });

  describe('join', () => {
    let file: string;
    let word: string;

    beforeAll(async () => {
      file = `${place}/gateway.env`;
      await writeFile(file, `DOMAIN=livekit.example.com\nDATA_DIR=${place}/data\nLIVEKIT_API_KEY=your_key\nWEBHOOK_API_KEY=APIother\n`);
      const { settings } = parseSettings(`LIVEKIT_API_KEY=APIfleet\nLIVEKIT_API_SECRET=${SECRET}\nREDIS_PASSWORD=x\n`, {});
      if (settings === null) throw new Error('bad settings');
      word = writeJoin(settings, '127.0.0.1');
    });

    it('refuses a line whose key is not the one that WEBHOOK_API_KEY names, also where it is told to, and changes nothing', async () => {
      const before = await everything();
      const [text, json] = await Promise.all([run(`join ${word} --env ${file}`), run(`join ${word} --force --json --env ${file}`)]);
      expect(text).toMatchObject({ code: 2, out: '' });
      expect(text.err).toMatch(/WEBHOOK_API_KEY in \.env .* LIVEKIT_API_KEY .* Leave WEBHOOK_API_KEY empty/);
      expect([json.code, JSON.parse(json.out)]).toEqual([2, { error: 'JOIN_WEBHOOK_KEY' }]);
      expect(await everything()).toEqual(before);
    });

    it('reads the word, or the whole line, from standard input', async () => {
      for (const input of [word, `\n${word}\n`, `./部署.sh join ${word}\n`]) {
        const { code, out } = await run(`join - --json --env ${file}`, { input });
        expect([code, JSON.parse(out)]).toEqual([2, { error: 'JOIN_WEBHOOK_KEY' }]);
      }
    });

    it.each([
      ['goes on when Enter is pressed', () => `${word}\n`, { code: 2, text: 'WEBHOOK_API_KEY in .env' }],
      ['ends with Ctrl-C', () => '\u0003', { code: 130, text: '✗ Interrupted' }],
    ])('asks for the word in a terminal, and %s', async (_, typed, expected) => {
      const child = spawn('script', ['-qec', `${node} ${place}/dist/cli.cjs join - --env ${file} --lang en`, '/dev/null']);
      try {
        let said = '';
        child.stdout.on('data', (text) => (said += String(text)));
        await until(async () => said.includes('Paste the word'), 20_000);
        child.stdin.write(typed());
        const [code] = (await once(child, 'close', { signal: AbortSignal.timeout(20_000) })) as [number];
        expect([code, said]).toEqual([expected.code, expect.stringContaining(expected.text)]);
      } finally {
        child.kill('SIGKILL');
      }
    });
  });

  it('says what is not there yet', async () => {
    const file = `${place}/good.env`;
    await writeFile(file, `DATA_DIR=${place}/data\n`);
    for (const command of ['start', 'stop', 'restart', 'status', 'logs']) {
      const { code, out } = await run(`${command} --json --env ${file}`);
      expect([command, code, JSON.parse(out)]).toEqual([command, 1, { error: 'NOT_DEPLOYED', path: `${place}/data` }]);
    }
  });

  it.each(NEEDS_ROOT)('refuses %s without root and changes nothing', async (words) => {
    const before = await everything();
    const env = { DATA_DIR: `${place}/data` };
    const [english, chinese] = await Promise.all([run(words, { isRoot: false, env }), run(`${words} --lang zh --json`, { isRoot: false, env })]);
    const command = `./部署.sh ${words.split(' ')[0]}`;
    expect(english).toEqual({
      code: 1,
      out: '',
      err: `✗ This command must run as root (it handles secrets, the service user and ports). Try: sudo ${command}`,
    });
    expect(chinese).toEqual({
      code: 1,
      out: JSON.stringify({ error: 'NOT_ROOT', command }),
      err: `✗ 此命令需要 root（要处理密钥、服务用户和端口）。请执行：sudo ${command}`,
    });
    expect(await everything()).toEqual(before);
  });

  it('lets everyone see version and help, and says why verify cannot read the secrets', async () => {
    const file = `${place}/closed.env`;
    await writeFile(file, 'DOMAIN=localhost\n', { mode: 0o600 });
    const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as { version: string };
    for (const asked of ['version', '--version', '-V', '--lang zh --version'])
      expect(await run(asked, { isRoot: false })).toEqual({ code: 0, out: version, err: '' });
    expect((await run('--help', { isRoot: false })).code).toBe(0);
    const closed = await run(`verify --json --env ${file}`, { isRoot: false });
    expect([closed.code, JSON.parse(closed.out)]).toEqual([1, { error: 'ENV_UNREADABLE', path: file }]);
  });
});
