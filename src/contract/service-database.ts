/**
 * What the business service has in PostgreSQL, as far as others than the service have to know it: a backup takes these tables and
 * nothing else of the schema, and a restore holds the service's locks while it replaces them.
 */
export const SERVICE_TABLES = [
  'schema_version',
  'rooms',
  'participants',
  'events',
  'idempotency',
  'write_checks',
  'webhook_endpoints',
  'webhook_states',
  'outbox',
  'dead_letters',
  'tokens',
  'calls',
  'call_parties',
] as const;

/** Functions that the tables' triggers call; none takes anything. */
export const SERVICE_FUNCTIONS = ['outbox_in_order'] as const;

/** Where the version of the tables is kept. */
export const VERSION_TABLE = 'schema_version';

/** Advisory lock of whoever makes or upgrades the tables; with a lane's number beside it, of whoever changes rows in that lane. */
export const DATABASE_LOCK = 0x6c6b66;

/** Lanes in which services change rows: who holds all of them is alone. */
export const DATABASE_LANES = 8;
