import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { hasCode } from '../src/kernel/has-code.ts';

/** Whether a process has this named pipe open to read from it. */
export async function isRead(pipe: string): Promise<boolean> {
  try {
    await (await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK)).close();
    return true;
  } catch (error) {
    if (hasCode(error, 'ENXIO')) return false;
    throw error;
  }
}

/** Whether a shell script has come to where its `dd` waits for a line. */
export async function hasReader(script: number): Promise<boolean> {
  const [child = ''] = (await readFile(`/proc/${script}/task/${script}/children`, 'utf8')).split(' ');
  return (await readFile(`/proc/${child}/comm`, 'utf8').catch(() => '')) === 'dd\n';
}
