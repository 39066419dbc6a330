import { resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { bringComponents } from '../src/components/bring.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Folder of a component store that has every component. */
    componentStore: string;
  }
}

/** Brings every component once for all tests that only need them to be there; kept between runs. */
export default async function bringForTests(project: TestProject): Promise<void> {
  const storeDir = resolve(import.meta.dirname, '../.cache/components');
  await bringComponents({
    names: ['livekit', 'caddy', 'redis', 'runit'],
    storeDir,
    overrides: {},
    bundleDir: null,
    mirror: null,
    goProxy: null,
    emit: (event) => {
      if (event.kind === 'step-finished') console.log(`component ${event.id} ${event.detail ?? ''} (${Math.round(event.ms / 100) / 10} s)`);
    },
    signal: AbortSignal.timeout(1_800_000),
  });
  project.provide('componentStore', storeDir);
}
