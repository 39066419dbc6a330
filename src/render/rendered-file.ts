/** A file as it should stand on the machine. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
  /** Permission bits, such as 0o640. */
  readonly mode: number;
  readonly owner: 'root' | 'service';
  /**
   * `ours`: always made equal. `shared`: the program rewrites it as well (Redis, Sentinel); it is written again only when
   * the marker in its first line differs. Directives named in `keep` are the program's own once it has run: the file's
   * former lines survive, `content` ends with the ones that it begins with, and `body` is `content` without those.
   */
  readonly ownership: { kind: 'ours' } | { kind: 'shared'; marker: string; keep: readonly string[]; body: string };
}

/** Everything but content defaulted: 0640, root-owned, ours. */
export function ourFile(path: string, content: string, options: { mode?: number } = {}): RenderedFile {
  return { path, content, mode: options.mode ?? 0o640, owner: 'root', ownership: { kind: 'ours' } };
}

/** Pretty JSON with a final newline. */
export function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
