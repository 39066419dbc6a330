import * as z from 'zod';
import { hostAndPort, machineName } from '../contract/node-record.ts';

const port = z.int().min(1).max(65_535);
const endpoint = z.object({ host: z.string().min(1), port });
const absolutePath = z.string().startsWith('/');
const httpUrl = z.url({ protocol: /^https?$/ });

/** The agent's configuration file (JSON). */
export const agentConfigSchema = z.object({
  machine: machineName,
  fleet: z.string().min(1),
  bind: z.string().min(1),
  port,
  stateDir: absolutePath,
  /** What was done on this machine. */
  journal: absolutePath,
  logLevel: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  redis: z
    .object({
      sentinels: z.array(endpoint),
      masterName: z.string().min(1),
      password: z.string(),
      /** Used where no sentinel is named. */
      direct: endpoint.nullable(),
    })
    .refine((redis) => redis.sentinels.length > 0 || redis.direct !== null, { error: 'name a sentinel or a direct address' })
    /** A gateway that no media machine has joined yet. */
    .nullable(),
  /** This machine's own; null on a gateway that no media machine has joined yet. */
  sentinel: z
    .object({ port, /** Where other machines reach it. */ address: hostAndPort, downAfterMs: z.int().min(1), failoverTimeoutMs: z.int().min(1) })
    .nullable(),
  media: z
    .object({
      signallingUrl: httpUrl,
      advertiseAddress: hostAndPort,
      metricsUrl: httpUrl,
      metricsUsername: z.string(),
      metricsPassword: z.string(),
      version: z.string(),
      /** The file that LiveKit is started with. */
      livekitConfig: absolutePath,
      keyFingerprint: z.string(),
    })
    .nullable(),
  /** Null where no other machine can reach this one. */
  members: z
    .object({
      own: z.ipv4(),
      peers: z.array(z.string().min(1)),
      /** Null where this machine's firewall is not ours. */
      firewall: z.object({ membersFile: absolutePath, appliedFile: absolutePath }).nullable(),
    })
    .nullable(),
  /** Where the sockets part is told which connections to end; null where there is no other machine. */
  socketsPipe: absolutePath.nullable(),
  /** The part that carries out upgrades: its pipe, how the last one ended, and what it has said; null where there is none. */
  upgrades: z.object({ pipe: absolutePath, result: absolutePath, log: absolutePath }).nullable(),
  gateway: z
    .object({
      /** What media machines are told of the webhooks' receivers; null where this machine is alone. */
      webhooks: z.object({ urls: z.array(httpUrl), domain: z.string().min(1), caFile: absolutePath.nullable() }).nullable(),
    })
    .nullable(),
  webhook: z
    .object({
      enabled: z.boolean(),
      /** None: those that the gateway machine announces. */
      urls: z.array(httpUrl),
      /** API key → secret; LiveKit signs with one of them. */
      keys: z.record(z.string(), z.string().min(1)),
      /** The key that signs again what could not be delivered before LiveKit's token expired. */
      signingKey: z.string(),
    })
    .refine((webhook) => !webhook.enabled || Object.hasOwn(webhook.keys, webhook.signingKey), {
      error: 'signingKey must be one of keys',
      path: ['signingKey'],
    }),
});

export type AgentConfig = z.infer<typeof agentConfigSchema>;
export type MediaConfig = NonNullable<AgentConfig['media']>;
export type AnnouncedWebhooks = NonNullable<NonNullable<AgentConfig['gateway']>['webhooks']>;
export type WebhookConfig = AgentConfig['webhook'];

/** Reads the text of the configuration file; gives the configuration, or one line that says all that is wrong and shows no value. */
export function parseAgentConfig(text: string): { config: AgentConfig } | { problem: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return { problem: 'not valid JSON' };
    throw error;
  }
  const result = agentConfigSchema.safeParse(json);
  if (result.success) return { config: result.data };
  return { problem: result.error.issues.map((issue) => `${issue.path.join('.') || '(file)'}: ${issue.message}`).join('; ') };
}
