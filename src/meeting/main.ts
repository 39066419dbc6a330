import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { dispose } from '@livekit/rtc-node';
import { redact } from '../kernel/secret.ts';
import { meetingConfig } from './config.ts';
import { holdMeeting } from './meeting.ts';

/** Freeing the native client takes milliseconds; a hung one must not hold the exit. */
const DISPOSE_TIMEOUT_MS = 2000;

/** A config as JSON on stdin, a line of JSON on stdout for each step; exit code 0 when all passed, 1 when not, 130 when interrupted. */
const stop = new AbortController();
// A terminal's Ctrl-C comes from the terminal and from the command that started this.
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Error(name)));
const config = meetingConfig.parse(JSON.parse(await text(process.stdin)));
const secrets = [config.apiToken, config.livekit.apiSecret];
process.exitCode = await run();
await Promise.race([dispose(), sleep(DISPOSE_TIMEOUT_MS)]);
process.exit();

async function run(): Promise<number> {
  try {
    const isWell = await holdMeeting(config, {
      signal: stop.signal,
      report: (step) => process.stdout.write(`${JSON.stringify({ ...step, detail: redact(step.detail, secrets) })}\n`),
    });
    return isWell ? 0 : 1;
  } catch (error) {
    if (stop.signal.aborted) return 130;
    throw error;
  }
}
