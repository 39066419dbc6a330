import type { Manifest } from '../backup/format.ts';
import { translate } from '../kernel/messages/translate.ts';
import type { Language } from '../kernel/messages/translate.ts';

/** Of the databases' tables, those that say something to people. */
const TABLES = { rooms: 'COUNT_ROOMS', events: 'COUNT_EVENTS', deliveries: 'COUNT_DELIVERIES' } as const;

/** What an archive holds, for people. */
export function describeCounts(language: Language, { redis, databases }: Manifest['counts']): string {
  const tables = Object.values(databases).flatMap(({ rows }) =>
    Object.entries(TABLES).flatMap(([table, code]) => {
      const count = rows[table];
      return count === undefined ? [] : [translate(language, code, { count })];
    }),
  );
  return [...(redis === null ? [] : [translate(language, 'COUNT_KEYS', { count: redis.keys })]), ...tables].join(language === 'zh' ? '，' : ', ') || '-';
}
