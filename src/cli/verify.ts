import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';
import type { CauseCode } from '../kernel/messages/en.ts';
import { isCauseCode, translate } from '../kernel/messages/translate.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { redact } from '../kernel/secret.ts';
import { internalCaFile } from '../render/caddy.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';

const stepLine = z.object({ step: z.string(), ok: z.boolean(), ms: z.number(), detail: z.string(), cause: z.string().optional() });
type StepLine = z.infer<typeof stepLine>;

/** The client leaves and deletes the room within 3 s and frees its native part within 2 s. */
const LEAVE_TIMEOUT_MS = 7000;
/** Far below the 24 days after which a timer of Node wraps around. */
const MAX_TIMEOUT_SECONDS = 86_400;
/** Causes that lie with the service that answers the room API. */
const OF_SERVICE: ReadonlySet<CauseCode> = new Set([
  'API_UNAUTHORIZED',
  'API_REFUSED',
  'API_FOREIGN',
  'SERVICE_UNAVAILABLE',
  'WEBHOOKS_REFUSED',
  'WEBHOOKS_MISSING',
]);

/**
 * Holds a real meeting through Caddy in a process of its own: the client's native part reads the CA only at its start.
 * @throws FleetError VERIFY_FAILED naming the step and the likely cause; NOT_DEPLOYED
 */
export async function verify(context: CliContext, options: { timeoutSeconds: number }): Promise<void> {
  const { reporter, signal } = context;
  const { settings, topology } = loadSettings(context);
  if (topology.role === 'media') throw new FleetError('VERIFY_ELSEWHERE', {}, { exitCode: 2 });
  if (settings.SERVICE_API_TOKEN === '') throw new FleetError('NOT_DEPLOYED', { path: topology.layout.root });
  const steps: StepLine[] = [];
  const { code, errors } = await runMeeting(context, meetingConfig(settings, topology, options.timeoutSeconds), {
    trust: topology.tls.kind === 'internal' && existsSync(internalCaFile(topology)) ? internalCaFile(topology) : null,
    onStep(line) {
      steps.push(line);
      reporter.line(`${line.ok ? '✓' : '✗'} ${line.step.padEnd(14)} ${String(line.ms).padStart(6)} ms  ${line.ok ? line.detail : (line.cause ?? '')}`);
    },
  });
  if (code === 0) {
    reporter.say('VERIFIED');
    return reporter.result({ ok: true, steps });
  }
  if (signal.aborted) reporter.result({ ok: false, cause: 'INTERRUPTED', steps });
  signal.throwIfAborted();
  const failed = steps.find((one) => !one.ok);
  const cause = failed?.cause !== undefined && isCauseCode(failed.cause) ? failed.cause : 'CLIENT_CRASHED';
  const step = failed?.step ?? 'start';
  reporter.result({ ok: false, step, cause, steps });
  const hints = [translate(context.language, cause)];
  if (settings.BUSINESS_UPSTREAM !== '' && OF_SERVICE.has(cause))
    hints.push(translate(context.language, 'OWN_SERVICE', { upstream: settings.BUSINESS_UPSTREAM }));
  const detail = failed?.detail ?? redact(errors, [settings.SERVICE_API_TOKEN, settings.LIVEKIT_API_SECRET]).slice(-400);
  throw new FleetError('VERIFY_FAILED', { step, cause, detail, hint: hints.join('\n') });
}

function meetingConfig(settings: Settings, topology: Topology, timeoutSeconds: number): unknown {
  return {
    apiUrl: topology.publicUrl,
    apiToken: settings.SERVICE_API_TOKEN,
    livekit: { apiKey: settings.LIVEKIT_API_KEY, apiSecret: settings.LIVEKIT_API_SECRET },
    timeoutMs: Math.min(timeoutSeconds, MAX_TIMEOUT_SECONDS) * 1000,
    webhooks: settings.WEBHOOK_ENABLED ? { agentUrl: `http://127.0.0.1:${settings.AGENT_PORT}`, isElsewhere: isElsewhere(settings, topology) } : null,
  };
}

/** True where WEBHOOK_URLS has no address by which the service that answers the room API is known here. */
function isElsewhere(settings: Settings, topology: Topology): boolean {
  const inner = ['127.0.0.1', 'localhost', topology.address].map((host) => `http://${host}:${settings.SERVICE_PORT}`);
  const known = new Set([topology.publicUrl, `http://${topology.serviceUpstream}`, ...inner].map((url) => new URL(url).host));
  return settings.WEBHOOK_URLS.length > 0 && !settings.WEBHOOK_URLS.some((url) => known.has(new URL(url).host));
}

/** Runs the meeting's process to its end; an abort lets it leave the room, and ends it if it does not. */
async function runMeeting(
  context: CliContext,
  config: unknown,
  options: { trust: string | null; onStep: (line: StepLine) => void },
): Promise<{ code: number | null; errors: string }> {
  const trust = options.trust === null ? {} : { SSL_CERT_FILE: options.trust, NODE_EXTRA_CA_CERTS: options.trust };
  const child = spawn(process.execPath, [`${context.projectRoot}/dist/meeting.cjs`], { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...trust } });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const interrupt = (): void => endSoon(child);
  context.signal.addEventListener('abort', interrupt);
  if (context.signal.aborted) interrupt();
  // A client that ends before it has read says why on stderr.
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify(config));
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors = `${errors}${chunk.toString()}`.slice(-8000)));
  for await (const line of createInterface({ input: child.stdout })) {
    const step = parseJson(stepLine, line);
    if (step !== null) options.onStep(step);
  }
  const [code] = await exited;
  context.signal.removeEventListener('abort', interrupt);
  return { code, errors };
}

function endSoon(child: ChildProcess): void {
  child.kill('SIGINT');
  const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_TIMEOUT_MS);
  child.once('exit', () => clearTimeout(timer));
}
