import { readFileSync } from 'node:fs';
import { desire } from '../../src/apply/desired.ts';
import type { Desired } from '../../src/plan/plan.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import type { Settings } from '../../src/settings/schema.ts';
import { pemCopies, planTopology, turnPems } from '../../src/topology/topology.ts';
import type { Role, Topology } from '../../src/topology/topology.ts';
import type { FleetSeed } from '../../src/render/redis.ts';

/** The secrets of every rendering in tests: what a first deploy would generate. */
export const secrets = {
  LIVEKIT_API_KEY: 'APIgolden',
  LIVEKIT_API_SECRET: 'golden-api-secret-golden-api-secret',
  REDIS_PASSWORD: 'golden-redis-password',
  SERVICE_API_TOKEN: 'golden-service-token',
} as const;

/** Stands for the text of the operator's private key. */
const privateKey = 'golden-private-key';

/** The values that nobody but root and the service user may read. */
export const hidden = [secrets.LIVEKIT_API_SECRET, secrets.REDIS_PASSWORD, secrets.SERVICE_API_TOKEN, privateKey];

/** The desired state of a golden case; its `.env` begins with `# role: media` or the like, where it is not a whole stack. */
export function desireCase(name: string): ReturnType<typeof desireFrom> {
  const text = readFileSync(`${import.meta.dirname}/${name}/.env`, 'utf8');
  const [, role = 'all', isWaiting] = /^# role: (gateway|media)(, waiting)?$/m.exec(text) ?? [];
  const host = /^REDIS_HOST=(\d\S*)$/m.exec(text)?.[1];
  return desireFrom(text, {
    role: role as Role,
    ...(host === undefined ? {} : { seed: { primary: host, quorum: 2 } }),
    ...(isWaiting === undefined ? {} : { without: ['LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'REDIS_PASSWORD'] }),
  });
}

/** The desired state of a machine at 192.168.1.2 with fixed programs. */
export function desireFrom(
  envText: string,
  { role = 'all', seed, without = [] }: { role?: Role; seed?: FleetSeed; without?: readonly string[] } = {},
): { settings: Settings; topology: Topology; desired: Desired } {
  const { settings: read, problems } = parseSettings(envText, {});
  if (read === null) throw new Error(JSON.stringify(problems));
  const settings = { ...read, ...secrets, ...Object.fromEntries(without.map((name) => [name, ''])) };
  const topology = planTopology(settings, role, { addresses: ['192.168.1.2', '10.8.0.2'], hasSystemd: false, hasNft: true });
  const store = `${topology.layout.root}/components`;
  const desired = desire({
    settings,
    topology,
    programs: {
      node: `${store}/node/24/bin/node`,
      redisServer: `${store}/redis/7/bin/redis-server`,
      livekitServer: `${store}/livekit/1/bin/livekit-server`,
      caddy: `${store}/caddy/2/bin/caddy`,
    },
    project: { root: '/opt/livekit-fleet', envPath: '/opt/livekit-fleet/.env' },
    seed: seed ?? { primary: topology.address, quorum: 1 },
    tools: topology.supervisor === 'systemd' ? null : `${store}/runit/2/bin`,
    chosen: null,
    livekitVersion: '1.13.11',
    apps: ['agent', 'service'].map((name) => ({ path: `/project/dist/${name}.js`, head: `// ${name}\n` })),
    pems: [...(topology.parts.includes('caddy') ? pemCopies(topology.tls) : []), ...turnPems(topology.turn)].map(({ copy, variable }) => ({
      copy,
      text: variable.endsWith('_KEY_FILE') ? `${privateKey}\n` : `text of ${variable}\n`,
    })),
  });
  return { settings, topology, desired };
}
