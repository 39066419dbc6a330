import { mediaMachines } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';

/** Who is who when a fault is held. */
export interface Scene {
  readonly fleet: FleetOfThree;
  /** The machine with the Redis primary. */
  readonly primary: number;
  /** One of the other media machines, and the one that is left. */
  readonly replica: number;
  readonly other: number;
  /** Any media machine. */
  readonly media: number;
}

/** Ends a fault that does not end by itself. */
type Heal = () => Promise<void>;

export interface Fault {
  readonly name: string;
  /** True where nobody can come in while it lasts: what is promised counts from its end. */
  readonly isDeaf?: true;
  /** For how long it is held, in milliseconds, where that is what it is about. */
  readonly holdMs?: number;
  hold(scene: Scene): Promise<Heal>;
}

type Where = (scene: Scene) => number;
const primary: Where = (scene) => scene.primary;
const replica: Where = (scene) => scene.replica;
const media: Where = (scene) => scene.media;
const gateway: Where = () => 1;
const nothing: Heal = async () => {};

/** Failures of one thing at a time. */
export const faults: readonly Fault[] = [
  killed('livekit', media),
  killed('redis', primary, 'Redis primary killed'),
  killed('redis', replica, 'Redis replica killed'),
  killed('sentinel', media),
  killed('agent', media),
  killed('agent', gateway, 'agent of the gateway killed'),
  killed('service', gateway),
  killed('caddy', gateway),
  {
    name: 'caddy restarted',
    async hold({ fleet }) {
      const { code, err } = await fleet.lab.machine(1).exec(['systemctl', 'restart', 'livekit-fleet-caddy']);
      if (code !== 0) throw new Error(err);
      return nothing;
    },
  },
  paused('agent', media),
  paused('redis', replica, 'Redis replica paused'),
  powerless('power of a replica’s machine', replica),
  powerless('power of the primary’s machine', primary),
  {
    name: 'machine 1 loses its power and boots',
    isDeaf: true,
    async hold({ fleet }) {
      await fleet.lab.machine(1).kill();
      await fleet.lab.machine(1).boot();
      return nothing;
    },
  },
  cut('a media machine cut off from all', replica, (scene) => [1, scene.primary, scene.other]),
  cut('the primary’s machine cut off from all', primary, (scene) => [1, scene.replica, scene.other]),
  cut('a media machine cut off from the gateway', media, () => [1]),
  cut('a media machine cut off from the primary’s machine', replica, (scene) => [scene.primary]),
  cut('two media machines cut off from each other', replica, (scene) => [scene.other]),
  // Its LiveKit goes on alone, misses everybody, and ends rooms that live elsewhere.
  { ...cut('a media machine cut off from all for a minute', replica, (scene) => [1, scene.primary, scene.other]), holdMs: 65_000 },
  // Longer than its record is believed: its LiveKit lives, and is still the one for its rooms.
  { ...paused('agent', media, 'agent paused for 15 s'), holdMs: 15_000 },
];

/** Processes that may fail while something else does: no session is theirs. */
export const companions: readonly Fault[] = faults.filter(({ name }) => ['agent killed', 'sentinel killed', 'service killed'].includes(name));

function killed(part: string, where: Where, name = `${part} killed`): Fault {
  return {
    name,
    async hold(scene) {
      await scene.fleet.signal(where(scene), part, 'KILL');
      return nothing;
    },
  };
}

function paused(part: string, where: Where, name = `${part} paused`): Fault {
  return {
    name,
    async hold(scene) {
      const at = where(scene);
      await scene.fleet.signal(at, part, 'STOP');
      return () => scene.fleet.signal(at, part, 'CONT');
    },
  };
}

function powerless(name: string, where: Where): Fault {
  return {
    name,
    async hold(scene) {
      const machine = scene.fleet.lab.machine(where(scene));
      await machine.kill();
      return () => machine.boot();
    },
  };
}

function cut(name: string, where: Where, from: (scene: Scene) => readonly number[]): Fault {
  return {
    name,
    async hold(scene) {
      const machine = scene.fleet.lab.machine(where(scene));
      const mends = await Promise.all(from(scene).map((number) => machine.cutFrom(number)));
      return async () => void (await Promise.all(mends.map((mend) => mend())));
    },
  };
}

/** Who is who, by two numbers from 0 to 1. */
export async function sceneOf(fleet: FleetOfThree, [first, second]: readonly [number, number]): Promise<Scene> {
  const at = await fleet.primary();
  const others = mediaMachines.filter((number) => number !== at);
  const [a = 0, b = 0] = first < 0.5 ? others : others.toReversed();
  return { fleet, primary: at, replica: a, other: b, media: mediaMachines[Math.floor(second * mediaMachines.length)] ?? at };
}
