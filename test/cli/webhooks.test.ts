import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { createContext } from '../../src/cli/context.ts';
import type { CliContext } from '../../src/cli/context.ts';
import { listDeadLetters, listWebhooks, replayWebhooks, testWebhooks } from '../../src/cli/webhooks.ts';
import { createReporter } from '../../src/report/reporter.ts';
import { apiToken, startLivekitStandIn, startService, temporaryDirectory } from '../service/fixtures.ts';
import { addEndpoint, startReceiver } from '../service/receiver.ts';

function reporterTo(isJson: boolean, lines: string[]): CliContext['reporter'] {
  return createReporter({ language: 'en', isJson, out: (line) => void lines.push(line), err: (line) => void lines.push(line) });
}

const WAIT = { timeout: 15_000, interval: 20 };

it.skipIf(process.getuid?.() !== 0)(
  'lists endpoints, tries them, and sends again what they did not take',
  async () => {
    const clock = { offsetMs: 0 };
    const service = await startService((await startLivekitStandIn()).url, {}, undefined, () => Date.now() + clock.offsetMs);
    const folder = await temporaryDirectory();
    const env = join(folder, '.env');
    // Away from the ports that a test's service may get.
    await writeFile(env, `LIVEKIT_UDP_PORTS=20000-20100\nSERVICE_PORT=${await service.listen()}\nSERVICE_API_TOKEN=${apiToken}\nDATA_DIR=${folder}/data\n`);
    const run = async (command: (context: CliContext) => Promise<number | void>): Promise<{ text: string; json: Record<string, unknown>; code: number }> => {
      const [text, json]: [string[], string[]] = [[], []];
      const context = createContext({ env, lang: 'en' });
      const code = (await command({ ...context, reporter: reporterTo(false, text) })) ?? 0;
      await command({ ...context, reporter: reporterTo(true, json) });
      return { text: text.join(''), json: JSON.parse(json.join('')) as Record<string, unknown>, code };
    };

    expect((await run(listWebhooks)).text).toContain('POST /api/v1/webhooks');
    let isDown = true;
    const receiver = await startReceiver(() => ({ status: isDown ? 500 : 200 }));
    const { id, secret } = await addEndpoint(service, { url: receiver.url });
    expect(await run((context) => testWebhooks(context, undefined))).toMatchObject({ code: 1, json: { ok: false, tests: [{ id, error: 'HTTP 500' }] } });

    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    await vi.waitFor(async () => expect((await run(listWebhooks)).text).toContain('HTTP 500'), WAIT);
    clock.offsetMs = 25 * 3_600_000;
    await vi.waitFor(async () => expect((await run(listWebhooks)).json).toMatchObject({ webhooks: [{ id, waiting: 0, dead: 1 }] }), WAIT);
    const dead = await run((context) => listDeadLetters(context, id));
    expect(dead.text).toMatch(/room\.created +r1 .*HTTP 500/);
    expect(dead.json).toMatchObject({ letters: [{ type: 'room.created', room: 'r1' }] });
    await expect(run((context) => replayWebhooks(context, id, { letters: 'x' }))).rejects.toMatchObject({ code: 'BAD_OPTION_VALUE' });
    await expect(run((context) => replayWebhooks(context, 'we_none', { letters: undefined }))).rejects.toMatchObject({ code: 'SERVICE_REFUSED' });

    isDown = false;
    expect((await run((context) => replayWebhooks(context, undefined, { letters: undefined }))).text).toContain('1 messages');
    await vi.waitFor(() => expect(receiver.taken().map(({ type }) => type)).toContain('room.created'), WAIT);
    expect(await run((context) => testWebhooks(context, id))).toMatchObject({ code: 0, json: { ok: true } });
    await vi.waitFor(async () => expect((await run(listWebhooks)).text).toMatch(/well +0 waiting, 0 not taken/), WAIT);
    expect(JSON.stringify(await run(listWebhooks))).not.toContain(secret);
  },
  60_000,
);
