import { LivekitError } from '../../clients/livekit-rooms.ts';
import { redact } from '../../kernel/secret.ts';
import { HttpProblem } from '../problem.ts';

/** Turns LiveKit's failures into problems: what it refuses as invalid is the caller's mistake, all else means that it cannot serve now. */
export async function asking<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    // LiveKit repeats a token that it refuses.
    const message = redact(error instanceof Error ? error.message : String(error));
    if (error instanceof LivekitError && error.status === 400) throw new HttpProblem('LIVEKIT_REFUSED', { message }, { cause: error });
    throw new HttpProblem('LIVEKIT_UNAVAILABLE', { message }, { cause: error });
  }
}

/** As `asking`; gives null for what LiveKit does not know. */
export function askingOf<T>(call: () => Promise<T>): Promise<T | null> {
  return asking(() => call().catch(nullIfUnknown));
}

function nullIfUnknown(error: unknown): null {
  if (error instanceof LivekitError && error.code === 'not_found') return null;
  throw error;
}
