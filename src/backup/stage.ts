import { cp, lstat, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ENV, RELAY, SERVICE } from './format.ts';
import type { Manifest } from './format.ts';
import { giveFolder } from './foreign-hands.ts';
import { hasCode } from '../kernel/has-code.ts';
import { redisPlace } from './prove.ts';
import { redisFolder } from '../render/redis.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { livekitVersionFile } from '../topology/topology.ts';
import { asideFolder } from './swap.ts';
import type { SwapItem } from './swap.ts';

/** What is to be swapped, and the parts that use it. */
export interface Staged {
  readonly items: readonly SwapItem[];
  readonly parts: readonly Part[];
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
  const { topology, folder, members, env, envPath, hasRedis, isBare, user } = options;
  const { layout } = topology;
  const has = (name: string): boolean => members.some((one) => one.name === name);
  const items: SwapItem[] = [];
  const parts: Part[] = [];
  const add = async (live: string, staged: string, isText = false): Promise<void> => {
    await mkdir(dirname(live), { recursive: true, mode: 0o750 });
    const hadLive = (await stat(live).catch(() => null)) !== null;
    items.push({ live, staged, former: `${asideFolder(layout)}/${isText ? ENV : live.slice(live.lastIndexOf('/') + 1)}`, hadLive, isText });
  };
  if (hasRedis) {
    await keep(`${redisFolder(topology)}/redis.conf`, `${redisPlace(folder)}/redis.conf`);
    await giveFolder(redisPlace(folder), user);
    await add(redisFolder(topology), redisPlace(folder));
    parts.push('redis');
  }
  if (topology.parts.includes('service') && has(SERVICE)) {
    await place(`${folder}/${SERVICE}`, `${folder}/service/service.db`);
    await giveFolder(`${folder}/service`, user);
    await add(`${layout.state}/service`, `${folder}/service`);
    parts.push('service');
  }
  if (topology.parts.includes('caddy') && members.some((one) => one.name.startsWith('caddy/'))) {
    const isChanged = await fillCaddy(`${layout.state}/caddy`, `${folder}/caddy`);
    await giveFolder(`${folder}/caddy`, user);
    if (isChanged) await add(`${layout.state}/caddy`, `${folder}/caddy`);
    if (isChanged) parts.push('caddy');
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
  return { items, parts };
}

/**
 * What Caddy is to have: what it has now, with the archive's authority, and of the archive's certificates and accounts those that
 * are missing now. Gives whether that is anything else than what it has.
 */
async function fillCaddy(live: string, staged: string): Promise<boolean> {
  let isChanged = false;
  const archived = `${staged}.archived`;
  await rename(staged, archived);
  await cp(live, staged, { recursive: true, preserveTimestamps: true, filter: async (path) => isKept(await lstat(path).catch(() => null)) }).catch(
    ignoreMissing,
  );
  await mkdir(staged, { recursive: true });
  for (const entry of await readdir(archived, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const from = `${entry.parentPath}/${entry.name}`;
    const to = `${staged}${from.slice(archived.length)}`;
    const isAuthority = to.startsWith(`${staged}/pki/`);
    const now = await stat(to).catch(() => null);
    if (now !== null && (!isAuthority || (await areSame(from, to)))) continue;
    await rm(to, { force: true });
    await place(from, to);
    isChanged = true;
  }
  await rm(archived, { recursive: true });
  return isChanged;
}

/** Folders and files, but no socket, and no link: it could lead anywhere. */
function isKept(info: { isFile(): boolean; isDirectory(): boolean } | null): boolean {
  return info !== null && (info.isFile() || info.isDirectory());
}

async function areSame(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([readFile(a), readFile(b)]);
  return one.equals(other);
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true, mode: 0o750 });
  await rename(from, to);
}

async function keep(from: string, to: string): Promise<void> {
  await cp(from, to, { preserveTimestamps: true }).catch(ignoreMissing);
}

function ignoreMissing(error: unknown): void {
  if (!hasCode(error, 'ENOENT')) throw error;
}
