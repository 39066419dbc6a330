import { setTimeout as sleep } from 'node:timers/promises';
import { versionPattern } from '../contract/orders.ts';
import type { UpgradeOrder } from '../contract/orders.ts';
import { tellPipe } from './pipe.ts';
import { readIfThere } from './state-file.ts';

/** The upgrades part's files. */
export interface UpgradeFiles {
  readonly pipe: string;
  readonly result: string;
  readonly log: string;
}

const POLL_MS = 500;
/** It is told again so often: it may have been started anew since, or its command have been broken off, which it then says. */
const POLLS_A_TELLING = 20;
/** Half a minute. It is started anew within a second, also by an upgrade. */
const POLLS_UNHEARD = 60;
/** Longer lines of a log are no news for people. */
const MAX_DETAIL = 2_000;

/**
 * Has the upgrades part carry out an order, whose number it carries out once, and follows it to its end.
 * @param options.onProgress gets the last line that the command has written
 * @returns its exit code, and its last line of JSON, or its error
 * @throws the reason where the part does not take it up; the signal's reason
 */
export async function runUpgrade(
  files: UpgradeFiles,
  order: UpgradeOrder,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (detail: string) => Promise<unknown> },
): Promise<{ code: number; detail: string }> {
  const ended = async (): Promise<string | null> => {
    const [id, code] = ((await readIfThere(files.result)) ?? '').trim().split(' ');
    return id === order.id ? (code ?? '-') : null;
  };
  const line = `${order.id} ${order.language} ${wordsOf(order.upgrade)}`;
  let problem: unknown = new Error('the part does not take the order up');
  let isTold = false;
  for (let polls = 0; ; polls++) {
    const code = await ended();
    const lines = ((await readIfThere(files.log)) ?? '').split('\n').filter((one) => one.trim() !== '');
    if (code !== null && code !== '-')
      return { code: Number(code), detail: (lines.findLast((one) => /^[{✗]/.test(one)) ?? lines.at(-1) ?? '').slice(0, MAX_DETAIL) };
    if (code === null && polls >= POLLS_UNHEARD) throw problem;
    if (!isTold || polls % POLLS_A_TELLING === 0)
      isTold = await tellPipe(files.pipe, line).then(
        () => true,
        (error: unknown) => {
          problem = error;
          return false;
        },
      );
    // What stands there before it has begun is of another order.
    if (code !== null) await onProgress((lines.at(-1) ?? '').trim().slice(0, MAX_DETAIL));
    await sleep(POLL_MS, undefined, { signal });
  }
}

function wordsOf(upgrade: UpgradeOrder['upgrade']): string {
  if ('fetch' in upgrade) return `fetch ${upgrade.fetch}`;
  return `${upgrade.isNow ? 'upgrade-now' : 'upgrade'} ${versionPattern.exec(upgrade.to)?.[0] ?? ''}`;
}
