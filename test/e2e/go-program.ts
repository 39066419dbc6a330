import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { bringGoModule } from '../../src/components/go-module.ts';
import { createRunner } from '../../src/components/run-command.ts';
import { shareWork } from '../../src/components/source-context.ts';
import { inTurn } from '../in-turn.ts';

const cache = resolve(import.meta.dirname, '../../.cache');

/** A program that only tests need, built from the Go module proxy once and kept between runs. Gives its path. */
export async function bringGoProgram(module: string, version: string): Promise<string> {
  const program = basename(module);
  const home = `${cache}/${program}-${version}`;
  const path = `${home}/bin/${program}`;
  return inTurn(program, async () => {
    if (!existsSync(path)) await build({ module, version, program, home });
    return path;
  });
}

async function build({ module, version, program, home }: Readonly<Record<'module' | 'version' | 'program' | 'home', string>>): Promise<void> {
  const [stage, scratch] = [`${home}.${process.pid}`, `${home}.${process.pid}.scratch`];
  for (const folder of [stage, scratch]) await mkdir(folder, { recursive: true });
  const source = { kind: 'go', version, module, program } as const;
  const work = { scratch, storeDir: cache, signal: AbortSignal.timeout(300_000), progress: () => {} };
  try {
    await bringGoModule(source, {
      ...work,
      ...createRunner(work),
      component: { binaries: [program], version: null, sources: [source] },
      stage,
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      mirror: null,
      goProxy: null,
      shared: shareWork(),
    });
    await rename(stage, home);
  } finally {
    for (const folder of [stage, scratch]) await rm(folder, { recursive: true, force: true });
  }
}
