import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';
import { isCauseCode, translate } from '../kernel/messages/translate.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { caFile } from './deploy.ts';

const stepLine = z.object({ step: z.string(), ok: z.boolean(), ms: z.number(), detail: z.string().optional(), cause: z.string().optional() });

/**
 * Holds a real meeting through Caddy in a process of its own: the client's native part reads the CA only at its start.
 * @throws FleetError VERIFY_FAILED naming the step and the likely cause
 */
export async function verify(context: CliContext): Promise<void> {
  const { settings, topology } = loadSettings(context);
  const ca = topology.tls.kind === 'internal' && existsSync(caFile(topology)) ? caFile(topology) : null;
  const trust = ca === null ? {} : { SSL_CERT_FILE: ca, NODE_EXTRA_CA_CERTS: ca };
  const child = spawn(process.execPath, [`${context.projectRoot}/dist/meeting.mjs`], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...trust } });
  context.signal.addEventListener('abort', () => child.kill('SIGINT'));
  child.stdin.end(
    JSON.stringify({ apiUrl: topology.publicUrl, apiToken: settings.SERVICE_API_TOKEN, timeoutMs: 15_000, wantWebhooks: settings.WEBHOOK_ENABLED }),
  );
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors = `${errors}${chunk.toString()}`.slice(-2000)));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const steps: Array<z.infer<typeof stepLine>> = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const parsed = stepLine.safeParse(parseJson(line));
    if (!parsed.success) continue;
    const { step, ok, ms, detail } = parsed.data;
    steps.push(parsed.data);
    context.reporter.line(`${ok ? '✓' : '✗'} ${step.padEnd(14)} ${String(Math.round(ms)).padStart(6)} ms  ${detail ?? ''}`);
  }
  const [code] = await exited;
  const failed = steps.find((one) => !one.ok);
  if (failed !== undefined || code !== 0) {
    context.reporter.result({ ok: false, steps });
    const cause = failed?.cause !== undefined && isCauseCode(failed.cause) ? failed.cause : 'CLIENT_CRASHED';
    throw new FleetError('VERIFY_FAILED', {
      step: failed?.step ?? 'start',
      cause,
      hint: translate(context.language, cause),
      detail: failed?.detail ?? errors.trim().slice(-400),
    });
  }
  context.reporter.say('VERIFIED');
  context.reporter.result({ ok: true, steps });
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
