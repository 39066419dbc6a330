/** Apart from the shapes that they belong to: a deploy writes them into files, and has no need of the shapes. */

/** Largest body of a webhook that is taken: an event carries one room or participant, some kilobytes. */
export const MAX_WEBHOOK_BYTES = 1024 * 1024;

/** A machine is cut off for so long at most, in seconds, whoever asks. */
export const LONGEST_CUT_SECONDS = 60;
