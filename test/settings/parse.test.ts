import { describe, expect, it } from 'vitest';
import { createReporter } from '../../src/report/reporter.ts';
import { editEnv } from '../../src/settings/env-file.ts';
import { renderExample } from '../../src/settings/example.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { variableNames } from '../../src/settings/schema.ts';
import type { Settings } from '../../src/settings/schema.ts';
import { missingSecrets } from '../../src/settings/secrets.ts';

const SECRET = 'hunter2hunter2hunter2hunter2hunter2';

function settingsOf(text: string, environment: Record<string, string> = {}): Settings {
  const { settings, problems } = parseSettings(text, environment);
  if (settings === null) throw new Error(JSON.stringify(problems));
  return settings;
}

/** `CODE VARIABLE line hint` of every problem. */
const found = (text: string, environment: Record<string, string> = {}): string[] =>
  parseSettings(text, environment).problems.map((one) => [one.code, one.variable ?? '-', one.line ?? 'command line', one.hint ?? ''].join(' ').trim());

/** What the command says on stderr, line by line. */
function said(language: 'zh' | 'en', text: string, environment: Record<string, string> = {}): string[] {
  let err = '';
  const reporter = createReporter({ language, isJson: false, out: () => {}, err: (more) => (err += more) });
  reporter.problems(parseSettings(text, environment).problems);
  return err.trimEnd().split('\n');
}

describe('a .env that is meant well', () => {
  it.each<[string, string, Partial<Settings>]>([
    ['CRLF', 'DOMAIN=a.example.com\r\nHTTP_PORT=8000\r\n', { DOMAIN: 'a.example.com', HTTP_PORT: 8000 }],
    ['BOM', '\uFEFFDOMAIN=a.example.com\n', { DOMAIN: 'a.example.com' }],
    ['double and single quotes', `DOMAIN="a.example.com"\nLOG_LEVEL='warn'\n`, { DOMAIN: 'a.example.com', LOG_LEVEL: 'warn' }],
    ['spaces round =', 'DOMAIN = a.example.com \n', { DOMAIN: 'a.example.com' }],
    ['export', 'export DOMAIN=a.example.com\n', { DOMAIN: 'a.example.com' }],
    ['trailing comment', 'REDIS_HOST=192.168.1.2        # 指向机器 2\n', { REDIS_HOST: '192.168.1.2' }],
    ['full-width digits', 'HTTP_PORT=８０００\n', { HTTP_PORT: 8000 }],
    ['full-width equals', 'HTTP_PORT＝8000\n', { HTTP_PORT: 8000 }],
    ['full-width colon', 'BUSINESS_UPSTREAM=127.0.0.1：9000\n', { BUSINESS_UPSTREAM: '127.0.0.1:9000' }],
    ['full-width comma, also in quotes', 'NODES="192.168.1.2，192.168.1.3"\n', { NODES: ['192.168.1.2', '192.168.1.3'] }],
    ['Chinese full stop and enumeration comma', 'NODES=192。168。1。2、192.168.1.3\n', { NODES: ['192.168.1.2', '192.168.1.3'] }],
    ['ideographic space', 'DOMAIN　=　a.example.com　\n', { DOMAIN: 'a.example.com' }],
    ['nothing at all', '', { DOMAIN: 'localhost', NODES: ['localhost'], HTTPS_PORT: 443 }],
    ['empty values', 'DOMAIN=\nHTTP_PORT=\n', { DOMAIN: 'localhost', HTTP_PORT: 80 }],
    ['every way to say yes', 'WEBHOOK_ENABLED=Yes\n', { WEBHOOK_ENABLED: true }],
    ['the key of webhooks before that of LiveKit', 'WEBHOOK_API_KEY=APIours\nDOMAIN=livekit.example.com', { WEBHOOK_API_KEY: 'APIours' }],
    ['no final newline', 'HTTP_PORT=8000', { HTTP_PORT: 8000 }],
    ['its own example', renderExample(), { DOMAIN: 'localhost' }],
    ['a service of one’s own on the port that ours would have', 'BUSINESS_UPSTREAM=127.0.0.1:8080\nHTTP_PORT=8088', { BUSINESS_UPSTREAM: '127.0.0.1:8080' }],
  ])('is read with %s', (_, text, expected) => {
    expect(settingsOf(text)).toMatchObject(expected);
  });
});

describe('a bad .env', () => {
  it.each<[string, string[]]>([
    ['# first\njust words', ['NOT_AN_ASSIGNMENT - 2']],
    ['DOMAIN="a.example.com', ['UNCLOSED_QUOTE - 1']],
    ['DOMAIN="a".example.com', ['TEXT_AFTER_QUOTE - 1']],
    ['DOMAIN=a.example.com\nDOMAIN=b.example.com', ['DUPLICATE_VARIABLE DOMAIN 2 1']],
    ['DOMIAN=x', ['MISSPELT_VARIABLE DOMIAN 1 DOMAIN']],
    ['domain=x', ['MISSPELT_VARIABLE domain 1 DOMAIN']],
    ['LIVEKIT_APIKEY=x', ['MISSPELT_VARIABLE LIVEKIT_APIKEY 1 LIVEKIT_API_KEY']],
    ['SOMETHING_ELSE_ALTOGETHER=x', ['UNKNOWN_VARIABLE SOMETHING_ELSE_ALTOGETHER 1']],
    ['constructor=x', ['UNKNOWN_VARIABLE constructor 1']],
    ['DOMAIN=https://a.example.com', ['NOT_A_HOST DOMAIN 1']],
    ['DOMAIN=1.2.3', ['NOT_A_HOST DOMAIN 1']],
    ['NODE_PUBLIC_IP=a.example.com', ['NOT_A_PUBLIC_ADDRESS NODE_PUBLIC_IP 1']],
    ['STUN_SERVERS=a.example.com', ['NOT_AN_UPSTREAM STUN_SERVERS 1']],
    ['NODES=1.2.3', ['NOT_NODES NODES 1']],
    ['NODES=,', ['NOT_NODES NODES 1']],
    ['NODES=10.0.0.1,10.0.0.1', ['DUPLICATE_NODES NODES 1']],
    ['HTTP_PORT=0', ['NOT_A_PORT HTTP_PORT 1']],
    ['HTTP_PORT=70000', ['NOT_A_PORT HTTP_PORT 1']],
    ['HTTP_PORT=80a', ['NOT_A_PORT HTTP_PORT 1']],
    ['LIVEKIT_UDP_PORTS=60000-50000', ['NOT_A_PORT_RANGE LIVEKIT_UDP_PORTS 1']],
    ['TOKEN_TTL=-1', ['NOT_A_COUNT TOKEN_TTL 1']],
    ['WEBHOOK_ENABLED=maybe', ['NOT_A_FLAG WEBHOOK_ENABLED 1']],
    ['LOG_LEVEL=loud', ['NOT_ONE_OF LOG_LEVEL 1 debug|info|warn|error']],
    ['DATA_DIR=data', ['NOT_ABSOLUTE DATA_DIR 1']],
    ['DATA_DIR="/a b"', ['NOT_ABSOLUTE DATA_DIR 1']],
    ['DATA_DIR=//', ['NOT_ABSOLUTE DATA_DIR 1']],
    ['CADDY_PATH=/opt/$HOME/caddy', ['NOT_ABSOLUTE CADDY_PATH 1']],
    ['DATA_DIR=/srv/{fleet}', ['NOT_ABSOLUTE DATA_DIR 1']],
    ['DATABASE_URL=mysql://fleet@10.0.0.5/fleet', ['NOT_A_DATABASE DATABASE_URL 1']],
    ['DATABASE_URL=postgres://fleet:p@10.0.0.5', ['NOT_A_DATABASE DATABASE_URL 1']],
    ['COMPONENT_MIRROR=github.com', ['NOT_A_URL COMPONENT_MIRROR 1']],
    ['WEBHOOK_URLS=https://a.example.com/hook,https://[', ['NOT_A_URL WEBHOOK_URLS 1']],
    ['BUSINESS_UPSTREAM=9000', ['NOT_AN_UPSTREAM BUSINESS_UPSTREAM 1']],
    ['SERVICE_USER=Me', ['NOT_A_USER SERVICE_USER 1']],
    ['LIVEKIT_API_KEY=abc\nLIVEKIT_API_SECRET=short', ['SECRET_TOO_SHORT LIVEKIT_API_SECRET 2 32']],
    ['LIVEKIT_API_KEY=abc', ['KEY_WITHOUT_SECRET LIVEKIT_API_KEY 1']],
    [`LIVEKIT_API_SECRET=${SECRET}`, ['KEY_WITHOUT_SECRET LIVEKIT_API_SECRET 1']],
    [`LIVEKIT_API_KEY=abc\nLIVEKIT_API_SECRET=${SECRET}\nWEBHOOK_API_KEY=other`, ['WEBHOOK_KEY_UNKNOWN WEBHOOK_API_KEY 3']],
    ['TLS_MODE=files\nTLS_CERT_FILE=/a.pem', ['TLS_FILES_MISSING TLS_MODE 1']],
    ['REDIS_PASSWORD=a:b', ['BAD_CHARACTERS REDIS_PASSWORD 1']],
    [`REDIS_PASSWORD=${'x'.repeat(513)}`, ['PASSWORD_TOO_LONG REDIS_PASSWORD 1 512']],
    ['WEBHOOK_API_KEY=a:b', ['BAD_CHARACTERS WEBHOOK_API_KEY 1']],
    ['SERVICE_API_TOKEN=密码', ['BAD_CHARACTERS SERVICE_API_TOKEN 1']],
    ['SERVICE_BIND=eth0', ['NOT_A_BIND_ADDRESS SERVICE_BIND 1']],
    ['RATE_LIMIT_USER=-1', ['NOT_A_RATE RATE_LIMIT_USER 1']],
    ['CORS_ORIGINS=https://app.example.com,https://b.example.com/', ['NOT_AN_ORIGIN CORS_ORIGINS 1']],
    ['CORS_ORIGINS=*\nAUTH_JWKS_URL=http://id.example.com/jwks\nAUTH_ISSUER=i\nAUTH_AUDIENCE=a', ['NOT_A_SECURE_URL AUTH_JWKS_URL 2']],
    ['AUTH_JWKS_URL=http://10.0.0.5/jwks\nAUTH_ISSUER=i', ['AUTH_INCOMPLETE AUTH_JWKS_URL 1 AUTH_AUDIENCE']],
    ['AUTH_JWKS_URL=https://id.example.com/jwks\nAUTH_JWKS_FILE=/etc/jwks.json\nAUTH_ISSUER=i\nAUTH_AUDIENCE=a', ['AUTH_KEYS_TWICE AUTH_JWKS_FILE 2']],
    ['HTTP_PORT=8080', ['PORT_CLASH HTTP_PORT 1 SERVICE_PORT']],
    ['AGENT_PORT=7000\nMETRICS_PORT=7000', ['PORT_CLASH AGENT_PORT 1 METRICS_PORT']],
    ['TURN_UDP_PORT=50001', ['PORT_CLASH TURN_UDP_PORT 1 LIVEKIT_UDP_PORTS']],
    ['LIVEKIT_UDP_PORTS=3000-4000', ['PORT_CLASH LIVEKIT_UDP_PORTS 1 TURN_UDP_PORT']],
    ['HTTPS_PORT=50443', ['PORT_CLASH HTTPS_PORT 1 LIVEKIT_UDP_PORTS']],
    ['BUSINESS_UPSTREAM=127.0.0.1:443', ['PORT_CLASH BUSINESS_UPSTREAM 1 HTTPS_PORT']],
  ])('%j', (text, expected) => {
    const { settings } = parseSettings(text, {});
    expect(settings).toBeNull();
    expect(found(text)).toEqual(expected);
  });

  it('is reported with all its problems at once, by line, also those that only show together', () => {
    const text = 'DOMIAN=x\nHTTP_PORT=70000\nNODES=1.2.3\nNODES=localhost\njust words\nAGENT_PORT=443\nLOG_LEVEL="a\nLIVEKIT_API_KEY=k';
    expect(found(text, { DATA_DIR: 'here' })).toEqual([
      'NOT_ABSOLUTE DATA_DIR command line',
      'MISSPELT_VARIABLE DOMIAN 1 DOMAIN',
      'NOT_A_PORT HTTP_PORT 2',
      'NOT_NODES NODES 3',
      'DUPLICATE_VARIABLE NODES 4 3',
      'NOT_AN_ASSIGNMENT - 5',
      'PORT_CLASH AGENT_PORT 6 HTTPS_PORT',
      'UNCLOSED_QUOTE - 7',
      'KEY_WITHOUT_SECRET LIVEKIT_API_KEY 8',
    ]);
  });

  it('is told in Chinese and English', () => {
    const text = 'DOMIAN=x\njust words\nHTTP_PORT=70000\nAGENT_PORT=443\n';
    expect(said('zh', text, { NODES: '1.2' })).toEqual([
      '命令行: NODES (1.2) – 请用 localhost 或逗号分隔的 IPv4 地址。例如：192.168.1.2,192.168.1.3',
      '.env 第 1 行: DOMIAN – 未知变量。是否想写 DOMAIN？',
      '.env 第 2 行: 不是 名称=值。请用 # 注释掉，或写成 名称=值',
      '.env 第 3 行: HTTP_PORT (70000) – 不是端口。请用 1 到 65535 的数字',
      '.env 第 4 行: AGENT_PORT (443) – 与 HTTPS_PORT 端口相同。请另选一个',
      '配置有 5 个问题；未做任何更改。请改正以上各行后重新执行同一命令。',
    ]);
    expect(said('en', text, { NODES: '1.2' })).toEqual([
      'command line: NODES (1.2) – use localhost or IPv4 addresses with commas. Example: 192.168.1.2,192.168.1.3',
      '.env line 1: DOMIAN – unknown variable. Did you mean DOMAIN?',
      '.env line 2: not NAME=value. Comment it out with # or write NAME=value',
      '.env line 3: HTTP_PORT (70000) – not a port. Use a number from 1 to 65535',
      '.env line 4: AGENT_PORT (443) – the same port as HTTPS_PORT. Choose another',
      '5 problem(s) in the settings; nothing was changed. Mend the lines above and run the same command again.',
    ]);
  });

  it('never shows a secret, wherever it stands', () => {
    for (const text of [
      `LIVEKIT_API_KEY=k\nLIVEKIT_API_SECRET=${SECRET.slice(0, 20)}`,
      `REDIS_PASSWORD="${SECRET}`,
      `REDIS_PASSWORD ${SECRET}`,
      `REDIS_PASSWORT=${SECRET}`,
      `REDIS_PASSWORD=${SECRET}:x\nSERVICE_API_TOKEN=${SECRET}#`,
      `WEBHOOK_URLS=ftp://me:${SECRET}@example.com/`,
    ]) {
      const { problems } = parseSettings(text, {});
      expect(problems).not.toEqual([]);
      expect(JSON.stringify(problems) + said('en', text).join() + said('zh', text).join()).not.toContain('hunter2');
    }
  });
});

describe('the command line', () => {
  it('beats .env, also where .env is bad; an empty value does not', () => {
    const parsed = parseSettings('NODES=nonsense\nHTTP_PORT=8000\n', { NODES: '10.0.0.1', HTTP_PORT: '' });
    expect(parsed.settings).toMatchObject({ NODES: ['10.0.0.1'], HTTP_PORT: 8000 });
    expect(parsed.origins).toMatchObject({ NODES: 'command-line', HTTP_PORT: 'file', HTTPS_PORT: 'default' });
  });

  it('may hold full-width characters as well', () => {
    expect(settingsOf('', { NODES: '１０.0.0.1，10.0.0.2' }).NODES).toEqual(['10.0.0.1', '10.0.0.2']);
  });

  it('is named as the place of its own problem, not the line that it beats', () => {
    expect(found('HTTP_PORT=8000\n', { HTTP_PORT: '443' })).toEqual(['PORT_CLASH HTTP_PORT command line HTTPS_PORT']);
  });

  it('is heard for every variable', () => {
    const { origins } = parseSettings('', Object.fromEntries(variableNames.map((name) => [name, 'x'])));
    expect(Object.values(origins)).toEqual(variableNames.map(() => 'command-line'));
  });
});

describe('missing secrets', () => {
  const all = { makesKeys: true, hasApi: true };

  it('are made where they belong: keys never on a gateway, the token of the room API never on a media machine', () => {
    expect(Object.keys(missingSecrets(settingsOf(''), { makesKeys: false, hasApi: true }))).toEqual(['SERVICE_API_TOKEN']);
    const keys = ['LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'REDIS_PASSWORD'];
    expect(Object.keys(missingSecrets(settingsOf(''), { makesKeys: true, hasApi: false }))).toEqual(keys);
  });

  it('are generated once, and the same secret gives the same Redis password', () => {
    const made = missingSecrets(settingsOf(''), all);
    const second = settingsOf(editEnv(renderExample(), made));
    expect(missingSecrets(second, all)).toEqual({});
    expect(missingSecrets({ ...second, REDIS_PASSWORD: '' }, all)).toEqual({ REDIS_PASSWORD: made['REDIS_PASSWORD'] });
  });

  it('have the API key that webhooks are said to be signed with', () => {
    const text = 'LIVEKIT_API_KEY=your_key\nLIVEKIT_API_SECRET=your_secret\nWEBHOOK_API_KEY=APIours\n';
    const made = missingSecrets(settingsOf(text), all);
    expect(made).toMatchObject({ LIVEKIT_API_KEY: 'APIours' });
    expect(settingsOf(editEnv(text, made)).LIVEKIT_API_KEY).toBe('APIours');
  });

  it('take the place of the guide’s placeholders', () => {
    const made = missingSecrets(settingsOf('LIVEKIT_API_KEY=your_key\nLIVEKIT_API_SECRET=your_secret\nWEBHOOK_API_KEY=your_key\n'), all);
    expect(Object.keys(made).toSorted()).toEqual(['LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'REDIS_PASSWORD', 'SERVICE_API_TOKEN']);
  });
});
