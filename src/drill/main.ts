import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { drillClientsSchema } from '../contract/drill.ts';
import { askForRooms } from './ask-for-rooms.ts';
import type { DrillRun } from './run.ts';
import { holdWatchedMeeting } from './watched-meeting.ts';

/**
 * What a drill, and the benchmarks, watch a fleet with: a line of JSON on stdin says what to do (contract/drill.ts), lines of JSON on
 * stdout what is seen. It ends with stdin, or at SIGTERM, after what the meeting counted.
 */
const stop = new AbortController();
const lines = createInterface({ input: process.stdin });
const [line] = (await once(lines, 'line')) as [string];
lines.once('close', () => stop.abort());
process.once('SIGTERM', () => stop.abort());
// A terminal's Ctrl-C comes from the command that started this as well.
process.on('SIGINT', () => {});
// Whoever started this is gone.
process.stdout.on('error', () => process.exit(1));
const config = drillClientsSchema.parse(JSON.parse(line));
const run: DrillRun = {
  signal: stop.signal,
  emit: (word) => process.stdout.write(`${JSON.stringify(word)}\n`),
  nowMs: () => Date.now(),
};

try {
  await Promise.all([
    config.meeting === null ? null : holdWatchedMeeting({ ...config, meeting: config.meeting }, run),
    config.roomsPerSecond > 0 ? askForRooms(config, run) : null,
  ]);
} catch (error) {
  if (!run.signal.aborted) {
    run.emit({ kind: 'failed', detail: error instanceof Error ? error.message : String(error) });
    process.exitCode = 1;
  }
}
process.exit();
