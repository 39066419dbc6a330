import { isDeepStrictEqual } from 'node:util';
import { withInstallation } from './bench-installation.ts';
import { keepRendered, timeBareNode, timeFloor } from './floor.ts';
import { measureKilled } from './killed.ts';
import { measureResident } from './resident.ts';
import type { Row } from './table.ts';

export interface DeployBenchOptions {
  readonly rounds: number;
  /** Component store that holds everything already; null: one is filled first. */
  readonly store: string | null;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Deploying on a prepared machine, deploying again, and memory at rest. */
export async function benchDeploy({ rounds, store, signal, say }: DeployBenchOptions): Promise<Row[]> {
  return withInstallation(store, async (bench) => {
    say('preparing: components, secrets, rendered files');
    await bench.timed(['deploy']);
    await keepRendered(bench);
    say('memory: a meeting, then 20 s of rest');
    const resident = await measureResident(bench, signal);
    say('killing each part');
    const killed = await measureKilled(bench, signal);
    await bench.clear();
    const fresh: number[] = [];
    const again: number[] = [];
    const floor: number[] = [];
    const bareNode: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      signal.throwIfAborted();
      fresh.push(await bench.timed(['deploy']));
      const before = await bench.pids();
      again.push(await bench.timed(['deploy']));
      const after = await bench.pids();
      if (!isDeepStrictEqual(before, after)) throw new Error(`a deploy without a change restarted something: ${JSON.stringify({ before, after })}`);
      await bench.clear();
      signal.throwIfAborted();
      floor.push(await timeFloor(bench));
      bareNode.push(await timeBareNode(bench));
      const seconds = [fresh, again, floor, bareNode].map((values) => `${values.at(-1)?.toFixed(2)} s`);
      say(`round ${round}: deploy ${seconds[0]}, again ${seconds[1]}, bare ${seconds[2]}, with bare Nodes ${seconds[3]}`);
    }
    return [
      { name: 'deploy, machine prepared', unit: 's', ours: fresh, floor, limit: { times: 1.5 } },
      { name: 'of that, Node itself', unit: 's', ours: bareNode, floor, limit: { times: 1.5 } },
      { name: 'deploy, nothing to change', unit: 's', ours: again, floor: [], limit: { value: 1 } },
      resident,
      killed,
    ];
  });
}
