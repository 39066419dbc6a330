import { createHash } from 'node:crypto';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';
import { parseJson } from '../kernel/parse-json.ts';
import * as is from './variable.ts';
import type { Settings } from './schema.ts';

/** What the gateway machine has to know of the fleet. A credential as a whole. */
const joinSchema = z.object({
  LIVEKIT_API_KEY: is.credential,
  LIVEKIT_API_SECRET: is.credential,
  REDIS_PASSWORD: is.password,
  REDIS_HOST: is.host,
  REDIS_PORT: z.int(),
  SENTINEL_PORT: z.int(),
  AGENT_PORT: z.int(),
});
export type Join = z.infer<typeof joinSchema>;

const PREFIX = 'lkf1';

/** The word behind `./部署.sh join`: what a gateway needs, and a checksum, since a person copies it. @param address of this machine */
export function writeJoin(settings: Settings, address: string): string {
  const join: Join = joinSchema.parse({ ...settings, REDIS_HOST: address });
  const body = Buffer.from(JSON.stringify(Object.values(join))).toString('base64url');
  return `${PREFIX}.${body}.${checksum(body)}`;
}

/** @throws FleetError JOIN_DAMAGED, exit code 2 */
export function readJoin(word: string): Join {
  const [prefix, body = '', sum, ...rest] = word.trim().split('.');
  const damaged = new FleetError('JOIN_DAMAGED', {}, { exitCode: 2 });
  if (prefix !== PREFIX || rest.length > 0 || sum !== checksum(body)) throw damaged;
  const names = Object.keys(joinSchema.shape);
  const schema = z
    .array(z.unknown())
    .transform((values) => Object.fromEntries(names.map((name, index) => [name, values[index]])))
    .pipe(joinSchema);
  const join = parseJson(schema, Buffer.from(body, 'base64url').toString());
  if (join === null) throw damaged;
  return join;
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 8);
}
