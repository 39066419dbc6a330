import { text } from 'node:stream/consumers';
import { dispose } from '@livekit/rtc-node';
import * as z from 'zod';
import { holdMeeting } from './meeting.ts';

const configSchema = z.object({ apiUrl: z.string(), apiToken: z.string(), timeoutMs: z.number(), wantWebhooks: z.boolean() });
const config = configSchema.parse(JSON.parse(await text(process.stdin)));
process.once('SIGINT', () => process.exit(130));
const isWell = await holdMeeting(config, (step) => process.stdout.write(`${JSON.stringify(step)}\n`));
await dispose();
process.exit(isWell ? 0 : 1);
