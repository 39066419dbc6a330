/** A file as it should stand on the machine. */
export interface RenderedFile {
  readonly path: string;
  readonly content: string;
  /** A large file that is copied as it is; `content` is the line by which one version of it is told from another. */
  readonly copyOf?: string;
  /** Permission bits, such as 0o640. */
  readonly mode: number;
  readonly owner: 'root' | 'service';
  /**
   * `ours`: always made equal. `shared`: the program rewrites it as well (Redis, Sentinel); it is written again only when
   * the marker line differs. Directives named in `keep` are the program's own once it has run: the file's former lines
   * survive, `content` begins with the ones that it starts from, and `body` is `content` without those. A former text
   * without the directive `needs` survives in nothing. In a line that survives and begins with `adapt`'s text, the next word is replaced.
   * `theirs`: the program's own, which it is only given to begin with.
   */
  readonly ownership: { kind: 'ours' } | { kind: 'theirs' } | SharedFile;
}

/** See RenderedFile. */
export interface SharedFile {
  readonly kind: 'shared';
  readonly marker: string;
  readonly keep: readonly string[];
  readonly needs: string | null;
  readonly adapt: readonly [string, string] | null;
  readonly body: string;
}

/** Everything but content defaulted: 0640, root-owned, ours. */
export function ourFile(path: string, content: string, options: { mode?: number } = {}): RenderedFile {
  return { path, content, mode: options.mode ?? 0o640, owner: 'root', ownership: { kind: 'ours' } };
}

/** A copy of a file of the project. @param content its first line, which names what it was built from */
export function copiedFile(path: string, copyOf: string, content: string): RenderedFile {
  return { ...ourFile(path, content), copyOf };
}

/** Pretty JSON with a final newline. */
export function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
