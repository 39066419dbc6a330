import * as z from 'zod';

/** What the meeting needs; comes over stdin because it holds secrets. */
export const meetingConfig = z.object({
  /** Public base address without a trailing slash. */
  apiUrl: z.url({ protocol: /^https?$/ }),
  apiToken: z.string(),
  /** The keys of `.env`: to close the room, and to tell which side has others. */
  livekit: z.object({ apiKey: z.string(), apiSecret: z.string() }),
  /** Longest time for one step. */
  timeoutMs: z.int().positive(),
  /** Null where webhooks are turned off. `isElsewhere`: WEBHOOK_URLS does not name the service whose room API is asked. */
  webhooks: z.object({ agentUrl: z.url(), isElsewhere: z.boolean() }).nullable(),
});

export type MeetingConfig = z.infer<typeof meetingConfig>;
