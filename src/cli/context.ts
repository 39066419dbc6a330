import { existsSync, lstatSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseRole } from '../apply/installed.ts';
import { localHost } from '../host/host.ts';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { chooseLanguage } from '../kernel/messages/translate.ts';
import type { Language } from '../kernel/messages/translate.ts';
import { createReporter } from '../report/reporter.ts';
import type { Reporter } from '../report/reporter.ts';
import { parseSettings } from '../settings/parse.ts';
import type { Problem } from '../settings/problem.ts';
import type { Settings } from '../settings/schema.ts';
import { layoutOf, planTopology, roleFile } from '../topology/topology.ts';
import type { Role, Topology } from '../topology/topology.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly env?: string;
  readonly lang?: string;
  readonly json?: boolean;
}

/** What a command works with. */
export interface CliContext {
  readonly projectRoot: string;
  /** The settings file itself, where a link leads to it. */
  readonly envPath: string;
  /** True where a person named it: then it has to be there. */
  readonly isEnvNamed: boolean;
  readonly host: Host;
  readonly reporter: Reporter;
  readonly language: Language;
  readonly signal: AbortSignal;
  /** A signal of its own that the next interrupt aborts: for what puts things back after the first one. */
  readonly nextInterrupt: () => AbortSignal;
  readonly now: () => number;
}

/** All problems of the settings at once; exit code 2. */
export class SettingsProblems extends FleetError<'SETTINGS_INVALID'> {
  readonly problems: readonly Problem[];
  constructor(problems: readonly Problem[]) {
    super('SETTINGS_INVALID', { count: problems.length }, { exitCode: 2 });
    this.problems = problems;
  }
}

/** Builds the context of one run; Ctrl-C aborts its signal. */
export function createContext(options: GlobalOptions): CliContext {
  const projectRoot = resolve(dirname(fileURLToPath(import.meta.url)), '..');
  const language = chooseLanguage(options.lang, process.env);
  const aborts: AbortController[] = [];
  const nextInterrupt = (): AbortSignal => {
    const abort = new AbortController();
    aborts.push(abort);
    return abort.signal;
  };
  const signal = nextInterrupt();
  const interrupt = (): void => {
    for (const one of aborts) one.abort(new FleetError('INTERRUPTED', {}, { exitCode: 130 }));
  };
  // Heard again and again: whoever listens once leaves the second one to end the process half-way.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, interrupt);
  const reporter = createReporter({
    language,
    isJson: options.json === true,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  });
  return {
    projectRoot,
    envPath: realPath(resolve(options.env ?? `${projectRoot}/.env`)),
    isEnvNamed: options.env !== undefined,
    host: localHost(),
    reporter,
    language,
    signal,
    nextInterrupt,
    now: () => performance.now(),
  };
}

/**
 * Reads and checks `.env` and the environment. @param role what this machine is deployed as by default
 * @throws SettingsProblems with every problem; FleetError ENV_UNREADABLE, ENV_MISSING
 */
export function loadSettings(context: CliContext, role?: Role): { settings: Settings; topology: Topology; envText: string } {
  const envText = readEnvFile(context);
  return { envText, ...settingsOf(envText, role) };
}

/** What a settings file with this text, and the environment, say. @throws SettingsProblems */
export function settingsOf(envText: string, role?: Role): { settings: Settings; topology: Topology } {
  const { settings, problems } = parseSettings(envText, process.env);
  if (settings === null) throw new SettingsProblems(problems);
  const machine = { addresses: ownAddresses(), hasSystemd: existsSync('/run/systemd/system'), hasNft: NFT.some((path) => existsSync(path)) };
  return { settings, topology: planTopology(settings, role ?? readRole(settings), machine) };
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // There is none, or it may not be looked at: that is said when it is read.
    return path;
  }
}

/** The text of `.env`, empty where there is none and none was named. */
function readEnvFile({ envPath: path, isEnvNamed }: CliContext): string {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info?.isFile() !== true && (isEnvNamed || lstatSync(path, { throwIfNoEntry: false }) !== undefined))
    throw new FleetError('ENV_MISSING', { path }, { exitCode: 2 });
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ENOENT') return '';
    if (code === 'EACCES') throw new FleetError('ENV_UNREADABLE', { path }, { cause: error });
    throw error;
  }
}

/** What this machine was deployed as; all where nothing was. */
export function readRole(settings: Settings): Role {
  const path = roleFile(layoutOf(settings));
  return (existsSync(path) ? parseRole(readFileSync(path, 'utf8')) : null) ?? 'all';
}

/** Where Debian, and others, put nftables' program. */
const NFT = ['/usr/sbin/nft', '/sbin/nft', '/usr/bin/nft'];

/** Networks that containers and virtual machines of this very host are in: no other machine reaches these addresses. */
const INNER = /^(docker|br-|veth|virbr|cni|flannel|podman|lxc)/;

/** IPv4 addresses of this machine's interfaces, those of a private network (RFC 1918) first, without loopback. */
function ownAddresses(): string[] {
  const addresses = Object.entries(networkInterfaces())
    .filter(([name]) => !INNER.test(name))
    .flatMap(([, list]) => list ?? [])
    .filter((one) => one.family === 'IPv4' && !one.internal)
    .map((one) => one.address);
  return addresses.toSorted((a, b) => Number(isPrivate(b)) - Number(isPrivate(a)));
}

function isPrivate(address: string): boolean {
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(address);
}

/** What to say of a command that failed: that it was interrupted, unless what stood before could not be put back for that. */
export function whatEnded(signal: AbortSignal, error: unknown): unknown {
  const isLeft = error instanceof FleetError && error.code === 'RESTORE_UNDO_FAILED';
  return signal.aborted && !isLeft ? signal.reason : error;
}
