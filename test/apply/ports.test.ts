import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { checkPorts } from '../../src/apply/ports.ts';
import { localHost } from '../../src/host/host.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { planTopology } from '../../src/topology/topology.ts';
import type { Part } from '../../src/topology/topology.ts';

/** Whether Redis may start while a program of this user holds its port, which ends after a while or never. */
async function check({ uid, seconds }: { uid: number; seconds: number }): Promise<void> {
  const script = `const server = require('node:net').createServer().listen(0, '127.0.0.1', () => console.log(server.address().port)); setTimeout(() => process.exit(), ${seconds * 1000})`;
  const holder = spawn(process.execPath, ['-e', script], { uid, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void holder.kill());
  const [port] = (await once(holder.stdout, 'data')) as [Buffer];
  const { settings } = parseSettings('', { SERVICE_USER: 'nobody', REDIS_PORT: port.toString().trim() });
  if (settings === null) throw new Error('bad settings');
  const topology = planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false });
  const manager = { status: async () => [] };
  await checkPorts(localHost(), settings, { topology, manager, starting: new Set<Part>(['redis']), signal: new AbortController().signal });
}

it('waits for what a part has left and is ending, and refuses what stays or is another user’s', async () => {
  await expect(check({ uid: 65_534, seconds: 1 })).resolves.toBeUndefined();
  await expect(check({ uid: 65_534, seconds: 60 })).rejects.toMatchObject({ code: 'PORT_TAKEN' });
  await expect(check({ uid: 0, seconds: 1 })).rejects.toMatchObject({ code: 'PORT_TAKEN' });
});
