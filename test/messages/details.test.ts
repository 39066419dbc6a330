import { globSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { details, translateDetail } from '../../src/kernel/messages/details.ts';
import { translate } from '../../src/kernel/messages/translate.ts';

const texts = (pattern: string): string[] => globSync(pattern, { exclude: ['src/kernel/messages/**'] }).map((path) => readFileSync(path, 'utf8'));
const names = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '').toSorted();

describe('details', () => {
  it('are Chinese, with the same placeholders, and each is said somewhere', () => {
    const sources = texts('src/**/*.ts');
    for (const [english, chinese] of Object.entries(details)) {
      expect(chinese, english).toMatch(/\p{Script=Han}/u);
      expect(names(chinese), english).toEqual(names(english));
      const pieces = english.split(/\{\w+\}/).map((piece) => piece.trim());
      expect(
        sources.some((source) => pieces.every((piece) => source.includes(piece))),
        english,
      ).toBe(true);
    }
  });

  it('have the Chinese of whatever backup, restore and health say', () => {
    const sources = [...texts('src/backup/*.ts'), ...texts('src/cli/{restore,backup,passphrase}*.ts'), ...texts('src/health/probe.ts')];
    const literal = /(?:damaged\((?:source|path), |DamagedTar\(|PostgresFailure\(|refuse\(|reason: |detail: |new Error\()(['`])([^'`]*? [^'`]*?)\1/g;
    const said = sources.flatMap((source) =>
      [...source.matchAll(literal)].map((match) => (match[2] ?? '').replaceAll(/\$\{[^}]*\}/g, (value) => (value === '${ENV}' ? 'env' : 'x'))),
    );
    const shell = texts('src/render/{backup-timer,firewall-keeper,socket-closer,upgrader}.ts').flatMap((source) =>
      [...source.matchAll(/(?:say|mood=|last=) ?(['"])([^'"$]+?)\1/g)].map((match) => match[2] ?? ''),
    );
    expect(said.length).toBeGreaterThan(25);
    expect(shell.length).toBeGreaterThan(8);
    // Words of other programs, our own defects, and names.
    const own = /^(an answer that is none|master_link_status|HTTP |x: x$|x was not read)|not read to its end/;
    expect([...said, ...shell].filter((text) => !own.test(text) && !/\p{Script=Han}/u.test(translateDetail('zh', text)))).toEqual([]);
  });

  it.each([
    ['last backup 2026-01-02T03:04:05Z; next backup 2026-01-03T03:04:05Z', '上次备份 2026-01-02T03:04:05Z；下次备份 2026-01-03T03:04:05Z'],
    [
      '✗ the backup of 2026-01-02T03:04:05Z failed (see logs backups); next backup 2026-01-02T04:04:05Z',
      '✗ 2026-01-02T03:04:05Z 的备份失败（请看 logs backups）；下次备份 2026-01-02T04:04:05Z',
    ],
    ['refused: /srv/fleet can be changed by others than root', '拒绝：/srv/fleet 可被 root 以外的用户更改'],
    ['taken back: nobody confirmed the new rules in time; run ./部署.sh deploy', '已撤回：新规则未及时确认；请执行 ./部署.sh deploy'],
    ['service.db: events has 3 rows instead of 4', 'service.db：events 有 3 行，应有 4 行'],
    ['redis.rdb: 3 keys instead of 4', 'redis.rdb：有 3 个键，应有 4 个'],
    ['HTTP 500', 'HTTP 500'],
    ['Error: x; at y; timeout', 'Error: x; at y; timeout'],
    ['pg_restore: error: input file does not appear to be a valid archive', 'pg_restore: error: input file does not appear to be a valid archive'],
    ['ENOENT', 'ENOENT'],
    ['', ''],
  ])('%s', (english, chinese) => {
    expect(translateDetail('zh', english)).toBe(chinese);
    expect(translateDetail('en', english)).toBe(english);
  });

  it('are within messages', () => {
    expect(translate('zh', 'BACKUP_DAMAGED', { path: '/a', reason: 'it ends too early' })).toContain('/a 已损坏：提前结束。');
    expect(translate('zh', 'NOT_HEALTHY', { seconds: 3, parts: 'caddy (timeout), redis (nothing listens on port 6379)', log: '' })).toContain(
      'caddy (超时), redis (端口 6379 无人监听)',
    );
    expect(translate('en', 'BACKUP_DAMAGED', { path: '/a', reason: 'it ends too early' })).toContain('is damaged: it ends too early.');
  });
});
