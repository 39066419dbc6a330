import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundleSeat, launchChromium } from '../e2e/browser/chromium.ts';
import type { PageScope, Received } from '../e2e/browser/seat.ts';

/** Two browsers meet through TURN over TLS alone: `node browsers-over-tls.ts FOLDER` with root.crt and cert.pem, and API_TOKEN. Writes a line of JSON. */

declare const window: PageScope;
const [folder = '', token = ''] = [process.argv[2], process.env['API_TOKEN']];
const origin = 'https://livekit.example.com';
const TIMEOUT_MS = 30_000;
const timer = setTimeout(() => process.exit(1), 120_000);

const browser = await launchChromium({ home: folder, trusted: [`${folder}/root.crt`, `${folder}/cert.pem`] });
const script = await bundleSeat();
const pages = await Promise.all(
  ['ann', 'bob'].map(async (identity) => {
    // The page of an application, which is its own; the API's answers let nothing run.
    const page = await (await browser.newContext({ bypassCSP: true })).newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    await page.goto(`${origin}/api/healthz`);
    await page.addScriptTag({ content: script });
    return { identity, page };
  }),
);
const ask = async (path: string, body: object): Promise<Record<string, string>> => {
  const answer = await pages[0]?.page.evaluate(
    async (call) => {
      const headers = { authorization: `Bearer ${call.token}`, 'content-type': 'application/json' };
      return (await fetch(`/api/v1/rooms${call.path}`, { method: 'POST', headers, body: JSON.stringify(call.body) })).json() as Promise<Record<string, string>>;
    },
    { token, path, body },
  );
  if (answer === undefined) throw new Error('no answer');
  return answer;
};
const { id = '' } = await ask('', {});
for (const { identity, page } of pages) {
  const join = await ask(`/${id}/join`, { identity });
  await page.evaluate((ticket) => window.seat.enter(ticket['url'] ?? '', ticket['token'] ?? '', { isOverTls: true }), join);
}
const bob = pages[1]?.page;
let received: Received | undefined;
for (const deadline = Date.now() + TIMEOUT_MS; Date.now() < deadline; await sleep(200)) {
  received = await bob?.evaluate(() => window.seat.received());
  if (received !== undefined && received.videoFrames > 10 && received.audioEnergy > 0) break;
}
const relayProtocols = await bob?.evaluate(() => window.seat.relayProtocols());
clearTimeout(timer);
const line = JSON.stringify({ relayProtocols, hasSound: (received?.audioEnergy ?? 0) > 0, hasPictures: (received?.videoFrames ?? 0) > 10 });
if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain');
await browser.close();
