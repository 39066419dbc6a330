import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { CHANGED_CHANNEL } from '../contract/node-record.ts';

/**
 * Calls `onChange` when a machine announces a change, and when listening begins (anew): what was announced before that moment
 * is read then. @param subscriber a connection that only listens
 */
export function listenForChanges(subscriber: Redis, onChange: () => void, log: Logger): void {
  const subscribe = (): void => {
    subscriber.subscribe(CHANGED_CHANNEL).then(onChange, (error: unknown) => log.debug({ err: error }, 'not subscribed; the period serves'));
  };
  subscriber.on('message', onChange);
  subscriber.on('ready', subscribe);
  if (subscriber.status === 'ready') subscribe();
}
