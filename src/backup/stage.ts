import { lstat, mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ENV, RELAY, SERVICE } from './format.ts';
import type { Manifest } from './format.ts';
import { giveFolder, putInto, readBelow } from './foreign-hands.ts';
import { hasCode } from '../kernel/has-code.ts';
import { redisPlace } from './prove.ts';
import { redisFolder, sentinelFile } from '../render/redis.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { livekitVersionFile } from '../topology/topology.ts';
import { asideFolder } from './swap.ts';
import type { SwapItem } from './swap.ts';

/** No file of Caddy's is as large. */
const LARGEST_SMALL = 16 * 1024 * 1024;
const REDIS_CONF = 'redis.conf';

/** What is to be swapped, and the parts that use it. */
export interface Staged {
  readonly items: readonly SwapItem[];
  readonly parts: readonly Part[];
  /** Takes what changed meanwhile, and gives all of it to its user; to be called once the parts have stopped and nothing uses the archive's data. */
  settle(): Promise<void>;
}

export interface StageOptions {
  readonly topology: Topology;
  /** Where the archive was proved. */
  readonly folder: string;
  readonly members: Manifest['members'];
  readonly envPath: string;
  /** The settings file as it is to be; null: it stays. */
  readonly env: string | null;
  /** Whether Redis's data go in as files. */
  readonly hasRedis: boolean;
  /** Whether this machine is what is left of its fleet: its Redis follows nobody, and its Sentinel knows of no other. */
  readonly isAlone: boolean;
  /** Whether nothing is deployed here yet. */
  readonly isBare: boolean;
  readonly user: { uid: number; gid: number };
}

/**
 * Makes of an archive that was proved the folders that this machine's parts will use, beside those that they use now. What a part
 * has beside its data stays as it is now: Redis's configuration, certificates that are newer than the archive. Webhooks on their way
 * and what the agent knows of the fleet are of the moment: they come back only where there is nothing yet.
 */
export async function stage(options: StageOptions): Promise<Staged> {
  const { topology, folder, members, env, envPath, hasRedis, isAlone, isBare, user } = options;
  const { layout } = topology;
  const has = (name: string): boolean => members.some((one) => one.name === name);
  const items: SwapItem[] = [];
  const parts: Part[] = [];
  const last: (() => Promise<void>)[] = [];
  const add = async (live: string, staged: string, isText = false): Promise<void> => {
    await mkdir(dirname(live), { recursive: true, mode: 0o750 });
    const hadLive = (await stat(live).catch(() => null)) !== null;
    items.push({ live, staged, former: `${asideFolder(layout)}/${isText ? ENV : live.slice(live.lastIndexOf('/') + 1)}`, hadLive, isText });
  };
  if (hasRedis) {
    last.push(async () => {
      const conf = await readBelow(redisFolder(topology), REDIS_CONF, { longest: LARGEST_SMALL });
      if (conf !== null) await putInto(redisPlace(folder), REDIS_CONF, isAlone ? withoutPrimary(conf) : conf);
      await giveFolder(redisPlace(folder), user);
    });
    await add(redisFolder(topology), redisPlace(folder));
    parts.push('redis');
  }
  if (isAlone) {
    // A deploy writes what a Sentinel begins with.
    await mkdir(`${folder}/sentinel`);
    await giveFolder(`${folder}/sentinel`, user);
    await add(dirname(sentinelFile(topology)), `${folder}/sentinel`);
    parts.push('sentinel');
  }
  if (topology.parts.includes('service') && has(SERVICE)) {
    await place(`${folder}/${SERVICE}`, `${folder}/service/service.db`);
    await giveFolder(`${folder}/service`, user);
    await add(`${layout.state}/service`, `${folder}/service`);
    parts.push('service');
  }
  if (topology.parts.includes('caddy') && members.some((one) => one.name.startsWith('caddy/'))) {
    const [live, staged] = [`${layout.state}/caddy`, `${folder}/caddy`];
    const placed = await fillCaddy(live, staged);
    if (placed.size > 0) {
      last.push(async () => {
        await catchUp(live, staged, placed);
        await giveFolder(staged, user);
      });
      await add(live, staged);
      parts.push('caddy');
    }
  }
  if (isBare && (has(RELAY) || members.some((one) => one.name.startsWith('agent/')))) {
    if (has(RELAY)) await place(`${folder}/${RELAY}`, `${folder}/agent/webhooks.db`);
    await giveFolder(`${folder}/agent`, user);
    await add(`${layout.state}/agent`, `${folder}/agent`);
    parts.push('agent');
  }
  const version = livekitVersionFile(layout);
  const name = version.slice(layout.root.length + 1);
  if (isBare && has(name)) await add(version, `${folder}/${name}`);
  if (env !== null) {
    await writeFile(`${folder}/${ENV}`, env, { mode: 0o600 });
    await add(envPath, `${folder}/${ENV}`, true);
  }
  return {
    items,
    parts,
    async settle() {
      for (const one of last) await one();
    },
  };
}

/**
 * What Caddy is to have: what it has now, with the archive's authority, and of the archive's certificates and accounts those that
 * are missing now. Gives the paths, below that folder, of what it does not have now.
 */
async function fillCaddy(live: string, staged: string): Promise<ReadonlySet<string>> {
  const placed = new Set<string>();
  const archived = `${staged}.archived`;
  await rename(staged, archived);
  await mkdir(staged);
  await catchUp(live, staged, placed);
  for (const entry of await readdir(archived, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const from = `${entry.parentPath}/${entry.name}`;
    const to = `${staged}${from.slice(archived.length)}`;
    const isAuthority = to.startsWith(`${staged}/pki/`);
    const now = await stat(to).catch(() => null);
    if (now !== null && (!isAuthority || (await areSame(from, to)))) continue;
    await rm(to, { force: true });
    await place(from, to);
    placed.add(to.slice(staged.length + 1));
  }
  await rm(archived, { recursive: true });
  return placed;
}

/** Takes what Caddy has and the copy has not, at last a certificate that came meanwhile, but for the archive's authority; links lead nowhere. */
async function catchUp(live: string, staged: string, placed: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir(live, { recursive: true, withFileTypes: true }).catch(ignoreMissing)) {
    const path = `${entry.parentPath}/${entry.name}`.slice(live.length + 1);
    if (!entry.isFile() || (path.startsWith('pki/') && placed.has(path))) continue;
    const [now, then] = await Promise.all([live, staged].map((folder) => lstat(`${folder}/${path}`).catch(() => null)));
    // The copy's time is of milliseconds.
    if (now == null || (then?.size === now.size && Math.trunc(then.mtimeMs) === Math.trunc(now.mtimeMs))) continue;
    const content = await readBelow(live, path, { longest: LARGEST_SMALL });
    if (content === null) continue;
    await rm(`${staged}/${path}`, { force: true });
    await mkdir(dirname(`${staged}/${path}`), { recursive: true, mode: 0o750 });
    await writeFile(`${staged}/${path}`, content, { mode: now.mode & 0o777 });
    await utimes(`${staged}/${path}`, now.atime, now.mtime);
  }
}

/** Of a redis.conf, all but whom it follows. */
function withoutPrimary(conf: Buffer): Buffer {
  return Buffer.from(conf.toString('latin1').replaceAll(/^(?:replicaof|slaveof) .*\n?/gim, ''), 'latin1');
}

async function areSame(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([readFile(a), readFile(b)]);
  return one.equals(other);
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true, mode: 0o750 });
  await rename(from, to);
}

function ignoreMissing(error: unknown): never[] {
  if (!hasCode(error, 'ENOENT')) throw error;
  return [];
}
