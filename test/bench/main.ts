import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { benchBackup } from './backup.ts';
import { benchDeploy } from './deploy.ts';
import { benchFailover } from './failover.ts';
import { benchFirstDeploy } from './first.ts';
import { benchGrowth } from './growth.ts';
import { benchScale } from './scale.ts';
import { benchService } from './service.ts';
import { benchSoak } from './soak.ts';
import { formatTable, judge } from './table.ts';
import type { Row } from './table.ts';

const USAGE = `npm run bench -- deploy [--rounds N] [--store FOLDER] [--first] [--json]
npm run bench -- backup [--rounds N] [--store FOLDER] [--json]
npm run bench -- growth --store FOLDER [--rounds N] [--json]
npm run bench -- failover --store FOLDER [--rounds N] [--only REGEXP] [--keep FILE] [--json]
npm run bench -- scale --store FOLDER [--rounds N] [--json]
npm run bench -- service [--rounds N] [--json]
npm run bench -- soak [--minutes N] [--json]   (see docs/benchmarks.md)`;
const NEEDS_NO_STORE: ReadonlySet<string> = new Set(['deploy', 'backup', 'service', 'soak']);
const NEEDS_NO_ROOT: ReadonlySet<string> = new Set(['service', 'soak']);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    minutes: { type: 'string', default: '10' },
    store: { type: 'string' },
    only: { type: 'string' },
    keep: { type: 'string' },
    first: { type: 'boolean' },
    json: { type: 'boolean' },
  },
});
const rounds = Number(values.rounds);
const minutes = Number(values.minutes);
const [subject = '', ...more] = positionals;
const isKnown = NEEDS_NO_STORE.has(subject) || (['growth', 'failover', 'scale'].includes(subject) && values.store !== undefined);
if (!isKnown || more.length > 0 || !Number.isInteger(rounds) || rounds < 1 || !(minutes >= 4)) {
  console.error(USAGE);
  process.exit(2);
}
if (!NEEDS_NO_ROOT.has(subject) && process.getuid?.() !== 0) {
  console.error('a deploy needs root');
  process.exit(2);
}

const abort = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => abort.abort(new Error(`ended by ${name}`)));
const say = (text: string): void => console.error(`… ${text}`);

try {
  const rows = await measure();
  const judged = rows.map(judge);
  console.log(values.json === true ? JSON.stringify({ rounds, rows: judged }, null, 2) : formatTable(judged));
} catch (error) {
  if (!abort.signal.aborted) throw error;
  console.error(String(abort.signal.reason));
  process.exitCode = 130;
}

async function measure(): Promise<Row[]> {
  const common = { signal: abort.signal, say };
  const store = values.store === undefined ? null : resolve(values.store);
  if (subject === 'backup') return benchBackup({ ...common, rounds, store });
  if (subject === 'growth') return benchGrowth({ ...common, rounds, store: resolve(values.store ?? '') });
  if (subject === 'failover')
    return benchFailover({ ...common, rounds, only: values.only ?? '', keep: values.keep ?? null, store: resolve(values.store ?? '') });
  if (subject === 'scale') return benchScale({ ...common, rounds, store: resolve(values.store ?? '') });
  if (subject === 'soak') return benchSoak({ ...common, minutes });
  if (subject === 'service') return benchService({ ...common, rounds });
  return values.first === true ? [await benchFirstDeploy(common)] : benchDeploy({ ...common, rounds, store });
}
