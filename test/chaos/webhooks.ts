import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../e2e/installation.ts';
import { mediaMachines } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';

const state = '/var/lib/livekit-fleet/state';
const node = '/opt/livekit-fleet/node_modules/node/bin/node';
/** LiveKit ends the rooms that nobody is in, and what waits is delivered, within this. */
const QUIET_MS = 120_000;
const QUIET_FOR_MS = 3_000;

/** Waits until every relay has delivered all it took, and compares that with what the service keeps. */
export async function compareWebhooks({ lab }: FleetOfThree): Promise<{ acknowledged: number; problems: readonly string[] }> {
  const column = async (number: number, database: string, sql: string): Promise<string[]> => {
    const script = `const { DatabaseSync } = require('node:sqlite');
      console.log(new DatabaseSync(${JSON.stringify(`${state}/${database}`)}, { readOnly: true }).prepare(${JSON.stringify(sql)}).all().map((row) => row.value).join('\\n'))`;
    const { code, out, err } = await lab.machine(number).exec([node, '--no-warnings', '-e', script]);
    if (code !== 0) throw new Error(err);
    return out.split('\n').filter((line) => line !== '');
  };
  const ofRelays = async (sql: string): Promise<string[]> =>
    (await Promise.all(mediaMachines.map((number) => column(number, 'agent/webhooks.db', sql)))).flat();
  // Twice: the last ones may come only now.
  const isQuiet = async (): Promise<boolean> => (await ofRelays('SELECT id AS value FROM deliveries')).length === 0;
  await until(async () => (await isQuiet()) && delay(QUIET_FOR_MS).then(isQuiet), QUIET_MS);
  const taken = async (): Promise<Set<string>> => new Set(await ofRelays('SELECT event_id AS value FROM seen'));
  // Rooms end all the time: what was taken by now is with the service once all is delivered again, and more with it.
  const sent = await taken();
  await until(isQuiet, QUIET_MS);
  const kept = await column(1, 'service/service.db', 'SELECT id AS value FROM events WHERE is_made_up = 0');
  const [had, sentByThen] = [new Set(kept), await taken()];
  const lost = [...sent].filter((id) => !had.has(id));
  const strange = kept.filter((id) => !sentByThen.has(id));
  return {
    acknowledged: sent.size,
    problems: [
      ...(lost.length === 0 ? [] : [`${lost.length} webhooks of ${sent.size} never came to the service: ${lost.slice(0, 5).join(' ')}`]),
      ...(had.size === kept.length ? [] : [`${kept.length - had.size} webhooks are kept twice`]),
      ...(strange.length === 0 ? [] : [`${strange.length} webhooks came that no relay took: ${strange.slice(0, 5).join(' ')}`]),
    ],
  };
}
