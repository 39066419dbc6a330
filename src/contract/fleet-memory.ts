import * as z from 'zod';
import { parseNodeRecords } from './node-record.ts';
import type { NodeRecord } from './node-record.ts';
import { parseJson } from '../kernel/parse-json.ts';

/** Name, below the agent's folder, of the file in which the agent remembers the fleet. */
export const FLEET_MEMORY = 'fleet.json';

/** Reads the file's text: the records by machine. Null where it is none (another version's, or damaged). Throws nothing. */
export function parseFleetMemory(text: string): NodeRecord[] | null {
  const fields = parseJson(z.record(z.string(), z.unknown()), text);
  if (fields === null) return null;
  return parseNodeRecords(Object.fromEntries(Object.entries(fields).map(([machine, record]) => [machine, JSON.stringify(record)])));
}
