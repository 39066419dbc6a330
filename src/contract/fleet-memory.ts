import * as z from 'zod';
import { parseNodeRecords } from './node-record.ts';
import type { NodeRecord } from './node-record.ts';

/** Name, below the agent's folder, of the file in which the agent remembers the fleet. */
export const FLEET_MEMORY = 'fleet.json';

/** Reads the file's text: the records by machine. Null where it is none (another version's, or damaged). Throws nothing. */
export function parseFleetMemory(text: string): NodeRecord[] | null {
  try {
    const fields = z.record(z.string(), z.unknown()).safeParse(JSON.parse(text));
    if (!fields.success) return null;
    return parseNodeRecords(Object.fromEntries(Object.entries(fields.data).map(([machine, record]) => [machine, JSON.stringify(record)])));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
