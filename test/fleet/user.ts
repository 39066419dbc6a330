import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { Lab } from './machines.ts';

/** What a meeting saw from its first sound to its end; see watched-meeting.ts. */
export interface Counts {
  readonly sent: number;
  readonly received: number;
  /** Number of the last message that came. */
  readonly last: number;
  readonly reconnections: number;
  readonly frames: number;
  readonly silent: number;
  readonly longestSilenceMs: number;
}

/** A user's computer in the lab: it knows the address, the room API's token and machine 1's certificate authority. */
export interface User {
  /** The room API below /api. */
  ask(path: string, init?: { method?: string; body?: unknown }): Promise<{ ok: boolean; text: string }>;
  /** The machine that a room's path leads to; '' for any. */
  roomNode(room: string): Promise<string>;
  nodeOfNewRoom(): Promise<string>;
  /** Two clients meet; resolves when audio flows. `isRelayed`: through TURN only. */
  startMeeting(options?: { isRelayed: boolean }): Promise<{ room: string; end: () => Promise<Counts> }>;
  /** Makes ten rooms a second, until it is stopped; `made` grows meanwhile. */
  makeRooms(): Promise<{ made: ReadonlyArray<{ atMs: number; path: string }>; stop: () => void }>;
  remove(): Promise<void>;
}

/** Machine 1 is asked for token and certificate whenever they are needed: they may change. */
export async function userOf(lab: Lab): Promise<User> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-`);
  const children = new Set<ChildProcess>();

  async function token(): Promise<string> {
    return /^SERVICE_API_TOKEN=(.+)$/m.exec((await lab.machine(1).exec(['cat', '/etc/fleet.env'])).out)?.[1] ?? '';
  }

  async function ca(): Promise<string> {
    const path = `${folder}/root.crt`;
    await writeFile(path, (await lab.machine(1).exec(['cat', '/var/lib/livekit-fleet/state/caddy/pki/authorities/local/root.crt'])).out);
    return path;
  }

  async function ask(path: string, init: { method?: string; body?: unknown } = {}): Promise<{ ok: boolean; text: string }> {
    const words = ['-sS', '-w', '\n%{http_code}', '--cacert', await ca(), '-H', `Authorization: Bearer ${await token()}`, '-X', init.method ?? 'GET'];
    const body = init.body === undefined ? [] : ['-H', 'Content-Type: application/json', '-d', JSON.stringify(init.body)];
    const child = lab.client(['curl', ...words, ...body, `https://livekit.example.com/api${path}`]);
    const [, answer = '', status = ''] = /^([\s\S]*)\n(\d+)$/.exec(await text(child.stdout)) ?? [];
    return { ok: status.startsWith('2'), text: answer };
  }

  async function roomNode(room: string): Promise<string> {
    const { url } = JSON.parse((await ask(`/v1/rooms/${room}/join`, { method: 'POST', body: { identity: 'x' } })).text) as { url: string };
    return /\/n\/([^/]+)$/.exec(url)?.[1] ?? '';
  }

  return {
    ask,
    roomNode,
    async nodeOfNewRoom() {
      const { id } = JSON.parse((await ask('/v1/rooms', { method: 'POST', body: {} })).text) as { id: string };
      return roomNode(id);
    },
    async startMeeting({ isRelayed } = { isRelayed: false }) {
      const env = { API_TOKEN: await token(), NODE_EXTRA_CA_CERTS: await ca(), SSL_CERT_FILE: await ca(), ...(isRelayed ? { RELAY: 'only' } : {}) };
      const child = lab.client([process.execPath, `${import.meta.dirname}/watched-meeting.ts`, 'https://livekit.example.com'], env);
      children.add(child);
      const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
      const errors = text(child.stderr);
      const next = async (): Promise<string> => {
        for (;;) {
          const line = await lines.next();
          if (line.done === true) throw new Error(await errors);
          // The client's native part logs to standard output.
          if (!line.value.startsWith('{"level"')) return line.value;
        }
      };
      const { started: room } = JSON.parse(await next()) as { started: string };
      return {
        room,
        async end() {
          child.kill('SIGTERM');
          return JSON.parse(await next()) as Counts;
        },
      };
    },
    async makeRooms() {
      const env = { API_TOKEN: await token(), NODE_EXTRA_CA_CERTS: await ca() };
      const child = lab.client([process.execPath, `${import.meta.dirname}/room-maker.ts`, 'https://livekit.example.com'], env);
      children.add(child);
      child.stderr.resume();
      const made: Array<{ atMs: number; path: string }> = [];
      createInterface(child.stdout).on('line', (line) => made.push(JSON.parse(line) as (typeof made)[number]));
      return { made, stop: () => void child.kill('SIGTERM') };
    },
    async remove() {
      for (const child of children) child.kill('SIGKILL');
      await rm(folder, { recursive: true });
    },
  };
}
