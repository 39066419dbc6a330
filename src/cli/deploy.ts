import { existsSync, readFileSync } from 'node:fs';
import { applyPlan } from '../apply/apply.ts';
import { observe } from '../apply/observe.ts';
import { checkDataDir } from '../apply/data-dir.ts';
import { checkPorts } from '../apply/ports.ts';
import { awaitCertificate } from '../health/certificate.ts';
import { readListeners } from '../host/listeners.ts';
import { withLock } from '../host/lock.ts';
import { findUser, makeUser } from '../host/service-user.ts';
import { makePlan } from '../plan/plan.ts';
import type { Change } from '../plan/plan.ts';
import { editEnv } from '../settings/env-file.ts';
import { missingSecrets } from '../settings/secrets.ts';
import type { Settings } from '../settings/schema.ts';
import { strayPems } from '../topology/topology.ts';
import type { Topology } from '../topology/topology.ts';
import { describeCertificate, isInForce } from './certificate-line.ts';
import { loadSettings, requireRoot } from './context.ts';
import type { CliContext } from './context.ts';
import { prepare } from './prepare.ts';

/** A public authority needs 2 to 10 s. After a failure, which ends the waiting, Caddy tries again a minute later at the earliest. */
const CERTIFICATE_MS = 20_000;

/** Brings the whole stack up on this machine; with `isDryRun` only says what would change. */
export async function deploy(context: CliContext, options: { isDryRun: boolean }): Promise<void> {
  requireRoot('deploy');
  const { reporter, host } = context;
  const first = loadSettings(context);
  if (options.isDryRun) return showPlan(context, first.settings, first.topology);
  await checkDataDir(host, first.topology);
  await withLock(first.topology.layout.lock, 'deploy', async () => {
    const { settings, topology } = await completeEnv(context);
    const { desired, manager } = await prepare(context, settings, { topology, isDryRun: false });
    const [observed, listeners, known] = await Promise.all([
      observe(host, desired, { topology, manager }),
      readListeners(),
      findUser(host, settings.SERVICE_USER),
    ]);
    const changes = makePlan(desired, observed);
    await checkPorts(host, settings, { topology, starting: new Set(changes.flatMap((change) => (change.kind === 'start' ? [change.part] : []))), listeners });
    const began = Date.now();
    const user = known ?? (await makeUser(host, settings.SERVICE_USER));
    await applyPlan(desired, changes, { host, settings, topology, manager, user, emit: reporter.emit, now: context.now, signal: context.signal });
    for (const path of strayPems(topology)) await host.remove(path);
    if (changes.length === 0) reporter.say('NOTHING_TO_DO');
    const isNew = changes.some((change) => 'part' in change && change.part === 'caddy');
    const patience = isNew ? { patienceMs: CERTIFICATE_MS, since: began } : { patienceMs: 0, since: 0 };
    const served = await awaitCertificate({ settings, manager, ...patience, now: context.now, signal: context.signal });
    sayWhere(context, topology);
    if (!isInForce(served)) reporter.line(describeCertificate(context, served, { settings, topology }));
    reporter.result({ changes: changes.map(describe), url: topology.publicUrl, certificate: served });
  });
}

/** Plan of a deploy: a line per change; secrets are in files, which are named, not shown. */
export async function showPlan(context: CliContext, settings: Settings, topology: Topology): Promise<void> {
  await checkDataDir(context.host, topology);
  const filled = { ...settings, ...missingSecrets(settings) };
  const { desired, manager, missing } = await prepare(context, filled, { topology, isDryRun: true });
  const changes = makePlan(desired, await observe(context.host, desired, { topology, manager }));
  const steps = [...missing.map((component) => `⇣ ${component}`), ...changes.map(describe)];
  for (const step of steps) context.reporter.line(`  ${step}`);
  if (steps.length === 0) context.reporter.say('NOTHING_TO_DO');
  context.reporter.result({ changes: steps });
}

function describe(change: Change): string {
  switch (change.kind) {
    case 'create':
      return `+ ${change.file.path}`;
    case 'update':
      return `~ ${change.file.path}`;
    case 'start':
      return `▶ ${change.part}`;
    case 'restart':
      return `↻ ${change.part}`;
    case 'retire':
      return `■ ${change.part}`;
  }
}

/** Makes `.env` where it is missing and writes generated secrets into it; every other byte stays. */
async function completeEnv(context: CliContext): Promise<{ settings: Settings; topology: Topology }> {
  const { reporter, host, envPath, projectRoot } = context;
  const root = { mode: 0o600, uid: 0, gid: 0 };
  if (!existsSync(envPath)) {
    await host.write(envPath, readFileSync(`${projectRoot}/.env.example`, 'utf8'), root);
    reporter.say('ENV_CREATED', { path: envPath });
  }
  const { settings, topology, envText } = loadSettings(context);
  const made = missingSecrets(settings);
  if (Object.keys(made).length === 0) return { settings, topology };
  await host.write(envPath, editEnv(envText, made), root);
  reporter.say('SECRETS_WRITTEN', { names: Object.keys(made).join(', ') });
  return { settings: { ...settings, ...made }, topology };
}

function sayWhere({ reporter, envPath }: CliContext, topology: Topology): void {
  reporter.line('');
  reporter.say('DEPLOYED');
  reporter.say('ADDRESS', { url: topology.publicUrl });
  if (topology.plainUrl !== null) reporter.say('PLAIN_ADDRESS', { url: topology.plainUrl });
  if (topology.tls.kind === 'internal') reporter.say('TRUST_CA', { path: caFile(topology) });
  reporter.say('API_TOKEN_PLACE', { url: topology.publicUrl, path: envPath });
  reporter.say('NEXT_VERIFY');
}

/** Root certificate of Caddy's internal CA. */
export function caFile(topology: Topology): string {
  return `${topology.layout.state}/caddy/pki/authorities/local/root.crt`;
}
