import { open } from 'node:fs/promises';
import { isDiskFull } from '../kernel/has-code.ts';
import { SourceError, redactUrls } from './source-error.ts';

/** How a download is watched. */
export interface DownloadOptions {
  readonly signal: AbortSignal;
  readonly progress: (detail: string) => void;
}

/** A server that has not answered by then will hardly be usable; the next source is quicker. */
const answerTimeoutMs = 4_000;
/** A transfer without a single byte for this long is dead. */
const stallTimeoutMs = 10_000;
/** 30 MB at 50 KB/s; slower than this, the package registries are the better way. */
const totalTimeoutMs = 600_000;
/** As often as a person wants to see that it goes on; a quick download says nothing. */
const tellEveryMs = 2_000;

/** Fetches a small text. Throws SourceError with the reason. */
export function downloadText(url: string, options: DownloadOptions): Promise<string> {
  return download(url, options, async (response, touch) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of bodyOf(response)) {
      touch();
      parts.push(chunk);
    }
    return Buffer.concat(parts).toString('utf8');
  });
}

/** Fetches a file to `path` and says how far it is. Throws SourceError with the reason. */
export function downloadFile(url: string, path: string, options: DownloadOptions): Promise<void> {
  return download(url, options, async (response, touch) => {
    const total = Number(response.headers.get('content-length') ?? 0);
    const file = await open(path, 'w');
    try {
      let received = 0;
      let toldAt = performance.now();
      for await (const chunk of bodyOf(response)) {
        touch();
        received += chunk.length;
        await file.writeFile(chunk);
        if (performance.now() - toldAt < tellEveryMs) continue;
        toldAt = performance.now();
        options.progress(`${megabytes(received)}${total > 0 ? ` / ${megabytes(total)}` : ''} MB`);
      }
    } finally {
      await file.close();
    }
  });
}

async function download<T>(url: string, options: DownloadOptions, consume: (response: Response, touch: () => void) => Promise<T>): Promise<T> {
  const deadline = new AbortController();
  const fail = (reason: string) => (): void => deadline.abort(new SourceError(reason));
  const total = setTimeout(fail(`not finished after ${totalTimeoutMs / 1000} s`), totalTimeoutMs);
  let timer = setTimeout(fail(`no answer within ${answerTimeoutMs / 1000} s`), answerTimeoutMs);
  const touch = (): void => {
    clearTimeout(timer);
    timer = setTimeout(fail(`no data for ${stallTimeoutMs / 1000} s`), stallTimeoutMs);
  };
  try {
    const response = await fetch(url, { signal: AbortSignal.any([options.signal, deadline.signal]) });
    touch();
    if (!response.ok) throw new SourceError(`HTTP ${response.status}`);
    return await consume(response, touch);
  } catch (error) {
    options.signal.throwIfAborted();
    if (isDiskFull(error)) throw error;
    const cause = deadline.signal.aborted ? deadline.signal.reason : error;
    throw new SourceError(`${redactUrls(new URL(url).origin)}: ${explain(cause)}`, { cause: error });
  } finally {
    clearTimeout(total);
    clearTimeout(timer);
  }
}

/** `fetch failed` says nothing; its cause has the code (ENOTFOUND, ECONNREFUSED, …). */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (cause instanceof Error) return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
  return error.message;
}

function bodyOf(response: Response): AsyncIterable<Uint8Array> {
  if (response.body === null) throw new SourceError('empty answer');
  return response.body;
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
