import { until } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';
import { userOf } from './user.ts';
import type { User } from './user.ts';

/** A gateway, and three machines with LiveKit, Redis and Sentinel. */
export interface FleetOfThree {
  readonly lab: Lab;
  readonly user: User;
  /** Runs redis-cli on a machine; its output, whatever happens. */
  redis(number: number, words: readonly string[], port?: number): Promise<string>;
  /** Runs a command of the product on a machine; what it says. Rejects with its errors where it fails. */
  run(number: number, words: readonly string[]): Promise<string>;
  /** Signals the main process of a part. */
  signal(number: number, part: string, name: 'KILL' | 'STOP' | 'CONT'): Promise<void>;
  /** The machine that Sentinel names as the primary's. */
  primary(): Promise<number>;
  /** Waits until all is as if nothing had ever happened: primary, replicas, votes, nodes, records. */
  settle(): Promise<void>;
  remove(): Promise<void>;
}

export const mediaMachines = [2, 3, 4] as const;
/** A part that does not serve is given up soon. */
const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\nHEALTH_TIMEOUT=30\n';
const hosts = mediaMachines.map((number) => `192.168.1.${number}`);
/** A machine boots in seconds; Sentinels find each other and the replicas within twenty. */
const SETTLE_MS = 90_000;

/** A machine's name in the fleet. */
export function nameOf(number: number): string {
  return `m192-168-1-${number}`;
}

/** Deploys the guide's four machines, and waits until they are one fleet. */
export async function deployFleetOfThree(componentStore: string): Promise<FleetOfThree> {
  const lab = await createLab({ machines: [1, ...mediaMachines], componentStore });
  const user = await userOf(lab);
  let password = '';

  const fleet = async (number: number, words: readonly string[]): Promise<string> => {
    const { code, out, err } = await lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env']);
    if (code !== 0) throw new Error(err);
    return out;
  };
  const redis = async (number: number, words: readonly string[], port = 6379): Promise<string> => {
    const argv = ['timeout', '2', 'redis-cli', '-p', String(port), '--no-auth-warning', '-a', password, ...words];
    return (await lab.machine(number).exec(argv)).out;
  };
  const primaryAt = async (number: number): Promise<string> =>
    (await redis(number, ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'livekit'], 26379)).split('\n')[0] ?? '';
  const isCalm = async (number: number): Promise<boolean> => {
    const tables = await Promise.all(['MASTER', 'REPLICAS', 'SENTINELS'].map((name) => redis(number, ['SENTINEL', name, 'livekit'], 26379)));
    const fields = tables[0]?.split('\n') ?? [];
    const found = ['flags', 'num-slaves', 'num-other-sentinels', 'quorum'].map((name) => fields[fields.indexOf(name) + 1] ?? '');
    return found.join(' ') === 'master 2 2 2' && !/[so]_down|disconnected/.test(tables.slice(1).join(''));
  };
  /** What is not yet as it should be; '' for nothing. */
  const missing = async (): Promise<string> => {
    const named = await Promise.all(mediaMachines.map(primaryAt));
    const number = Number(named[0]?.split('.')[3]);
    if (new Set(named).size !== 1 || !mediaMachines.some((one) => one === number)) return `one primary: ${named.join(' ')}`;
    const replication = await redis(number, ['INFO', 'replication']);
    if (replication.match(/state=online,.*lag=[01]\b/g)?.length !== 2) return `two replicas in step: ${replication}`;
    const calm = await Promise.all(mediaMachines.map(isCalm));
    if (!calm.every(Boolean)) return `calm Sentinels: ${calm.join(' ')}`;
    const nodes = (await redis(number, ['HKEYS', 'nodes'])).split('\n').filter((id) => id !== '');
    const { out } = await lab.machine(1).exec(['curl', '-s', 'http://127.0.0.1:7980/healthz']);
    const health = JSON.parse(out === '' ? '{}' : out) as { nodes?: { state: string; ageMs: number; nodeId: string }[] };
    const serving = (health.nodes ?? []).filter((one) => one.state === 'serving' && one.ageMs < 2_500 && nodes.includes(one.nodeId));
    return nodes.length === 3 && serving.length === 3 ? '' : `three nodes: ${nodes.join(' ')}, ${out}`;
  };
  const settle = async (): Promise<void> => {
    let found = '';
    // Twice in a row: a Sentinel that is reset, or a node that starts, is whole for a moment before.
    const isWhole = async (): Promise<boolean> => (found = await missing()) === '';
    await until(async () => (await isWhole()) && isWhole(), SETTLE_MS).catch((error: unknown) => {
      throw new Error(`missing: ${found}`, { cause: error });
    });
  };

  try {
    await lab.machine(1).write('/etc/fleet.env', `${ground}DOMAIN=livekit.example.com\n`);
    await lab.machine(2).write('/etc/fleet.env', `${ground}NODES=${hosts.join(',')}\nREDIS_HOST=192.168.1.2\n`);
    const said = await fleet(2, ['deploy-livekit-only']);
    await fleet(1, ['deploy-caddy-service-only']);
    await fleet(1, ['join', /部署\.sh join (\S+)/.exec(said)?.[1] ?? '']);
    const env = (await lab.machine(2).exec(['cat', '/etc/fleet.env'])).out;
    password = /^REDIS_PASSWORD=(.*)$/m.exec(env)?.[1] ?? '';
    for (const number of [3, 4]) {
      await lab.machine(number).write('/etc/fleet.env', env);
      await fleet(number, ['deploy-livekit-only']);
    }
  } catch (error) {
    await user.remove();
    await lab.remove();
    throw error;
  }
  return {
    lab,
    user,
    redis,
    run: fleet,
    async signal(number, part, name) {
      const { code, err } = await lab.machine(number).exec(['systemctl', 'kill', '--kill-whom=main', '-s', name, `livekit-fleet-${part}`]);
      if (code !== 0) throw new Error(`${nameOf(number)}: ${part} not signalled: ${err}`);
    },
    primary: async () => Number((await primaryAt(2)).split('.')[3]),
    settle,
    async remove() {
      await user.remove();
      await lab.remove();
    },
  };
}
