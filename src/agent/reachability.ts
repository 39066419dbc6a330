import { connect } from 'node:net';
import { errorCode } from '../clients/http-request.ts';
import type { Endpoint } from '../clients/redis.ts';

/** A machine of the same network answers within a millisecond. */
const TIMEOUT_MS = 500;
/** One lost packet is sent again after a second: a machine is out of reach when it has not answered for longer, and twice. */
const SILENT_MS = 900;
const FAILURES = 2;

/** True as soon as one of the addresses answers; see knock. Rejects never. */
export function isThere(addresses: readonly Endpoint[]): Promise<boolean> {
  return Promise.any(addresses.map(knock)).then(
    () => true,
    () => false,
  );
}

/**
 * Resolves where something at the address answers: with a handshake, which the kernel makes also for a program that is stopped, or with
 * a refusal, by which it says that the machine is there.
 */
function knock({ host, port }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('no answer')));
    socket.on('connect', () => {
      resolve();
      socket.destroy();
    });
    socket.on('error', (error) => (['ECONNREFUSED', 'ECONNRESET'].includes(errorCode(error)) ? resolve() : reject(error)));
  });
}

/** Judges answers in their order; true while the machine is out of reach. */
export function createReachJudge(monotonicMs: () => number): (isAnswered: boolean) => boolean {
  let answeredAtMs = monotonicMs();
  let failures = 0;
  return (isAnswered) => {
    if (isAnswered) answeredAtMs = monotonicMs();
    failures = isAnswered ? 0 : failures + 1;
    return failures >= FAILURES && monotonicMs() - answeredAtMs >= SILENT_MS;
  };
}
