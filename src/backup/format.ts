import * as z from 'zod';

/** The newest format that this program writes, and the oldest that it reads and writes: that of an archive without PostgreSQL. */
export const FORMAT = 2;
export const OLDEST_FORMAT = 1;

/** First member of an archive: whose it is. */
export const HEAD = 'archive.json';
/** The last two: what all others hold, and the SHA-256 of that text in hex. */
export const MANIFEST = 'manifest.json';
export const SEAL = 'manifest.sha256';

/** Members that are databases. */
export const REDIS = 'redis.rdb';
export const SERVICE = 'service.db';
export const RELAY = 'relay.db';
export const POSTGRES = 'postgres.dump';
/** The settings in force. */
export const ENV = 'env';

/** What may be in an archive: nothing that is not listed here is ever written to a disk. */
const MEMBER = /^(?:redis\.rdb|service\.db|relay\.db|postgres\.dump|env|(?:config|caddy|agent)(?:\/[A-Za-z0-9_@+][A-Za-z0-9_.@+-]{0,150}){1,8})$/;

/** Whether an archive may have a member of this name besides its head, manifest and seal. */
export function isMember(name: string): boolean {
  return MEMBER.test(name);
}

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().min(0);

/** What any format's head says. */
export const formatSchema = z.object({ product: z.literal('livekit-fleet'), format: z.int() });

export const headSchema = formatSchema.extend({
  /** Of this archive. */
  id: z.uuid(),
  /** ISO 8601, UTC. */
  madeAt: z.string(),
  machine: z.string(),
  address: z.string(),
  role: z.enum(['all', 'gateway', 'media']),
  dataDir: z.string().startsWith('/'),
  /** keyFingerprint of the fleet. */
  fingerprint: z.string(),
  versions: z.object({ fleet: z.string(), node: z.string(), livekit: z.string().nullable() }),
  /** Bytes of all members that it will have, about. */
  bytes: count,
});

const databaseSchema = z.object({
  /** Version of the tables. */
  schema: count,
  /** Rows by table. */
  rows: z.record(z.string(), count),
  /** Major version of the pg_dump that wrote it. */
  madeWith: count.optional(),
});

export const manifestSchema = z.object({
  id: z.uuid(),
  members: z.array(z.object({ name: z.string(), bytes: count, sha256 })),
  counts: z.object({
    /** Of Redis's first database; null where Redis's file does not say it. */
    redis: z.object({ keys: count, expires: count }).nullable(),
    /** By member. */
    databases: z.partialRecord(z.enum([SERVICE, RELAY, POSTGRES]), databaseSchema),
  }),
});

export type Head = z.infer<typeof headSchema>;
export type Manifest = z.infer<typeof manifestSchema>;
export type DatabaseCounts = z.infer<typeof databaseSchema>;

/** `livekit-fleet-<machine>-<UTC>.tar.zst`, with `.age` where it is encrypted; sorted by name is sorted by time. */
export function archiveName({ machine, madeAt }: Pick<Head, 'machine' | 'madeAt'>, isEncrypted: boolean): string {
  return `livekit-fleet-${machine}-${madeAt.replaceAll(/[-:]|\.\d+/g, '')}.tar.zst${isEncrypted ? '.age' : ''}`;
}

const NAME = /^livekit-fleet-([a-z0-9][a-z0-9-]*)-(\d{8}T\d{6}Z)\.tar\.zst(\.age)?$/;

/** What an archive's name says; null for any other file. */
export function parseArchiveName(name: string): { machine: string; madeAt: string; isEncrypted: boolean } | null {
  const found = NAME.exec(name);
  if (found === null) return null;
  const madeAt = (found[2] ?? '').replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5');
  return { machine: found[1] ?? '', madeAt, isEncrypted: found[3] !== undefined };
}
