import { execa } from 'execa';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { caddyMemoryFile, renderCaddy, renderCaddyStarter } from '../../src/render/caddy.ts';
import { desireFrom } from '../golden/render.ts';
import { temporaryDirectory } from './fixtures.ts';

/** Which file Caddy is started with, given what the agent has kept of its configuration. */
async function startedWith(keep: (config: string) => string | null): Promise<string> {
  const folder = await temporaryDirectory();
  const { settings, topology } = desireFrom(`DATA_DIR=${folder}\nDOMAIN=meet.example.com\n`);
  const [config, starter, memory] = [renderCaddy(settings, topology), renderCaddyStarter(topology), caddyMemoryFile(topology)];
  for (const path of ['config', 'app', 'state/agent']) await mkdir(join(folder, path), { recursive: true });
  await writeFile(config.path, config.content);
  await writeFile(starter.path, starter.content);
  const kept = keep(config.content);
  if (kept !== null) await writeFile(memory, kept);
  const { stdout } = await execa('/bin/sh', [starter.path, 'echo', config.path, memory]);
  return stdout.replace('run --config ', '').replace(`${folder}/`, '');
}

test('Caddy starts with the paths that it had, as long as they belong to the configuration that stands', async () => {
  const own = 'config/caddy.json';
  expect(await startedWith(() => null)).toBe(own);
  expect(await startedWith(() => '')).toBe(own);
  expect(await startedWith((config) => config.replace(/config-[0-9a-f]+/, 'config-0123456789abcdef'))).toBe(own);
  // As Caddy itself writes it.
  expect(await startedWith((config) => JSON.stringify(JSON.parse(config)))).toBe('state/agent/caddy.json');
});

function markOf(text: string): string {
  const { settings, topology } = desireFrom(text);
  return /"@id": "(config-[0-9a-f]{16})"/.exec(renderCaddy(settings, topology).content)?.[1] ?? '';
}

test('the mark of a configuration changes with whatever else is in it', () => {
  expect(markOf('DOMAIN=meet.example.com\n')).toBe(markOf('DOMAIN=meet.example.com\n'));
  expect(new Set([markOf(''), markOf('DOMAIN=meet.example.com\n'), markOf('DOMAIN=meet.example.com\nLOG_LEVEL=debug\n')]).size).toBe(3);
});
