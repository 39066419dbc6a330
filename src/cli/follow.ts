import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Part } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** Follows the logs of these parts, each by itself so that a line is known to be its own, until it is interrupted. */
export async function followAsJson(
  { reporter, signal }: CliContext,
  manager: ServiceManager,
  { parts, lines }: { parts: readonly Part[]; lines: number },
): Promise<void> {
  await Promise.all(
    parts.map(async (part) => {
      const [program = '', ...words] = manager.followLogs([part], lines);
      const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'ignore'] });
      signal.addEventListener('abort', () => child.kill());
      for await (const line of createInterface({ input: child.stdout })) reporter.result({ part, line });
    }),
  );
}
