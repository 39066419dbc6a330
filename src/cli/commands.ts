/**
 * The work of each command. Its module is loaded when it is called: all of them together take 20 ms, a quarter of a command's time,
 * most of it for the shapes of what other commands read.
 */
export const backup = later(async () => (await import('./backup.ts')).backup);
export const listBackups = later(async () => (await import('./backup-list.ts')).listBackups);
export const pruneBackups = later(async () => (await import('./backup-list.ts')).pruneBackups);
export const verifyBackup = later(async () => (await import('./backup-list.ts')).verifyBackup);
export const bundle = later(async () => (await import('./bundle.ts')).bundle);
export const logs = later(async () => (await import('./control.ts')).logs);
export const restart = later(async () => (await import('./control.ts')).restart);
export const start = later(async () => (await import('./control.ts')).start);
export const status = later(async () => (await import('./control.ts')).status);
export const stop = later(async () => (await import('./control.ts')).stop);
export const deploy = later(async () => (await import('./deploy.ts')).deploy);
export const showPlan = later(async () => (await import('./deploy.ts')).showPlan);
export const drill = later(async () => (await import('./drill.ts')).drill);
export const listDrills = later(async () => (await import('./drill.ts')).listDrills);
export const forget = later(async () => (await import('./forget.ts')).forget);
export const join = later(async () => (await import('./join.ts')).join);
export const journal = later(async () => (await import('./journal.ts')).journal);
export const leave = later(async () => (await import('./leave.ts')).leave);
export const restartFleet = later(async () => (await import('./restart-fleet.ts')).restartFleet);
export const restore = later(async () => (await import('./restore.ts')).restore);
export const addToken = later(async () => (await import('./tokens.ts')).addToken);
export const listTokens = later(async () => (await import('./tokens.ts')).listTokens);
export const revokeToken = later(async () => (await import('./tokens.ts')).revokeToken);
export const uninstall = later(async () => (await import('./uninstall.ts')).uninstall);
export const rollback = later(async () => (await import('./upgrade.ts')).rollback);
export const upgrade = later(async () => (await import('./upgrade.ts')).upgrade);
export const rollbackFleet = later(async () => (await import('./upgrade-fleet.ts')).rollbackFleet);
export const upgradeFleet = later(async () => (await import('./upgrade-fleet.ts')).upgradeFleet);
export const verify = later(async () => (await import('./verify.ts')).verify);
export const listDeadLetters = later(async () => (await import('./webhooks.ts')).listDeadLetters);
export const listWebhooks = later(async () => (await import('./webhooks.ts')).listWebhooks);
export const replayWebhooks = later(async () => (await import('./webhooks.ts')).replayWebhooks);
export const testWebhooks = later(async () => (await import('./webhooks.ts')).testWebhooks);

function later<W extends unknown[], R>(load: () => Promise<(...words: W) => R | Promise<R>>): (...words: W) => Promise<R> {
  return async (...words) => await (await load())(...words);
}
