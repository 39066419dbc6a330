import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, it, onTestFinished } from 'vitest';
import { localHost } from '../../src/host/host.ts';

it('a program can be started before it has reached the disk', async () => {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-stage-`);
  onTestFinished(() => rm(folder, { recursive: true }));
  const host = localHost();
  const attributes = { mode: 0o755, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  for (const [name, content] of Object.entries({ text: '#!/bin/sh\necho first\n', copy: { copyOf: '/bin/echo' } })) {
    const path = `${folder}/${name}`;
    const staged = await host.stage(path, content, attributes);
    await staged.commit();
    expect(await host.run([path])).toMatchObject({ code: 0 });
    await staged.settled();
    await host.settle([path]);
  }
});
