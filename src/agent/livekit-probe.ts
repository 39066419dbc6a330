import { connect } from 'node:net';
import { errorCode, sendRequest } from '../clients/http-request.ts';
import { participantsOf } from '../contract/livekit-metrics.ts';
import type { MediaConfig } from './config.ts';

/** `refused` proves that no LiveKit listens; `unready` is an answer other than 200 or none in time. */
export type LivekitAnswer = 'ok' | 'unready' | 'refused';

/** The deadline that makes a slow LiveKit an unready one. */
const PROBE_TIMEOUT_MS = 1_000;

/** What the agent asks of the LiveKit on its own machine. */
export interface LivekitProbe {
  check(): Promise<LivekitAnswer>;
  /** LiveKit's node id from the label of its metrics, null where there is none. Throws nothing. */
  readNodeId(): Promise<string | null>;
  /** The same, with the number of its participants. */
  look(): Promise<{ nodeId: string; participants: number } | null>;
  /** Calls `onEnd` once when the process goes away, which the kernel tells by closing this connection. Gives a function that ends the watch. */
  watch(onEnd: () => void): () => void;
}

/** Asks the LiveKit that the configuration names. */
export function openLivekitProbe(config: MediaConfig): LivekitProbe {
  const authorization = `Basic ${Buffer.from(`${config.metricsUsername}:${config.metricsPassword}`).toString('base64')}`;
  const readMetrics = async (): Promise<string> => {
    try {
      const answer = await sendRequest({ url: config.metricsUrl, headers: { authorization }, timeoutMs: PROBE_TIMEOUT_MS });
      return answer.status === 200 ? answer.text : '';
    } catch {
      // Whatever the network says, nothing is known for now, and asked again.
      return '';
    }
  };
  return {
    async check() {
      try {
        const answer = await sendRequest({ url: config.signallingUrl, timeoutMs: PROBE_TIMEOUT_MS });
        return answer.status === 200 ? 'ok' : 'unready';
      } catch (error) {
        return errorCode(error) === 'ECONNREFUSED' ? 'refused' : 'unready';
      }
    },
    readNodeId: async () => nodeIdOf(await readMetrics()),
    async look() {
      const metrics = await readMetrics();
      const nodeId = nodeIdOf(metrics);
      return nodeId === null ? null : { nodeId, participants: participantsOf(metrics) };
    },
    watch(onEnd) {
      const url = new URL(config.signallingUrl);
      const socket = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (url.protocol === 'https:' ? 443 : 80)) });
      let isEnded = false;
      const end = (): void => {
        if (!isEnded) onEnd();
        isEnded = true;
      };
      // A stopping LiveKit waits up to 5 s for connections that never asked anything (Go's http.Server.Shutdown), but not for idle ones.
      socket.write(`GET / HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
      socket.resume();
      socket.on('error', () => socket.destroy());
      socket.on('end', () => socket.destroy());
      socket.on('close', end);
      return () => {
        isEnded = true;
        socket.destroy();
      };
    },
  };
}

/** The `node_id` label of a Prometheus text, null where no series carries one. */
export function nodeIdOf(metrics: string): string | null {
  return /[{,]node_id="([^"]+)"/.exec(metrics)?.[1] ?? null;
}
