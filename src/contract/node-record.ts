import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';

/** A machine's name, also the path node `/n/<machine>`: lower-case letters, digits and dashes. */
export const machineName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/);

/** `host:port`, with an IPv6 host in brackets. */
export const hostAndPort = z.string().regex(/^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/);

/** The host of `host:port`, without brackets. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replaceAll(/[[\]]/g, '');
}

/** The two halves of `host:port`. */
export function endpointOf(address: string): { host: string; port: number } {
  return { host: hostOf(address), port: Number(address.slice(address.lastIndexOf(':') + 1)) };
}

/** Redis hash: machine name → the machine's record as JSON. */
export const NODES_KEY = 'fleet:nodes';
/** Redis set of the LiveKit nodes (ids) that an operator drains: what takes a node's place is another one, and is not drained. */
export const DRAINING_KEY = 'fleet:draining';
/** Redis string: the machine that is leaving; one at a time. */
export const LEAVING_KEY = 'fleet:leaving';
/** Redis channel: a record changed in more than its time. */
export const CHANGED_CHANNEL = 'fleet:changed';
/** A record older than this, by Redis TIME, is of a machine that no longer answers: ten missed heart-beats. */
export const RECORD_MAX_AGE_MS = 10_000;

const nodeRecordSchema = z.object({
  machine: machineName,
  /** Where machine 1 reaches LiveKit's signalling: `host:port`. */
  signalling: hostAndPort,
  /** LiveKit's own id, new at each of its starts; null while it is down. */
  nodeId: z.string().nullable(),
  version: z.string(),
  state: z.enum(['serving', 'down', 'draining', 'stopped']),
  keyFingerprint: z.string(),
  /** By Redis TIME. */
  updatedAtMs: z.number(),
});

/** What a media machine says about itself. */
export type NodeRecord = z.infer<typeof nodeRecordSchema>;

/** What is known of it: `isSilent` where it is taken for down since it says nothing, not by its own word. */
export type KnownNode = NodeRecord & { readonly isSilent?: boolean };

/** True while the record's machine takes signalling connections for its own rooms. */
export function isReachable(record: NodeRecord, nowMs: number): boolean {
  return (record.state === 'serving' || record.state === 'draining') && nowMs - record.updatedAtMs < RECORD_MAX_AGE_MS;
}

/** Reads one JSON record; null where it is none (another version's, or damaged). Throws nothing. */
export function parseNodeRecord(json: string): NodeRecord | null {
  return parseJson(nodeRecordSchema, json);
}

/** Reads the fields of the Redis hash, sorted by machine; a record whose field is not its machine is left out. */
export function parseNodeRecords(fields: Readonly<Record<string, string>>): NodeRecord[] {
  const records: NodeRecord[] = [];
  for (const [field, json] of Object.entries(fields)) {
    const record = parseNodeRecord(json);
    if (record !== null && record.machine === field) records.push(record);
  }
  return records.toSorted((a, b) => (a.machine < b.machine ? -1 : 1));
}
