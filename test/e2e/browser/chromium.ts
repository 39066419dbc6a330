import { build } from 'esbuild';
import { execa } from 'execa';
import { mkdir } from 'node:fs/promises';
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';
import { needPrograms } from '../../debian-packages.ts';

/**
 * Debian's Chromium with a test picture as camera and a beep as microphone, both granted without a question.
 * @param options.home an empty folder; nothing of the caller's own browser is read or changed
 * @param options.trusted files of root certificates that it trusts, put where a user's own roots stand
 */
export async function launchChromium(options: { home: string; trusted: readonly string[] }): Promise<Browser> {
  await needPrograms({ chromium: 'chromium', certutil: 'libnss3-tools' });
  const database = `${options.home}/.pki/nssdb`;
  await mkdir(database, { recursive: true });
  await execa('certutil', ['-d', `sql:${database}`, '-N', '--empty-password']);
  for (const path of options.trusted) await execa('certutil', ['-d', `sql:${database}`, '-A', '-t', 'C,,', '-n', path, '-i', path]);
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
    env: { ...process.env, HOME: options.home },
    timeout: 30_000,
  });
}

/** The script that makes a page a participant's. */
export async function bundleSeat(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${import.meta.dirname}/page/main.ts`],
    bundle: true,
    format: 'iife',
    target: 'es2022',
    write: false,
  });
  return outputFiles[0]?.text ?? '';
}
