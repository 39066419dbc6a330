import { execa } from 'execa';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { expect, it, onTestFinished } from 'vitest';
import { renderRunit } from '../../src/render/runit.ts';
import { desireFrom } from './render.ts';

it('a part that runit starts leaves no core, whatever the shell of the deploy allows', async ({ skip }) => {
  skip(process.getuid?.() !== 0, 'only root may change the user');
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-limits-`);
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const { topology } = desireFrom('');
  const spec = {
    part: 'service',
    argv: ['/bin/sh', '-c', 'ulimit -c'],
    env: {},
    bindsLowPorts: false,
    compilesCode: true,
    stopSeconds: 20,
    commandsNetwork: false,
    commandsMachine: false,
    configFiles: [],
  } as const;
  const here = { ...topology, layout: { ...topology.layout, state: folder } };
  const run = renderRunit(spec, here, { user: userInfo().username, tools: folder }).find((file) => file.path.endsWith('/service/run'));
  await writeFile(`${folder}/run`, run?.content ?? '', { mode: 0o700 });
  const { stdout } = await execa('/bin/sh', ['-c', 'ulimit -S -c "$(ulimit -H -c)"; ulimit -c; exec "$0"', `${folder}/run`]);
  const [before, core] = stdout.split('\n');
  skip(before === '0', 'no process may leave a core here');
  expect(core).toBe('0');
});
