import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { knock } from '../clients/knock.ts';
import { connectFleetRedis, primaryOf } from '../clients/redis.ts';
import type { FleetRedisConfig } from '../clients/redis.ts';
import { openSentinelControl } from '../clients/sentinel-control.ts';
import type { AgentConfig } from './config.ts';
import { connectionEnder } from './dead-sockets.ts';
import { startDoorkeeper } from './doorkeeper.ts';
import { faultMaker } from './drill-faults.ts';
import { openFleetMemory } from './fleet-memory.ts';
import type { FleetMemory } from './fleet-memory.ts';
import { startGatewaySync } from './gateway-sync.ts';
import type { GatewaySync } from './gateway-sync.ts';
import { startPrimaryWatch } from './primary-watch.ts';
import { createSentinelBook } from './sentinel-book.ts';
import { startSentinelVoter } from './sentinel-voter.ts';
import { hostOf } from '../contract/node-record.ts';
import { FLEET_MEMORY } from '../contract/fleet-memory.ts';
import { upstreamFiles } from '../contract/upstream-files.ts';
import { createHttpApi } from './http-api.ts';
import { startGhostKeeper } from './ghost-keeper.ts';
import { startJournalShipper } from './journal-shipper.ts';
import { openLivekitProbe } from './livekit-probe.ts';
import { findLivekitProcess } from './livekit-process.ts';
import { startNodeKeeper } from './node-keeper.ts';
import { startOrderTaker } from './order-taker.ts';
import type { OrderTakerOptions } from './order-taker.ts';
import { runUpgrade } from './upgrade-runner.ts';
import { startMediaRegistry } from './media-registry.ts';
import { startStaleEntries } from './stale-entries.ts';
import { startStrandedNode } from './stranded-node.ts';
import type { StrandedNodeOptions } from './stranded-node.ts';
import { startVanishedNodes } from './vanished-nodes.ts';
import { openUpstreams } from './upstream-files.ts';
import { startWitness } from './witness.ts';
import { startWebhookAnnouncer } from './webhook-announcer.ts';
import { doubtWhileSpeechless } from './webhook-relay/doubt.ts';
import { followTargets } from './webhook-relay/follow-targets.ts';
import { startMembership } from './membership.ts';
import type { Membership } from './membership.ts';
import { startWebhookRelay } from './webhook-relay/relay.ts';
import { openWebhookStore } from './webhook-relay/store.ts';

/** To find the primary, connect and look takes tens of milliseconds. */
const LOOK_MS = 500;

/** The clocks and the log that the parts share. */
export interface AgentEnvironment {
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** A clock that never jumps. */
  readonly monotonicMs: () => number;
}

/** Starts the parts that the configuration names. Gives a function that ends them. Rejects where the port or the state directory cannot be had. */
export async function startAgent(config: AgentConfig, environment: AgentEnvironment): Promise<() => Promise<void>> {
  await mkdir(config.stateDir, { recursive: true, mode: 0o750 });
  return config.redis === null ? startWaiting(config, environment.log) : startMember(config, config.redis, environment);
}

/** Only answers, until a media machine has joined. */
async function startWaiting(config: AgentConfig, log: Logger): Promise<() => Promise<void>> {
  // Caddy complains of files that are not there, and does without.
  if (config.gateway !== null)
    await openUpstreams(upstreamFiles(config.stateDir, false))
      .give([])
      .catch((error: unknown) => log.error({ err: error }, 'upstreams not written'));
  const server = createHttpApi({ machine: config.machine, redis: null, log, isLivekitServing: null, isInStep: null, wayTo: null, relay: null });
  server.listen(config.port, config.bind);
  await once(server, 'listening');
  log.info({ machine: config.machine, bind: config.bind, port: config.port }, 'agent up; waiting for media machines');
  return async () => {
    server.close();
    server.closeAllConnections();
  };
}

async function startMember(config: AgentConfig, fleetRedis: FleetRedisConfig, environment: AgentEnvironment): Promise<() => Promise<void>> {
  const { log, nowMs, monotonicMs } = environment;
  const store = config.webhook.enabled ? openWebhookStore(join(config.stateDir, 'webhooks.db')) : null;
  const relay = store === null ? null : startWebhookRelay({ config: config.webhook, store, log: log.child({ part: 'webhook' }), nowMs });
  const onChange = (isReady: boolean, reason: string): void => log.info({ isReady, reason }, 'Redis');
  const memory = openFleetMemory(join(config.stateDir, FLEET_MEMORY));
  // A media machine's own Sentinel is there whenever the machine is.
  const sentinels = createSentinelBook(config.media === null ? ((await memory.load()) ?? []) : [], fleetRedis.sentinels[0]?.port ?? null);
  const redis = connectFleetRedis(fleetRedis, { onChange, moreSentinels: sentinels.known });
  let membership: Membership | null = null;
  const probe = config.media === null ? null : openLivekitProbe(config.media);
  const livekit = config.media === null ? null : findLivekitProcess(config.media.livekitConfig);
  const media =
    config.media === null || probe === null
      ? null
      : startMediaRegistry({
          machine: config.machine,
          media: config.media,
          redis,
          probe,
          kill: async () => {
            const pid = await livekit?.pid();
            if (pid != null) livekit?.signal(pid, 'SIGKILL');
          },
          isOpen: async () => config.members === null || (await membership?.isOpen()) === true,
          log: log.child({ part: 'media' }),
          monotonicMs,
        });
  const stopKeepingNode = media === null ? null : startNodeKeeper({ redis, nodeId: () => media.nodeId(), log: log.child({ part: 'media' }) });
  const subscriber = connectFleetRedis(fleetRedis, { isSubscriber: true, moreSentinels: sentinels.known });
  const endConnections = connectionEnder(config.socketsPipe, log.child({ part: 'sockets' }));
  const primaryWatch =
    config.media === null || config.sentinel === null
      ? null
      : startPrimaryWatch({
          sentinel: { ...config.sentinel, masterName: fleetRedis.masterName, password: fleetRedis.password },
          own: hostOf(config.sentinel.address),
          endConnections,
          path: join(config.stateDir, 'primary'),
          log: log.child({ part: 'sentinel' }),
        });
  const vanished =
    config.sentinel === null || config.members === null
      ? null
      : startVanishedNodes({
          machine: config.machine,
          sentinelPort: config.sentinel.port,
          redis,
          ...(primaryWatch === null ? {} : { maySpeak: () => primaryWatch.names(primaryOf(redis)) }),
          onChange: () => gateway?.poke(),
          log: log.child({ part: 'vanished' }),
          monotonicMs,
        });
  const stopStranded =
    vanished === null || media === null
      ? null
      : startStranded(config, fleetRedis, { seen: vanished, kill: () => media.end(), log: log.child({ part: 'vanished' }) });
  const gateway: GatewaySync | null =
    config.gateway === null
      ? null
      : startGatewaySync({
          redis,
          subscriber,
          upstreams: openUpstreams(upstreamFiles(config.stateDir, config.media !== null)),
          memory,
          ...(vanished === null ? {} : { seen: vanished }),
          endConnections,
          onFleet(fleet) {
            if (config.media !== null || !sentinels.update(fleet)) return;
            // Anew, so that it also listens to the Sentinels that came: another one may be gone by the time that it is missed.
            redis.disconnect(true);
            subscriber.disconnect(true);
          },
          log: log.child({ part: 'gateway' }),
          monotonicMs,
        });
  const stopVoting = startVoting(config, fleetRedis, {
    redis,
    memory: config.gateway === null ? memory : null,
    log: log.child({ part: 'sentinel' }),
    monotonicMs,
  });
  const { members } = config;
  const knocker = (host: string): Promise<unknown> => knock({ host, port: config.port, password: fleetRedis.password });
  membership = members === null ? null : await startMembership({ ...members, redis, knock: knocker, log: log.child({ part: 'members' }), monotonicMs });
  const endDoorkeeper =
    members === null || membership === null
      ? null
      : await startDoorkeeper({
          bind: members.own,
          port: config.port,
          password: fleetRedis.password,
          admit: (address) => membership.admit(address),
          monotonicMs,
          log: log.child({ part: 'members' }),
        });
  const announced = config.gateway?.webhooks ?? null;
  const stopAnnouncing =
    announced === null ? null : startWebhookAnnouncer({ machine: config.machine, redis, webhooks: announced, log: log.child({ part: 'gateway' }) });
  const stopFollowing =
    relay === null
      ? null
      : followTargets({
          redis,
          subscriber,
          relay,
          ownUrls: config.webhook.urls,
          path: join(config.stateDir, 'webhook-targets.json'),
          log: log.child({ part: 'webhook' }),
        });
  const stopDoubting =
    relay === null || vanished === null || media === null
      ? null
      : doubtWhileSpeechless({ redis, relay, seen: vanished, nodeId: () => media.nodeId(), log: log.child({ part: 'webhook' }), monotonicMs });
  const stopKeeping =
    config.media === null
      ? null
      : startGhostKeeper({
          machine: config.machine,
          redis,
          send: relay === null ? null : (event) => relay.send(event),
          mayAct: () => vanished === null || vanished.isWithMost(),
          log: log.child({ part: 'rooms' }),
        });
  const stopTidying = config.media === null ? null : startStaleEntries({ redis, log: log.child({ part: 'media' }), monotonicMs });
  const stopTaking =
    livekit === null || probe === null
      ? null
      : startOrderTaker({
          machine: config.machine,
          redis,
          livekit,
          look: () => probe.look(),
          makeReady: faultMaker({ redis, livekit, own: config.sentinel === null ? null : hostOf(config.sentinel.address), socketsPipe: config.socketsPipe }),
          runUpgrade: upgraderOf(config.upgrades),
          log: log.child({ part: 'orders' }),
          monotonicMs,
        });
  const stopShipping = startJournalShipper({ redis, path: config.journal, log: log.child({ part: 'journal' }) });
  const server = createHttpApi({
    machine: config.machine,
    redis,
    log,
    isLivekitServing: media === null ? null : () => media.isServing(),
    isInStep: gateway === null ? null : () => gateway.isInStep(),
    wayTo: gateway === null ? null : (wanted) => gateway.wayTo(wanted),
    relay,
  });
  // Caddy waits for an agent that starts anew, which is to know then where the rooms are.
  if (gateway !== null && media === null) await Promise.race([gateway.looked, sleep(LOOK_MS)]);
  server.listen(config.port, config.bind);
  await once(server, 'listening');
  log.info({ machine: config.machine, bind: config.bind, port: config.port }, 'agent up');
  return async () => {
    server.close();
    server.closeAllConnections();
    endDoorkeeper?.();
    await Promise.all([
      stopShipping(),
      stopKeeping?.(),
      stopKeepingNode?.(),
      stopTidying?.(),
      stopTaking?.(),
      stopVoting?.(),
      primaryWatch?.stop(),
      stopAnnouncing?.(),
      stopFollowing?.(),
      stopDoubting?.(),
      stopStranded?.(),
      vanished?.stop(),
      gateway?.stop(),
      media?.stop(),
      membership?.stop(),
    ]);
    await relay?.stop();
    subscriber.disconnect();
    redis.disconnect();
  };
}

/** The part that this machine's Sentinel has in the fleet's vote; null where there is none. */
function startVoting(
  config: AgentConfig,
  { masterName, password }: FleetRedisConfig,
  shared: { redis: Redis; memory: FleetMemory | null; log: Logger; monotonicMs: () => number },
): (() => Promise<void>) | null {
  if (config.sentinel === null) return null;
  const { address, ...own } = config.sentinel;
  const sentinel = openSentinelControl({ ...own, masterName, password });
  return config.media === null ? startWitness({ ...shared, sentinel, address }) : startSentinelVoter({ ...shared, sentinel, machine: config.machine });
}

/** Null where no part carries out upgrades. */
function upgraderOf(files: AgentConfig['upgrades']): OrderTakerOptions['runUpgrade'] {
  return files === null ? null : (order, run) => runUpgrade(files, order, run);
}

/** Null on a machine without Sentinel. */
function startStranded(
  config: AgentConfig,
  { masterName, password }: FleetRedisConfig,
  shared: Pick<StrandedNodeOptions, 'seen' | 'kill' | 'log'>,
): (() => Promise<void>) | null {
  if (config.sentinel === null) return null;
  const { address, ...own } = config.sentinel;
  return startStrandedNode({ ...shared, masterName, password, own: hostOf(address), sentinel: openSentinelControl({ ...own, masterName, password }) });
}
