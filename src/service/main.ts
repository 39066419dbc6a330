import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { buildApp } from './app.ts';
import { serviceConfigSchema } from './config.ts';
import { openStore } from './store/store.ts';

const { values } = parseArgs({ options: { config: { type: 'string' } } });
const parsed = readConfig(values.config);
if (!parsed.success) {
  process.stderr.write(`service: configuration ${values.config ?? '(--config is missing)'}: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}\n`);
  process.exit(2);
}
const config = parsed.data;
const store = openStore(config.database);
const app = buildApp({ config, store, now: Date.now });
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    void app.close().then(() => {
      store.close();
      process.exit(0);
    });
  });
}
await app.listen({ host: config.bind, port: config.port });

function readConfig(path: string | undefined): ReturnType<typeof serviceConfigSchema.safeParse> {
  try {
    return serviceConfigSchema.safeParse(JSON.parse(readFileSync(path ?? '', 'utf8')));
  } catch (error) {
    return serviceConfigSchema.safeParse(error);
  }
}
