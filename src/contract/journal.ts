import * as z from 'zod';
import { machineName } from './node-record.ts';
import { parseJson } from '../kernel/parse-json.ts';

/** Redis sorted set: what was done on all machines, each line of their journals with its time (ms since 1970) as score. */
export const JOURNAL_KEY = 'fleet:journal';
/** The fleet remembers so many lines, and a machine ships and shows its last ones of as many. */
export const JOURNAL_LINES = 2_000;

const journalEntrySchema = z.object({
  /** The same in the two lines of one command: when it began, and when it ended. */
  id: z.string().min(1).max(100),
  atMs: z.number(),
  machine: machineName,
  /** The person's user name. */
  by: z.string().max(100),
  /** The command line without secrets. */
  words: z.array(z.string().max(300)).max(30),
  /** Names of the settings that the command line changed. */
  variables: z.array(z.string().max(100)).max(100),
  /** Null while it runs, and for ever where it was killed. `code`: that of the error, null where there was none. */
  ended: z.object({ ms: z.number(), code: z.string().max(100).nullable() }).nullable(),
});

/** A line of a machine's journal. */
export type JournalEntry = z.infer<typeof journalEntrySchema>;

/** The entries of a text with one JSON document a line, in their order; other lines are left out. Throws nothing. */
export function parseJournal(text: string): JournalEntry[] {
  return text.split('\n').flatMap((line) => parseJson(journalEntrySchema, line) ?? []);
}

/** One entry a command, as far as it is known, by the time it began. */
export function mergeJournal(entries: readonly JournalEntry[]): JournalEntry[] {
  const byId = new Map<string, JournalEntry>();
  for (const entry of entries) if (entry.ended !== null || !byId.has(entry.id)) byId.set(entry.id, entry);
  return [...byId.values()].toSorted((a, b) => a.atMs - b.atMs);
}
