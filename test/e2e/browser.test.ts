import { mkdtemp, readFile } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { bundleSeat, launchChromium } from './browser/chromium.ts';
import type { PageScope, Received } from './browser/seat.ts';
import { createInstallation, until, untilWell } from './installation.ts';
import type { Installation } from './installation.ts';

declare const window: PageScope;
const roomSchema = z.object({ id: z.string() });
const joinSchema = z.object({ url: z.string(), token: z.string() });
const eventsSchema = z.object({ events: z.array(z.object({ event: z.string(), identity: z.string().nullable() })) });

/** What a new user does after the first deploy: two browsers, each with camera and microphone, meet on localhost. */
describe('a browser on localhost', () => {
  let place: Installation;
  let script: string;
  let apiToken: string;
  const rootCertificate = (): string => `${place.folder}/data/state/caddy/pki/authorities/local/root.crt`;

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    apiToken = /^SERVICE_API_TOKEN=(.+)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1] ?? '';
    script = await bundleSeat();
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it.each([
    ['http, trusting nothing', 'http', 'HTTP_PORT', 'ws'],
    ['https, trusting the root certificate', 'https', 'HTTPS_PORT', 'wss'],
  ] as const)('meets over %s', async (_name, scheme, port, signalling) => {
    const origin = `${scheme}://localhost:${place.ports[port]}`;
    const browser = await openBrowser(scheme === 'https' ? rootCertificate() : null);
    const ann = await openPage(browser, origin);
    const bob = await openPage(browser, origin);
    const { id } = roomSchema.parse(await callApi(ann, '', {}));
    const sockets: string[] = [];
    for (const [identity, page] of Object.entries({ ann, bob })) {
      page.on('websocket', (socket) => sockets.push(socket.url()));
      const { url, token } = joinSchema.parse(await callApi(page, `/${id}/join`, { identity }));
      expect(url).toMatch(new RegExp(`^${signalling}://localhost:${place.ports[port]}/n/[\\w-]+$`));
      await page.evaluate((join) => window.seat.enter(join.url, join.token), { url, token });
      expect(sockets.at(-1)).toContain(`${url}/rtc`);
    }
    for (const page of [ann, bob]) {
      let before: Received | null = null;
      await until(async () => {
        const now = await page.evaluate(() => window.seat.received());
        // Everything has begun; from there everything grows, pictures by a second's worth at the least.
        if (before === null) before = Object.values(now).every((number) => number > 0) ? now : null;
        else return now.videoFrames > before.videoFrames + 10 && isMore(now, before);
        return false;
      }, 20_000);
    }
    expect(await bob.evaluate(() => window.seat.others())).toEqual(['ann']);
    await ann.evaluate(() => window.seat.leave());
    await until(async () => (await bob.evaluate(() => window.seat.others())).length === 0, 5000);
    await bob.evaluate(() => window.seat.leave());
    await until(async () => {
      const { events } = eventsSchema.parse(await callApi(bob, `/${id}/events`));
      return ['ann', 'bob'].every((identity) => events.some((one) => one.event === 'participant_left' && one.identity === identity));
    }, 10_000);
  });

  it('may be cut off on the only node, which then takes rooms again', async () => {
    const origin = `http://localhost:${place.ports['HTTP_PORT']}`;
    const browser = await openBrowser(null);
    // Each on a page of its own: the client of the one before comes back by itself.
    const enter = async (): Promise<void> => {
      const page = await openPage(browser, origin);
      const { id } = roomSchema.parse(await callApi(page, '', {}));
      const { url, token } = joinSchema.parse(await callApi(page, `/${id}/join`, { identity: 'ann' }));
      await page.evaluate((join) => window.seat.enter(join.url, join.token), { url, token });
      await until(async () => (await place.run(['restart', 'livekit'])).code === 2, 10_000);
    };
    await enter();
    expect(await place.run(['restart', 'livekit', '--yes'])).toMatchObject({ code: 0, err: '' });
    await untilWell(() => place.run(['status']));
    await enter();
    expect(await place.run(['stop', '--yes'])).toMatchObject({ code: 0, err: '' });
    expect(await place.run(['start'])).toMatchObject({ code: 0, err: '' });
    await untilWell(() => place.run(['status']));
    expect((await place.run(['verify'])).code).toBe(0);
  });

  it('is stopped at https while the root certificate is not trusted', async () => {
    const browser = await openBrowser(null);
    const page = await browser.newPage();
    await expect(page.goto(`https://localhost:${place.ports['HTTPS_PORT']}/api/healthz`)).rejects.toThrow('ERR_CERT_AUTHORITY_INVALID');
  });

  async function openBrowser(trusted: string | null): Promise<Browser> {
    const browser = await launchChromium({ home: await mkdtemp(`${place.folder}/home-`), trusted: trusted === null ? [] : [trusted] });
    onTestFinished(() => browser.close());
    return browser;
  }

  /** A page in a profile of its own: the product's answer with the script added, because browsers let only a page that really came from this machine connect to it unasked. */
  async function openPage(browser: Browser, origin: string): Promise<Page> {
    // The page of an application, which is its own; the API's answers let nothing run.
    const page = await (await browser.newContext({ bypassCSP: true })).newPage();
    await page.goto(`${origin}/api/healthz`);
    await page.addScriptTag({ content: script });
    expect(await page.evaluate(() => window.isSecureContext)).toBe(true);
    return page;
  }

  /** Asks the room API from the page: POST with a body, else GET. */
  function callApi(page: Page, path: string, body?: object): Promise<unknown> {
    return page.evaluate(
      async (call) => {
        const headers = { authorization: `Bearer ${call.apiToken}`, 'content-type': 'application/json' };
        const response = await fetch(
          `/api/v1/rooms${call.path}`,
          call.body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(call.body) },
        );
        return response.json();
      },
      { apiToken, path, body },
    );
  }
});

function isMore(now: Received, before: Received): boolean {
  return (Object.keys(now) as Array<keyof Received>).every((name) => now[name] > before[name]);
}
