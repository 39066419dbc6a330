import { createHash } from 'node:crypto';
import { AccessToken, RoomServiceClient, TwirpError } from 'livekit-server-sdk';
import type { RoomApi, Ticket } from './api.ts';
import type { MeetingConfig } from './config.ts';
import { request } from './network.ts';
import { StepError } from './step.ts';

/** Long enough for a slow proxy, short beside the step's own deadline, which may have passed already. */
const PROBE_TIMEOUT_MS = 3000;

/** What is known when a step fails. */
interface Known {
  readonly config: MeetingConfig;
  readonly api: RoomApi;
  /** The last one that the room API gave out. */
  readonly ticket: Ticket | null;
}

/** Looks from another side at what failed: the first finding is what the meeting itself could see of it. */
export async function explain(found: StepError, known: Known): Promise<StepError> {
  switch (found.likely) {
    case 'SIGNALLING_FAILED':
    case 'MEDIA_BLOCKED':
    case 'AUDIO_LOST':
    case 'DATA_LOST':
      return known.ticket === null ? found : probeSignalling(found, known.ticket);
    case 'LIVEKIT_UNAVAILABLE':
      return probeLivekit(found, known);
    case 'WEBHOOKS_MISSING':
      return known.config.webhooks === null ? found : probeWebhooks(found, { ...known.config, ...known.config.webhooks });
    default:
      return found;
  }
}

/** The client in the room, with LiveKit's own answer to its ticket. Source: livekit-server `/rtc/validate`, 200 or the status of the refusal. */
async function probeSignalling(found: StepError, ticket: Ticket): Promise<StepError> {
  const base = ticket.url.replace(/^ws/, 'http').replace(/\/+$/, '');
  const answer = await ask(`${base}/rtc/validate?access_token=${encodeURIComponent(ticket.token)}`);
  if (answer instanceof StepError) return because(answer, found);
  if (answer.status === 200) return found;
  const cause = answer.status === 401 ? 'KEYS_DIFFER' : answer.status >= 500 ? 'LIVEKIT_UNAVAILABLE' : 'SIGNALLING_FAILED';
  return because(new StepError(cause, `${base}/rtc/validate: HTTP ${answer.status} ${answer.text.slice(0, 200)}`), found);
}

/** The service says that LiveKit does not do it: where LiveKit refuses the keys of `.env`, or does it for them while the service still fails, the keys are the reason. */
async function probeLivekit(found: StepError, { config, api }: Known): Promise<StepError> {
  const { apiKey, apiSecret } = config.livekit;
  const rooms = new RoomServiceClient(config.apiUrl, apiKey, apiSecret, { requestTimeout: PROBE_TIMEOUT_MS / 1000 });
  const name = `verify-${crypto.randomUUID()}`;
  try {
    await rooms.createRoom({ name, emptyTimeout: 1 });
    await rooms.deleteRoom(name);
  } catch (error) {
    const isRefused = error instanceof TwirpError && error.status === 401;
    return isRefused ? because(new StepError('KEYS_DIFFER', 'LiveKit refuses LIVEKIT_API_KEY and LIVEKIT_API_SECRET of .env'), found) : found;
  }
  try {
    // LiveKit may have come up just now.
    await rooms.deleteRoom(await api.createRoom(AbortSignal.timeout(PROBE_TIMEOUT_MS)));
    return because(new StepError('LIVEKIT_UNAVAILABLE', 'LiveKit answers again now'), found);
  } catch {
    return because(new StepError('KEYS_DIFFER', 'LiveKit takes LIVEKIT_API_KEY and LIVEKIT_API_SECRET of .env, but not those of the service'), found);
  }
}

/** The way of a webhook from its start: the agent, its addresses, the signature. */
async function probeWebhooks(found: StepError, config: MeetingConfig & NonNullable<MeetingConfig['webhooks']>): Promise<StepError> {
  const agent = await ask(`${config.agentUrl}/healthz`);
  if (agent instanceof StepError) return because(new StepError('AGENT_STOPPED', agent.message), found);
  if (config.isElsewhere) return because(new StepError('WEBHOOKS_ELSEWHERE', 'WEBHOOK_URLS'), found);
  // Signed as LiveKit signs, but no event: a service that takes the signature refuses the body.
  const body = '{}';
  const token = new AccessToken(config.livekit.apiKey, config.livekit.apiSecret, { ttl: 60 });
  token.sha256 = createHash('sha256').update(body).digest('base64');
  const headers = { authorization: await token.toJwt(), 'content-type': 'application/webhook+json' };
  const answer = await ask(`${config.apiUrl}/api/webhook`, { method: 'POST', headers, body });
  if (answer instanceof StepError) return because(answer, found);
  if (answer.status !== 401 && answer.status !== 403) return found;
  return because(new StepError('WEBHOOKS_REFUSED', `POST /api/webhook: HTTP ${answer.status} ${answer.text.slice(0, 200)}`), found);
}

function because(reason: StepError, found: StepError): StepError {
  return new StepError(reason.likely, `${reason.message} (${found.message})`, { cause: found });
}

async function ask(url: string, init: RequestInit = {}): Promise<{ status: number; text: string } | StepError> {
  const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
  try {
    return await request(url, { ...init, signal });
  } catch (error) {
    if (error instanceof StepError) return error;
    if (signal.aborted) return new StepError('GATEWAY_UNREACHABLE', `${new URL(url).origin}: no answer within ${PROBE_TIMEOUT_MS} ms`);
    throw error;
  }
}
