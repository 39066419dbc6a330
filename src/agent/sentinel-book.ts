import { isDeepStrictEqual } from 'node:util';
import type { Endpoint } from '../clients/redis.ts';
import { hostOf } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';

/** The Sentinels of the media machines. */
export interface SentinelBook {
  known(): readonly Endpoint[];
  /** Takes the fleet as it is now; true where other machines than before are in it. */
  update(fleet: readonly NodeRecord[]): boolean;
}

/** Starts with a remembered fleet. @param port of every machine's Sentinel; null where there are no Sentinels */
export function createSentinelBook(remembered: readonly NodeRecord[], port: number | null): SentinelBook {
  const endpoints = (fleet: readonly NodeRecord[]): Endpoint[] => (port === null ? [] : fleet.map((record) => ({ host: hostOf(record.signalling), port })));
  let known = endpoints(remembered);
  return {
    known: () => known,
    update(fleet) {
      const next = endpoints(fleet);
      if (isDeepStrictEqual(next, known)) return false;
      known = next;
      return true;
    },
  };
}
