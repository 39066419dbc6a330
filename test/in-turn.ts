import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { FleetError } from '../src/kernel/errors.ts';
import { withLock } from '../src/host/lock.ts';

/** Does `work` while no other test file of this computer does what has the same name; the others wait. */
export async function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await withLock(`${tmpdir()}/livekit-fleet-tests-${process.getuid?.()}/${name}`, 'test', work);
    } catch (error) {
      if (!(error instanceof FleetError && error.code === 'LOCKED')) throw error;
      await delay(100);
    }
  }
}
