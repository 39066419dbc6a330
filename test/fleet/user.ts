import type { ChildProcess, ChildProcessByStdio } from 'node:child_process';
import type { Readable } from 'node:stream';
import { once } from 'node:events';
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
  /** From one sound to the next by the clock, also while no track was there at all. */
  readonly longestGapMs: number;
  /** When a client was last back after a reconnection, in milliseconds since 1970; 0: none was. */
  readonly backAtMs: number;
  /** What happened to the clients, with the time of day (UTC). */
  readonly timeline: readonly string[];
}

/** A room that was asked for; times in milliseconds since 1970. */
export interface Attempt {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly isCreated: boolean;
  /** Where its participants are sent: the path of its node; '' for any, or where it was not made. */
  readonly path: string;
}

/** A participant who asked to come into a room; times in milliseconds since 1970. */
export interface Visit {
  readonly room: string;
  readonly startedMs: number;
  readonly endedMs: number;
  /** What kept him out; null: LiveKit took him in. */
  readonly problem: string | null;
}

/** A meeting of two clients. */
export interface Meeting {
  readonly room: string;
  /** When sound was last heard, in milliseconds since 1970, to a fifth of a second. */
  lastSoundMs(): number;
  end(): Promise<Counts>;
  /** Ends both clients without a word. */
  kill(): void;
}

/** A user's computer in the lab: it knows the address, the room API's token and machine 1's certificate authority. */
export interface User {
  /** The room API below /api. */
  ask(path: string, init?: { method?: string; body?: unknown }): Promise<{ ok: boolean; text: string }>;
  /** The machine that a room's path leads to; '' for any. */
  roomNode(room: string): Promise<string>;
  /** Gives its id. @param wanted what the API takes */
  createRoom(wanted?: object): Promise<string>;
  nodeOfNewRoom(): Promise<string>;
  /** Two clients meet; resolves when audio flows. `isRelayed`: through TURN only. `on`: in a room of this machine. */
  startMeeting(options?: { isRelayed?: boolean; on?: string }): Promise<Meeting>;
  /** Asks for new rooms, ten a second, until it is ended; resolves with the first answer. */
  createRooms(): Promise<{ attempts: readonly Attempt[]; end: () => void }>;
  /** Joins each of the rooms about every second until it is ended; resolves with the first answer. */
  visitRooms(rooms: readonly string[]): Promise<{ visits: readonly Visit[]; end: () => void }>;
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

  async function createRoom(wanted: object = {}): Promise<string> {
    const { ok, text: answer } = await ask('/v1/rooms', { method: 'POST', body: { start: true, ...wanted } });
    if (!ok) throw new Error(answer);
    return (JSON.parse(answer) as { id: string }).id;
  }

  /** Rooms go to nodes at random. */
  async function createRoomOn(machine: string): Promise<string> {
    for (let tries = 0; tries < 60; tries++) {
      const room = await createRoom();
      if ((await roomNode(room)) === machine) return room;
    }
    throw new Error(`no room came to ${machine}`);
  }

  async function environment(): Promise<Record<string, string>> {
    return { API_TOKEN: await token(), NODE_EXTRA_CA_CERTS: await ca(), SSL_CERT_FILE: await ca() };
  }

  function start(program: string, env: Readonly<Record<string, string>>, words: readonly string[] = []): ChildProcessByStdio<null, Readable, Readable> {
    const child = lab.client([process.execPath, `${import.meta.dirname}/${program}`, 'https://livekit.example.com', ...words], env);
    children.add(child);
    return child;
  }

  /** What a program of lines of JSON has said so far; resolves with the first. */
  async function listen<T>(program: string, words: readonly string[] = []): Promise<{ said: readonly T[]; end: () => void }> {
    const child = start(program, await environment(), words);
    const said: T[] = [];
    const lines = createInterface(child.stdout);
    lines.on('line', (line) => said.push(JSON.parse(line) as T));
    child.stderr.pipe(process.stderr);
    await once(lines, 'line');
    return { said, end: () => void child.kill('SIGTERM') };
  }

  return {
    ask,
    roomNode,
    createRoom,
    nodeOfNewRoom: async () => roomNode(await createRoom()),
    async startMeeting({ isRelayed = false, on } = {}) {
      const room = on === undefined ? {} : { ROOM: await createRoomOn(on) };
      const child = start('watched-meeting.ts', { ...(await environment()), ...(isRelayed ? { RELAY: 'only' } : {}), ...room });
      const errors = text(child.stderr);
      let soundAtMs = 0;
      const [started, ended] = [Promise.withResolvers<string>(), Promise.withResolvers<Counts>()];
      createInterface(child.stdout).on('line', (line) => {
        // The client's native part logs to standard output.
        if (line.startsWith('{"level"')) return;
        const said = JSON.parse(line) as { started: string } | { soundAtMs: number } | Counts;
        if ('started' in said) started.resolve(said.started);
        else if ('soundAtMs' in said) soundAtMs = said.soundAtMs;
        else ended.resolve(said);
      });
      const closed = once(child, 'close').then(async () => Promise.reject(new Error(await errors)));
      closed.catch(started.reject);
      closed.catch(ended.reject);
      ended.promise.catch(() => undefined);
      return {
        room: await started.promise,
        lastSoundMs: () => soundAtMs,
        end() {
          child.kill('SIGTERM');
          return ended.promise;
        },
        kill: () => void child.kill('SIGKILL'),
      };
    },
    async createRooms() {
      const { said, end } = await listen<Attempt>('room-creator.ts');
      return { attempts: said, end };
    },
    async visitRooms(rooms) {
      const { said, end } = await listen<Visit>('room-visitor.ts', rooms);
      return { visits: said, end };
    },
    async remove() {
      for (const child of children) child.kill('SIGKILL');
      await rm(folder, { recursive: true });
    },
  };
}
