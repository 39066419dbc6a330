import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/** Writes a line to a root part's pipe. Rejects where nobody listens. */
export async function tellPipe(pipe: string, line: string): Promise<void> {
  // Not to wait for a reader: where none is there, the part does not run.
  const file = await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await file.write(`${line}\n`);
  } finally {
    await file.close();
  }
}
