import type { ServiceManager } from '../../src/supervisor/service-manager.ts';

async function unused(): Promise<never> {
  throw new Error('not to be done');
}

/** A supervisor that is asked for nothing. */
export const idleManager: ServiceManager = {
  activate: unused,
  start: unused,
  restart: unused,
  stop: unused,
  beginStop: unused,
  beginStart: unused,
  kill: unused,
  stopAll: unused,
  retire: unused,
  status: unused,
  tailLog: unused,
  followLogs: () => [],
};
