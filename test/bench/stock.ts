import { upstreamFiles } from '../../src/contract/upstream-files.ts';
import { mediaMachines } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';

const units = ['livekit-fleet-agent', 'livekit-fleet-sockets'];
const files = upstreamFiles('/var/lib/livekit-fleet/state/agent', false);
const config = '/var/lib/livekit-fleet/config/caddy.json';
const kept = `${config}.ours`;
const reload = 'systemctl kill --kill-whom=main -s USR1 livekit-fleet-caddy && sleep 1';

/** Takes from the fleet what the product adds: left are LiveKit, Redis and Sentinel with their files, and a Caddy with three fixed upstreams. */
export async function makeStock({ lab }: FleetOfThree): Promise<void> {
  // The gateway's first: it would act on the others' going.
  for (const number of [1, ...mediaMachines]) await lab.machine(number).exec(['systemctl', 'stop', ...units]);
  const lines = files.map((path, index) => `printf %s 192.168.1.${mediaMachines[index % mediaMachines.length]}:7880 >${path}`);
  await run(lab, lines.join(' && '));
  // It waits for no agent.
  await run(lab, `cp -p ${config} ${kept} && sed -zi 's/"try_duration": "2s",[[:space:]]*"try_interval": "200ms"/"retries": 0/' ${config} && ${reload}`);
}

/** A machine goes and comes in Caddy's list, as after an edited Caddyfile: one reload for each, whatever it was that changed. */
export async function changeUpstreams({ lab }: FleetOfThree): Promise<void> {
  for (const [from, to] of [
    [1, 2],
    [2, 1],
  ])
    await run(lab, `sed -i 's/"retries": ${from}/"retries": ${to}/' ${config} && ${reload}`);
}

/** Gives it back; the gateway's agent sets Caddy's upstreams right. */
export async function makeOurs({ lab }: FleetOfThree): Promise<void> {
  await run(lab, `mv ${kept} ${config} && ${reload}`);
  for (const number of [...mediaMachines, 1]) await lab.machine(number).exec(['systemctl', 'start', ...units]);
}

async function run(lab: FleetOfThree['lab'], script: string): Promise<void> {
  const { code, out, err } = await lab.machine(1).exec(['sh', '-c', script]);
  if (code !== 0) throw new Error(`${script}: ${out}${err}`);
}
