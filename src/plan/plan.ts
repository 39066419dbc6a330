import type { RenderedFile } from '../render/rendered-file.ts';
import type { Part } from '../topology/topology.ts';

/** What stands on the machine now. */
export interface Observed {
  /** Content, permission bits and owner of each desired path that exists. */
  readonly files: ReadonlyMap<string, { content: string; mode: number }>;
  /** Fingerprint with which each part was last started by us. */
  readonly applied: Readonly<Partial<Record<Part, string>>>;
  readonly running: ReadonlySet<Part>;
}

/** What should be. */
export interface Desired {
  readonly files: readonly RenderedFile[];
  /** Fingerprint of everything that a part is started from, in start order. */
  readonly parts: ReadonlyArray<{ part: Part; fingerprint: string }>;
}

/** One step of a plan. `content` is what will be written (kept directives included). */
export type Change =
  | { kind: 'create'; file: RenderedFile; content: string }
  | { kind: 'update'; file: RenderedFile; content: string }
  | { kind: 'start'; part: Part; fingerprint: string }
  | { kind: 'restart'; part: Part; fingerprint: string }
  | { kind: 'retire'; part: Part };

/** The parts that are to be started, and do not run yet. */
export function startingOf(changes: readonly Change[]): ReadonlySet<Part> {
  return new Set(changes.flatMap((change) => (change.kind === 'start' ? [change.part] : [])));
}

/** Compares desired with observed. Empty when nothing is to be done. */
export function makePlan(desired: Desired, observed: Observed): Change[] {
  const changes: Change[] = [];
  for (const file of desired.files) {
    const now = observed.files.get(file.path);
    if (now === undefined) changes.push({ kind: 'create', file, content: file.content });
    else if (!isCurrent(file, now)) changes.push({ kind: 'update', file, content: keepDirectives(file, now.content) });
  }
  for (const { part, fingerprint } of desired.parts) {
    if (!observed.running.has(part)) changes.push({ kind: 'start', part, fingerprint });
    else if (observed.applied[part] !== fingerprint) changes.push({ kind: 'restart', part, fingerprint });
  }
  const wanted = new Set(desired.parts.map((one) => one.part));
  for (const part of Object.keys(observed.applied) as Part[]) if (!wanted.has(part)) changes.push({ kind: 'retire', part });
  return changes;
}

function isCurrent(file: RenderedFile, now: { content: string; mode: number }): boolean {
  if (file.ownership.kind === 'theirs') return true;
  if (file.ownership.kind === 'shared') return now.content.split('\n').includes(file.ownership.marker);
  return now.content === file.content && now.mode === file.mode;
}

/** The new text with the lines of the old one that the program itself has written, or has left out, since it first ran. */
function keepDirectives(file: RenderedFile, old: string): string {
  if (file.ownership.kind !== 'shared') return file.content;
  const { keep, needs, adapt, body } = file.ownership;
  const kept = old.split('\n').filter((line) => keep.some((directive) => has(line, directive)));
  const isWhole = old.includes('# livekit-fleet ') && (needs === null || kept.some((line) => has(line, needs)));
  return isWhole ? `${kept.map((line) => `${adapted(line, adapt)}\n`).join('')}${body}` : file.content;
}

function adapted(line: string, adapt: readonly [string, string] | null): string {
  const [beginning, word] = adapt ?? ['', ''];
  return adapt === null || !line.startsWith(beginning) ? line : `${beginning}${word}${line.slice(beginning.length).replace(/^\S+/, '')}`;
}

function has(line: string, directive: string): boolean {
  return line.startsWith(`${directive} `);
}
