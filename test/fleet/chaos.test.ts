import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { runChaos } from '../chaos/chaos.ts';
import { deployFleetOfThree } from './fleet-of-three.ts';
import type { FleetOfThree } from './fleet-of-three.ts';

/** `npm run chaos` goes on for longer. */
const CHAOS_MS = 30_000;
let fleet: FleetOfThree;

beforeAll(async () => {
  fleet = await deployFleetOfThree(inject('componentStore'));
});

afterAll(async () => {
  await fleet.remove();
});

it('a fleet of three keeps its promises while one thing after the other fails, and nobody helps', async () => {
  const said: string[] = [];
  const report = await runChaos(fleet, { seed: 7, forMs: CHAOS_MS, patience: 4, signal: new AbortController().signal, say: (text) => void said.push(text) });
  expect(report.violations, said.join('\n')).toEqual([]);
  expect(report.faults).toBeGreaterThan(1);
  expect(report.webhooks).toBeGreaterThan(report.made);
});
