import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { deployFleetOfThree } from '../fleet/fleet-of-three.ts';
import { runChaos } from './chaos.ts';

const USAGE = 'npm run chaos -- --store FOLDER [--seed N] [--minutes N] [--only REGEXP]   (see docs/benchmarks.md)';
const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    minutes: { type: 'string', default: '20' },
    only: { type: 'string', default: '' },
  },
});
const [seed, minutes] = [Number(values.seed), Number(values.minutes)];
if (values.store === undefined || !Number.isInteger(seed) || !(minutes > 0)) {
  console.error(USAGE);
  process.exit(2);
}
if (process.getuid?.() !== 0) {
  console.error('machines need root');
  process.exit(2);
}

const abort = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => abort.abort(new Error(`ended by ${name}`)));
const say = (text: string): void => console.error(`… ${text}`);

say(`seed ${seed}: booting and deploying four machines`);
const fleet = await deployFleetOfThree(resolve(values.store));
try {
  const report = await runChaos(fleet, { seed, only: new RegExp(values.only), forMs: minutes * 60_000, signal: abort.signal, say });
  console.log(JSON.stringify({ seed, minutes, ...report }, null, 2));
  if (report.violations.length > 0) process.exitCode = 1;
} catch (error) {
  if (!abort.signal.aborted) throw error;
  console.error(String(abort.signal.reason));
  process.exitCode = 130;
} finally {
  await fleet.remove();
}
