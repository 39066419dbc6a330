import * as z from 'zod';
import { sendRequest } from '../../clients/http-request.ts';
import { parseJson } from '../../kernel/parse-json.ts';

/** The paths of rooms' own nodes, which the agent knows. */
export interface NodePaths {
  /** Such as `/n/m1`; empty (any node) where the agent does not say within 500 ms. */
  pathOf(room: string): Promise<string> | string;
}

interface Known {
  path: string;
  atMs: number;
  asking: Promise<string> | null;
}

/** So old a path is given without a question, */
const FRESH_MS = 500;
/** and so old while it is asked for anew: a room that is given to another node is found there as soon as Caddy leads there. */
const STALE_MS = 1_000;
const TIMEOUT_MS = 500;
const answerSchema = z.object({ path: z.string().regex(/^\/n\/[\w-]+$/) });

/** However many join a room at a time, the agent is asked twice a second. @param options.lookupUrl null: every path is empty; @param options.now milliseconds */
export function createNodePaths(options: { lookupUrl: string | null; now: () => number }): NodePaths {
  const { lookupUrl, now } = options;
  /** In the order in which they were learnt. */
  const known = new Map<string, Known>();

  const forgetStale = (): void => {
    for (const [room, one] of known) {
      if (one.asking === null && Math.abs(now() - one.atMs) <= STALE_MS) return;
      if (one.asking === null) known.delete(room);
    }
  };
  const ask = async (room: string, entry: Known): Promise<string> => {
    const path = await askAgent(lookupUrl ?? '', room);
    Object.assign(entry, { path, atMs: now(), asking: null });
    known.delete(room);
    forgetStale();
    known.set(room, entry);
    return path;
  };
  return {
    pathOf(room) {
      if (lookupUrl === null) return '';
      const entry: Known = known.get(room) ?? { path: '', atMs: Number.NEGATIVE_INFINITY, asking: null };
      const ageMs = Math.abs(now() - entry.atMs);
      if (ageMs <= FRESH_MS) return entry.path;
      known.set(room, entry);
      entry.asking ??= ask(room, entry);
      return ageMs <= STALE_MS ? entry.path : entry.asking;
    },
  };
}

async function askAgent(url: string, room: string): Promise<string> {
  try {
    const { text } = await sendRequest({ url: `${url}/v1/rooms/${encodeURIComponent(room)}/node`, timeoutMs: TIMEOUT_MS });
    return parseJson(answerSchema, text)?.path ?? '';
  } catch (error) {
    if (error instanceof Error) return '';
    throw error;
  }
}
