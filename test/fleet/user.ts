import type { ChildProcess, ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { parseDrillWord } from '../../src/contract/drill.ts';
import type { DrillClients, DrillCounts, DrillWord, RoomAttempt } from '../../src/contract/drill.ts';
import type { Lab } from './machines.ts';

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
  end(): Promise<DrillCounts>;
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
  startMeeting(options?: { isRelayed?: boolean; on?: string | null }): Promise<Meeting>;
  /** Asks for new rooms, ten a second where nothing is said, until it is ended; resolves with the first answer. */
  createRooms(roomsPerSecond?: number): Promise<{ attempts: readonly RoomAttempt[]; end: () => void }>;
  /** Joins each of the rooms every second or two until it is ended; resolves with the first answer. @param patience times the 1.2 s, far longer than a visit takes, after which one has failed */
  visitRooms(rooms: readonly string[], patience?: number): Promise<{ visits: readonly Visit[]; end: () => void }>;
  remove(): Promise<void>;
}

const apiUrl = 'https://livekit.example.com';
const VISIT_MS = 1_200;

/** Machine 1 is asked for token and certificate whenever they are needed: they may change. */
export async function userOf(lab: Lab): Promise<User> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-`);
  const children = new Set<ChildProcess>();

  async function token(): Promise<string> {
    return /^SERVICE_API_TOKEN=(.+)$/m.exec((await lab.machine(1).exec(['cat', '/etc/fleet.env'])).out)?.[1] ?? '';
  }

  async function ca(): Promise<string> {
    const path = `${folder}/root.crt`;
    const written = `${path}.${randomUUID()}`;
    await writeFile(written, (await lab.machine(1).exec(['cat', '/var/lib/livekit-fleet/state/caddy/pki/authorities/local/root.crt'])).out);
    // Others may be reading it.
    await rename(written, path);
    return path;
  }

  async function ask(path: string, init: { method?: string; body?: unknown } = {}): Promise<{ ok: boolean; text: string }> {
    const words = ['-sS', '-w', '\n%{http_code}', '--cacert', await ca(), '-H', `Authorization: Bearer ${await token()}`, '-X', init.method ?? 'GET'];
    const body = init.body === undefined ? [] : ['-H', 'Content-Type: application/json', '-d', JSON.stringify(init.body)];
    const child = lab.client(['curl', ...words, ...body, `${apiUrl}/api${path}`]);
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [, answer = '', status = ''] = /^([\s\S]*)\n(\d+)$/.exec(out) ?? [];
    return { ok: status.startsWith('2'), text: answer === '' ? err : answer };
  }

  async function roomNode(room: string): Promise<string> {
    const { url } = JSON.parse((await ask(`/v1/rooms/${room}/join`, { method: 'POST', body: { identity: 'x' } })).text) as { url: string };
    return /\/n\/([^/]+)$/.exec(url)?.[1] ?? '';
  }

  async function createRoom(wanted: object = {}): Promise<string> {
    const { ok, text: answer } = await ask('/v1/rooms', { method: 'POST', body: { start: true, ...wanted } });
    if (!ok) throw new Error(`no room: ${answer}`);
    return (JSON.parse(answer) as { id: string }).id;
  }

  async function environment(): Promise<Record<string, string>> {
    return { NODE_EXTRA_CA_CERTS: await ca(), SSL_CERT_FILE: await ca() };
  }

  function start(program: string, env: Readonly<Record<string, string>>, words: readonly string[] = []): ChildProcessWithoutNullStreams {
    const child = lab.client([process.execPath, `${import.meta.dirname}/${program}`, ...words], env);
    children.add(child);
    child.stderr.pipe(process.stderr);
    return child;
  }

  /** The clients of a drill; `onWord` gets what they say until they end. */
  async function watch(wanted: Partial<DrillClients>, onWord: (word: DrillWord) => void): Promise<ChildProcessWithoutNullStreams> {
    const child = start('../../src/drill/main.ts', await environment());
    const config: DrillClients = { apiUrl, apiToken: await token(), meeting: null, roomsPerSecond: 0, ...wanted };
    child.stdin.write(`${JSON.stringify(config)}\n`);
    createInterface(child.stdout).on('line', (line) => {
      const word = parseDrillWord(line);
      if (word !== null) onWord(word);
    });
    return child;
  }

  return {
    ask,
    roomNode,
    createRoom,
    nodeOfNewRoom: async () => roomNode(await createRoom()),
    async startMeeting({ isRelayed = false, on = null } = {}) {
      let soundAtMs = 0;
      const [started, ended] = [Promise.withResolvers<string>(), Promise.withResolvers<DrillCounts>()];
      ended.promise.catch(() => undefined);
      const fail = (detail: string): void => {
        started.reject(new Error(detail));
        ended.reject(new Error(detail));
      };
      const child = await watch({ meeting: { machine: on, isRelayed } }, (word) => {
        if (word.kind === 'started') started.resolve(word.room);
        else if (word.kind === 'sound') soundAtMs = word.atMs;
        else if (word.kind === 'counts') ended.resolve(word);
        else if (word.kind === 'failed') fail(word.detail);
      });
      child.once('close', (code, signal) => fail(`the clients have ended: ${signal ?? code}`));
      return {
        room: await started.promise,
        lastSoundMs: () => soundAtMs,
        end() {
          child.stdin.end();
          return ended.promise;
        },
        kill: () => void child.kill('SIGKILL'),
      };
    },
    async createRooms(roomsPerSecond = 10) {
      const attempts: RoomAttempt[] = [];
      const first = Promise.withResolvers<void>();
      const child = await watch({ roomsPerSecond }, (word) => {
        if (word.kind === 'room') attempts.push(word);
        first.resolve();
      });
      await first.promise;
      return { attempts, end: () => child.stdin.end() };
    },
    async visitRooms(rooms, patience = 1) {
      const visits: Visit[] = [];
      const child = start('room-visitor.ts', { ...(await environment()), API_TOKEN: await token() }, [apiUrl, String(VISIT_MS * patience), ...rooms]);
      const lines = createInterface(child.stdout).on('line', (line) => visits.push(JSON.parse(line) as Visit));
      await once(lines, 'line');
      return { visits, end: () => void child.kill('SIGTERM') };
    },
    async remove() {
      for (const child of children) child.kill('SIGKILL');
      await rm(folder, { recursive: true });
    },
  };
}
