import { execa } from 'execa';
import { globSync } from 'node:fs';
import { dirname } from 'node:path';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { desireCase } from './render.ts';

/** What a real program said about the configuration of one case; `refusal` is null where it took it. */
export interface Verdict {
  readonly name: string;
  readonly program: 'caddy' | 'livekit-server';
  readonly refusal: string | null;
}

/**
 * Gives every case's caddy.json and livekit.yaml to the programs of a component store (`caddy validate`,
 * `livekit-server ports`: both read the whole file, refuse what they do not know, and open no port).
 */
export async function askPrograms(store: string): Promise<Verdict[]> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-golden-`);
  const ca = `${folder}/state/caddy/pki/authorities/local/root`;
  const ask = async (argv: readonly string[], file: { name: string; text: string }): Promise<string | null> => {
    const path = `${folder}/${file.name}`;
    await writeFile(path, file.text);
    const result = await execa(argv[0] ?? '', [...argv.slice(1), '--config', path], { reject: false, env: { HOME: folder, XDG_DATA_HOME: folder } });
    const said = `${result.stdout}\n${result.stderr}`;
    // livekit-server exits with 0 also where it could not read its configuration.
    return /^Valid configuration$|^TCP Ports$/m.test(said) ? null : said.slice(-300);
  };
  const caddy = [program(store, 'caddy', 'caddy'), 'validate'];
  const livekit = [program(store, 'livekit', 'livekit-server'), 'ports'];
  const verdicts: Verdict[] = [];
  try {
    // The first one makes the certificate authority that stands in for the operator's files later.
    const cases = globSync('*/.env', { cwd: import.meta.dirname }).toSorted((a, b) => Number(b.startsWith('localhost')) - Number(a.startsWith('localhost')));
    for (const name of cases) {
      const { desired, topology } = desireCase(dirname(name));
      const text = (path: string): string => desired.files.find((file) => file.path === `${topology.layout.config}/${path}`)?.content ?? '';
      const json = text('caddy.json')
        .replaceAll(topology.layout.root, folder)
        .replace(/\/\S+\/config\/\S+\.pem/g, (path) => `${ca}.${path.endsWith('-key.pem') ? 'key' : 'crt'}`);
      if (topology.role !== 'media') verdicts.push({ name, program: 'caddy', refusal: await ask(caddy, { name: 'caddy.json', text: json }) });
      if (topology.hasMedia)
        verdicts.push({ name, program: 'livekit-server', refusal: await ask(livekit, { name: 'livekit.yaml', text: text('livekit.yaml') }) });
    }
    // That they refuse anything at all.
    verdicts.push({ name: 'broken', program: 'caddy', refusal: await ask(caddy, { name: 'caddy.json', text: '{"apps":{"http":{"no_such_field":1}}}' }) });
    verdicts.push({ name: 'broken', program: 'livekit-server', refusal: await ask(livekit, { name: 'livekit.yaml', text: 'no_such_field: 1\n' }) });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return verdicts;
}

function program(store: string, component: string, name: string): string {
  const path = globSync(`${store}/${component}/*/bin/${name}`)[0];
  if (path === undefined) throw new Error(`${store} has no ${name}`);
  return path;
}
