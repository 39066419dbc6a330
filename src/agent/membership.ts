import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { redisTimeMs } from '../clients/redis-time.ts';
import { MEMBERS_KEY } from '../contract/knock.ts';
import { writeAtomically } from './state-file.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 2_000;
/** The firewall takes a second. One that does not work at all is the operator's to mend, and no reason to serve nobody. */
const OPENING_MS = 15_000;
/**
 * An address that nobody has answered for so long is not let in any more; a machine that returns to it knocks, which may take a minute.
 * Who leaves, or is forgotten, goes at once. Longer than a cable is out: a former primary that nobody lets in stays a second one as long.
 */
const MAX_AGE_MS = 7 * 24 * 60 * 60_000;
/** After an outage of Redis every entry is old: the others get this long to say that they are there. */
const SETTLE_MS = 60_000;
/** So that each machine knows the address that this one's packets come from. */
const KNOCK_PERIOD_MS = 60_000;

export interface MembershipOptions {
  /** The address that other machines know this one by. */
  readonly own: string;
  /** Machines that the settings name. */
  readonly peers: readonly string[];
  /** Where the firewall part reads the members, and where it writes those that it has let in; null without it. */
  readonly firewall: { readonly membersFile: string; readonly appliedFile: string } | null;
  readonly redis: Redis;
  readonly knock: (host: string) => Promise<unknown>;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly monotonicMs: () => number;
}

/** Who belongs to the fleet, as the firewall of this machine is to see it. */
export interface Membership {
  /** Takes an address that has proved to belong to the fleet, and tells the other machines; true once the firewall lets it in. */
  admit(address: string): Promise<boolean>;
  /** True once the firewall has let all in whom the fleet knew when this machine came: before, they would not reach it. */
  isOpen(): Promise<boolean>;
  stop(): Promise<void>;
}

/** Keeps this machine known to the others, and them to its firewall: through Redis, and by knocking while that is out of reach. */
export async function startMembership(options: MembershipOptions): Promise<Membership> {
  const { own, peers, firewall, redis, log, monotonicMs } = options;
  let known = new Set(firewall === null ? [] : await readAddresses(firewall.membersFile));
  /** Admitted here, and not yet in Redis. */
  const admitted = new Set<string>();
  const knocking = new Set<string>();
  let readableSinceMs: number | null = null;
  let knockedAtMs = Number.NEGATIVE_INFINITY;
  let saved: string | null = null;
  let hasShared = false;
  const beganMs = monotonicMs();
  let saving = Promise.resolve();

  const save = (): Promise<void> => {
    saving = saving
      .then(async () => {
        const text = [...known]
          .toSorted()
          .map((address) => `${address}\n`)
          .join('');
        if (firewall === null || text === saved) return;
        // The firewall part is of this group.
        await writeAtomically(firewall.membersFile, text, 0o640);
        saved = text;
      })
      .catch((error: unknown) => log.error({ err: error }, 'members not written'));
    return saving;
  };
  const share = async (): Promise<void> => {
    const nowMs = await redisTimeMs(redis);
    const told = [...admitted];
    await redis.hset(MEMBERS_KEY, Object.fromEntries([own, ...told].map((address) => [address, String(nowMs)])));
    for (const address of told) admitted.delete(address);
    const entries = Object.entries(await redis.hgetall(MEMBERS_KEY)).filter(([address]) => isIPv4(address));
    const isFresh = ([, atMs]: [string, string]): boolean => nowMs - Number(atMs) < MAX_AGE_MS;
    const fresh = entries.filter(isFresh).map(([address]) => address);
    readableSinceMs ??= monotonicMs();
    if (monotonicMs() - readableSinceMs < SETTLE_MS) {
      known = new Set([...known, ...fresh]);
      return;
    }
    known = new Set([...fresh, ...admitted]);
    const gone = entries.filter((entry) => !isFresh(entry)).map(([address]) => address);
    if (gone.length > 0) await redis.hdel(MEMBERS_KEY, ...gone);
  };
  const isShared = async (): Promise<boolean> => {
    if (redis.status !== 'ready') return false;
    try {
      await share();
      hasShared = true;
      return true;
    } catch (error) {
      // Any failure of a command means the same here: the members that are known stay.
      log.debug({ err: error }, 'members not read');
      return false;
    }
  };
  /** One that does not answer takes some seconds, which the others need not wait. */
  const knockOnce = (host: string): void => {
    if (knocking.has(host)) return;
    knocking.add(host);
    options.knock(host).then(
      () => knocking.delete(host),
      (error: unknown) => log.error({ err: error }, 'knock failed'),
    );
  };
  const tick = async (): Promise<void> => {
    const isReadable = await isShared();
    if (!isReadable) readableSinceMs = null;
    await save();
    if (isReadable && monotonicMs() - knockedAtMs < KNOCK_PERIOD_MS) return;
    for (const host of new Set([...peers, ...known])) if (host !== own) knockOnce(host);
    knockedAtMs = monotonicMs();
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.error({ err: error }, 'members not in step'));

  return {
    async isOpen() {
      if (firewall === null || monotonicMs() - beganMs > OPENING_MS) return true;
      if (!hasShared) return false;
      const admittedNow = new Set(await readAddresses(firewall.appliedFile));
      return [...known].every((address) => address === own || admittedNow.has(address));
    },
    async admit(address) {
      const isNew = !known.has(address);
      known.add(address);
      admitted.add(address);
      await save();
      if (isNew) {
        log.info({ address }, 'machine let in');
        ticker.poke();
      }
      if (firewall === null) return true;
      const applied = await readFile(firewall.appliedFile, 'utf8').catch(() => null);
      // Without that file no rules are in force; a part that only starts will have it in a moment.
      if (applied === null) return monotonicMs() - beganMs > OPENING_MS;
      return addressesOf(applied).includes(address);
    },
    stop: () => ticker.stop(),
  };
}

/** The addresses of a file, one a line; none where there is no such file. */
async function readAddresses(path: string): Promise<string[]> {
  return addressesOf(await readFile(path, 'utf8').catch(() => ''));
}

function addressesOf(text: string): string[] {
  return text.split('\n').filter((line) => isIPv4(line));
}
