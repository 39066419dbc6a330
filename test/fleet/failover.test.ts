import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { brokenLivekit, until } from '../e2e/installation.ts';
import { putVersions } from '../e2e/stand-in-versions.ts';
import { deployFleetOfThree, mediaMachines, nameOf } from './fleet-of-three.ts';
import type { FleetOfThree } from './fleet-of-three.ts';
import type { Machine } from './machines.ts';
import type { Meeting } from './user.ts';

/** What is measured by `npm run bench -- failover` is only bounded here. */
const BACK_MS = 30_000;
/** Until a LiveKit that was left alone with a room has ended it. */
const ALONE_MS = 150_000;
/** As long as it takes to see that nothing happens: several times what a vanished machine gets. */
const PATIENCE_MS = 6_000;
/** What is shown of a journal where sound does not come back. */
const [SAID_LINES, SAID_CHARS] = [40, 300];

const [SAME, BROKEN] = ['1.99.0', '1.13.3'];

/** What `drill --json` says. */
interface DrillSaid {
  readonly planned?: readonly unknown[];
  readonly drills?: readonly { readonly fault: string; readonly machine: string; readonly ok: boolean; readonly measures: { readonly gapMs: number } }[];
}

function onAll(version: string): string[] {
  return mediaMachines.map(() => version);
}

/** Does the work, at whose end the meeting's clients leave where there is one, and then what has to be done whatever became of it. Rejects with what went wrong first. */
async function takingCare(meeting: Meeting | null, work: () => Promise<void>, care: () => Promise<void>): Promise<void> {
  const [worked] = await Promise.allSettled([work()]);
  if (worked.status === 'rejected') meeting?.kill();
  const [cared] = await Promise.allSettled([care()]);
  for (const one of [worked, cared]) if (one.status === 'rejected') throw one.reason;
}

/** Connects machines again, each once. */
async function mendAll(mends: (() => Promise<void>)[]): Promise<void> {
  const mended = await Promise.allSettled(mends.splice(0).map((mend) => mend()));
  for (const one of mended) if (one.status === 'rejected') throw one.reason;
}

/** Waits for sound after this time. Rejects with what the clients and the machines say of the room, and prints it. */
async function hearSince(ms: number, meeting: Meeting, { lab, user }: FleetOfThree): Promise<void> {
  await until(async () => meeting.lastSoundMs() > ms, BACK_MS).catch(async (error: unknown) => {
    const heardMs = meeting.lastSoundMs();
    const path = await user.roomNode(meeting.room).catch(String);
    const counts = await meeting.end().catch(String);
    const journals = await Promise.all([1, ...mediaMachines].map((number) => sayings(lab.machine(number), meeting.room).catch(String)));
    const times = `waited for since ${new Date(ms).toISOString()}, last heard at ${new Date(heardMs).toISOString()}, the room's path now: ${path}`;
    const seen = ['no sound', times, JSON.stringify(counts, null, 1), ...journals].join('\n');
    process.stderr.write(`${seen}\n`);
    throw new Error(seen, { cause: error });
  });
}

/** The last lines of a machine's Caddy, agent and LiveKit; of LiveKit those of the room. */
async function sayings(machine: Machine, room: string): Promise<string> {
  const said = async (part: string, words: readonly string[]): Promise<string> => {
    const { out } = await machine.exec(['journalctl', '-u', `livekit-fleet-${part}`, '--no-pager', '-o', 'short-iso-precise', ...words]);
    return out
      .split('\n')
      .slice(-SAID_LINES)
      .map((line) => line.slice(0, SAID_CHARS))
      .join('\n');
  };
  return (await Promise.all([said('caddy', []), said('agent', []), said('livekit', ['--grep', room])])).join('\n');
}

/** One story; the order matters. Machines lose their power in it, and cables are cut. */
describe('a fleet of three', () => {
  let fleet: FleetOfThree;
  let primary: number;
  let [first, second] = [0, 0];
  /** A component store with versions of LiveKit beside the one that is deployed. */
  let [store, ownVersion] = ['', ''];

  const nodeOf = async (number: number): Promise<string | null> =>
    (JSON.parse(await fleet.redis(primary, ['HGET', 'fleet:nodes', nameOf(number)])) as { nodeId: string | null }).nodeId;
  const livekitNodes = async (): Promise<string[]> => (await fleet.redis(primary, ['HKEYS', 'nodes'])).split('\n');
  const unreachableFrom = async (number: number): Promise<string[]> =>
    (await fleet.redis(primary, ['HGET', 'fleet:sights', nameOf(number)])).split(' ').slice(1).filter(Boolean);
  /** Settles, and says who is who: the machine with the primary, and the other two. */
  const settle = async (): Promise<void> => {
    await fleet.settle();
    primary = await fleet.primary();
    [first = 0, second = 0] = mediaMachines.filter((number) => number !== primary);
  };
  /** Waits until `ago` of a machine's words has passed, by Redis's clock. */
  const awaitWords = async (number: number): Promise<void> => {
    const atMs = async (): Promise<number> => Number((await fleet.redis(primary, ['HGET', 'fleet:sights', nameOf(number)])).split(' ')[0]);
    const since = await atMs();
    await until(async () => (await atMs()) > since + PATIENCE_MS, BACK_MS);
  };

  beforeAll(async () => {
    store = await mkdtemp(`${tmpdir()}/livekit-fleet-store-`);
    await promisify(execFile)('cp', ['-al', `${inject('componentStore')}/.`, store]);
    ownVersion = await putVersions(store, { [SAME]: null, [BROKEN]: brokenLivekit });
    fleet = await deployFleetOfThree(store);
    await settle();
  });

  afterAll(async () => {
    await fleet.remove();
    await rm(store, { recursive: true });
  });

  /** Connects machines again, and waits until all is as it was. */
  const makeWhole = async (mends: (() => Promise<void>)[]): Promise<void> => {
    await mendAll(mends);
    await settle();
  };

  it('goes on with its rooms elsewhere when a machine loses its power', async () => {
    const lost = await nodeOf(first);
    const meeting = await fleet.user.startMeeting({ on: nameOf(first) });
    await fleet.lab.machine(first).kill();
    const work = async (): Promise<void> => {
      const atMs = Date.now();
      await until(async () => !(await livekitNodes()).includes(lost ?? ''), BACK_MS);
      expect(await fleet.redis(primary, ['HVALS', 'room_node_map'])).not.toContain(lost);
      await hearSince(atMs + 2_000, meeting, fleet);
      expect(await fleet.user.roomNode(meeting.room)).not.toBe(nameOf(first));
      const counts = await meeting.end();
      expect(counts.reconnections).toBeGreaterThan(0);
      expect(counts.last).toBeGreaterThan(0);
    };
    await takingCare(meeting, work, async () => {
      await fleet.lab.machine(first).boot();
      await settle();
    });
  });

  it('starts a LiveKit anew that hangs, and its meeting goes on', async () => {
    const hung = await nodeOf(first);
    const meeting = await fleet.user.startMeeting({ on: nameOf(first) });
    await fleet.signal(first, 'livekit', 'STOP');
    const work = async (): Promise<void> => {
      const atMs = Date.now();
      await until(async () => !(await livekitNodes()).includes(hung ?? ''), BACK_MS);
      expect(await fleet.redis(primary, ['HVALS', 'room_node_map'])).not.toContain(hung);
      await hearSince(atMs + 2_000, meeting, fleet);
      await settle();
      expect(await nodeOf(first)).not.toBe(hung);
      await meeting.end();
    };
    await takingCare(meeting, work, async () => {
      // One that has been started anew does not mind.
      await fleet.signal(first, 'livekit', 'CONT');
      await settle();
    });
  });

  it.each([
    ['a machine', false],
    ['the machine of the former Redis primary', true],
  ])('ends no meeting that went on elsewhere when %s comes back whose LiveKit was left alone with it', async (_name, isPrimary) => {
    const lost = isPrimary ? primary : first;
    const others = [1, ...mediaMachines].filter((number) => number !== lost);
    const journal = async (part: string): Promise<string> =>
      (await fleet.lab.machine(lost).exec(['journalctl', '-u', `livekit-fleet-${part}`, '--no-pager', '-o', 'cat'])).out;
    const meeting = await fleet.user.startMeeting({ on: nameOf(lost) });
    const mends = await Promise.all(others.map((number) => fleet.lab.machine(lost).cutFrom(number)));
    const work = async (): Promise<void> => {
      // Everybody has left it: it misses them after 20 s, and then gives them the time that the room grants.
      const hasEnded = async (): Promise<boolean> =>
        (await journal('livekit')).split('\n').some((line) => line.includes('room closed') && line.includes(meeting.room));
      await until(hasEnded, ALONE_MS);
      await hearSince(Date.now(), meeting, fleet);
      await mendAll(mends);
      const hasDropped = async (): Promise<boolean> =>
        (await journal('agent')).split('\n').some((line) => line.includes('webhook dropped: the room goes on on another node') && line.includes(meeting.room));
      await until(hasDropped, BACK_MS);
      await settle();
      const joined = await fleet.user.ask(`/v1/rooms/${meeting.room}/join`, { method: 'POST', body: { identity: 'late' } });
      expect(joined, joined.text).toMatchObject({ ok: true });
      await hearSince(Date.now(), meeting, fleet);
      await meeting.end();
    };
    await takingCare(meeting, work, () => makeWhole(mends));
  });

  it.each([
    ['only the gateway', 1],
    ['only one other machine', 2],
  ])('keeps a machine that %s cannot reach', async (_name, who) => {
    const observer = who === 1 ? 1 : second;
    const node = await nodeOf(first);
    const meeting = await fleet.user.startMeeting({ on: nameOf(first) });
    const mends = [await fleet.lab.machine(first).cutFrom(observer)];
    const work = async (): Promise<void> => {
      await until(async () => (await unreachableFrom(observer)).includes(nameOf(first)), BACK_MS);
      await awaitWords(observer);
      expect(await livekitNodes()).toContain(node);
      expect(await nodeOf(first)).toBe(node);
      // Its LiveKit may be chosen for a room, but nobody is sent where the gateway does not come.
      await until(async () => (await fleet.user.ask('/v1/rooms', { method: 'POST', body: { start: true } })).ok, BACK_MS);
      // The clients reach its media all the time, and its signalling through another machine where the gateway does not.
      await hearSince(Date.now(), meeting, fleet);
      const before = meeting.lastSoundMs();
      await mendAll(mends);
      await settle();
      await hearSince(before, meeting, fleet);
      const counts = await meeting.end();
      expect(counts.longestGapMs).toBeLessThan(2_000);
      expect(counts.reconnections > 0).toBe(who === 1);
      expect(await nodeOf(first)).toBe(node);
    };
    await takingCare(meeting, work, () => makeWhole(mends));
  });

  it('starts the LiveKit anew that was cut off from all others, whose rooms they have taken over', async () => {
    const node = await nodeOf(first);
    const mends = await Promise.all([1, primary, second].map((other) => fleet.lab.machine(first).cutFrom(other)));
    const work = (): Promise<void> => until(async () => !(await livekitNodes()).includes(node ?? ''), BACK_MS);
    await takingCare(null, work, () => makeWhole(mends));
    const now = await nodeOf(first);
    expect(now).not.toBe(node);
    expect(await livekitNodes()).toContain(now);
    expect(await livekitNodes()).not.toContain(node);
  });

  it('gives the rooms of a machine that is cut off from the primary’s machine alone to others, and starts its LiveKit anew', async () => {
    const node = await nodeOf(first);
    const meeting = await fleet.user.startMeeting({ on: nameOf(first) });
    const mends = [await fleet.lab.machine(first).cutFrom(primary)];
    const work = async (): Promise<void> => {
      await until(async () => !(await livekitNodes()).includes(node ?? ''), BACK_MS);
      const atMs = Date.now();
      await until(async () => (await fleet.user.roomNode(meeting.room)) !== nameOf(first), BACK_MS);
      await hearSince(atMs + 2_000, meeting, fleet);
      const hasSaid = async (): Promise<boolean> =>
        (await fleet.lab.machine(first).exec(['journalctl', '-u', 'livekit-fleet-agent', '--no-pager', '-o', 'cat'])).out.includes(
          'this machine alone has lost its way to the Redis primary',
        );
      await until(hasSaid, BACK_MS);
      await mendAll(mends);
      await settle();
      await meeting.end();
      expect(await fleet.redis(primary, ['HVALS', 'room_node_map'])).not.toContain(node);
    };
    await takingCare(meeting, work, () => makeWhole(mends));
  });

  it.each(['livekit', 'agent'])('keeps a machine whose %s is stopped for a while', async (part) => {
    const node = await nodeOf(first);
    await fleet.signal(first, part, 'STOP');
    await awaitWords(1);
    expect(await livekitNodes()).toContain(node);
    expect(await unreachableFrom(1)).toEqual([]);
    await fleet.signal(first, part, 'CONT');
    await settle();
    expect(await nodeOf(first)).toBe(node);
  });

  it('hears of a machine that is shut down in order, whose LiveKit ends before its agent', async () => {
    const gone = await nodeOf(first);
    const record = async (): Promise<unknown> => JSON.parse(await fleet.redis(primary, ['HGET', 'fleet:nodes', nameOf(first)])) as unknown;
    await fleet.lab.machine(first).shutDown();
    expect(await record()).toMatchObject({ state: 'stopped', nodeId: null });
    expect(await livekitNodes()).not.toContain(gone);
    await fleet.lab.machine(first).boot();
    await settle();
    // One that is only given another agent says nothing of the kind.
    const node = await nodeOf(first);
    await fleet.lab.machine(first).exec(['systemctl', 'stop', 'livekit-fleet-agent']);
    expect(await record()).toMatchObject({ state: 'serving', nodeId: node });
    await fleet.lab.machine(first).exec(['systemctl', 'start', 'livekit-fleet-agent']);
    await settle();
    expect(await nodeOf(first)).toBe(node);
  });

  it('takes joins again when the machine of the Redis primary loses its power, and its rooms go on', async () => {
    const former = primary;
    const lost = await nodeOf(former);
    const meeting = await fleet.user.startMeeting({ on: nameOf(former) });
    await fleet.lab.machine(former).kill();
    const work = async (): Promise<void> => {
      const atMs = Date.now();
      await until(async () => (await fleet.user.ask('/v1/rooms', { method: 'POST', body: { start: true } })).ok, BACK_MS);
      await hearSince(atMs + 2_000, meeting, fleet);
      await meeting.end();
      // Neither LiveKit is left with a connection to a primary that is gone.
      for (const number of [first, second]) {
        const answer = async (): Promise<string> => (await fleet.lab.machine(number).exec(['curl', '-s', '-m', '2', 'http://127.0.0.1:7880/'])).out;
        await until(async () => (await answer()) === 'OK', BACK_MS);
      }
    };
    await takingCare(meeting, work, async () => {
      await fleet.lab.machine(former).boot();
      await settle();
    });
    expect(primary).not.toBe(former);
    expect(await fleet.redis(former, ['ROLE'])).toContain('slave');
    expect(await fleet.redis(primary, ['HVALS', 'room_node_map'])).not.toContain(lost);
  });

  it('is drilled from machine 1, and says what the faults did cost', async () => {
    const drill = async (...words: string[]): Promise<{ code: number; said: DrillSaid }> => {
      const { code, out } = await fleet.lab.machine(1).exec(['/opt/livekit-fleet/部署.sh', 'drill', ...words, '--json', '--env', '/etc/fleet.env']);
      // A failure is a line of its own, after what was measured.
      const said = out.split('\n').find((line) => /^\{"(ok|planned)"/.test(line));
      return { code, said: said === undefined ? {} : (JSON.parse(said) as DrillSaid) };
    };
    // Nobody answers for its name here.
    await fleet.lab.machine(1).exec(['sh', '-c', 'echo 192.168.1.1 livekit.example.com >>/etc/hosts']);
    expect((await drill('cut')).code).toBe(2);
    expect((await drill('--dry-run')).said.planned).toHaveLength(7);
    expect((await fleet.lab.machine(2).exec(['/opt/livekit-fleet/部署.sh', 'drill', '--yes', '--env', '/etc/fleet.env'])).code).toBe(2);
    const node = await nodeOf(first);
    for (const fault of ['livekit', 'cut', 'service']) {
      const [before] = [Date.now()];
      const { code, said } = await drill(fault, '--machine', nameOf(first), '--yes');
      const [one] = said.drills ?? [];
      expect(one, fault).toMatchObject({ fault, machine: fault === 'service' ? nameOf(1) : nameOf(first) });
      // Whether the limits were kept is the benchmark's to say.
      expect(code).toBe(one?.ok === true ? 0 : 1);
      expect(one?.measures.gapMs).toBeGreaterThan(0);
      expect(one?.measures.gapMs).toBeLessThan(Date.now() - before);
    }
    expect(await nodeOf(first)).not.toBe(node);
    expect((await fleet.lab.machine(first).exec(['journalctl', '-u', 'livekit-fleet-sockets', '--no-pager', '-o', 'cat'])).out).toContain('cut off for 20 s');
    const done = (await fleet.lab.machine(first).exec(['/opt/livekit-fleet/部署.sh', 'journal', '--env', '/etc/fleet.env'])).out;
    expect(done).toMatch(/m192-168-1-1 .* drill cut/);
    await settle();
  });

  it('lets a meeting be where commands are interrupted that wait for its people, and LiveKit starts by itself when they have left', async () => {
    await settle();
    const was = await nodeOf(first);
    const meeting = await fleet.user.startMeeting({ on: nameOf(first) });
    const run = (words: readonly string[], before: readonly string[] = []): Promise<{ code: number; out: string; err: string }> =>
      fleet.lab.machine(first).exec([...before, '/opt/livekit-fleet/部署.sh', ...words, '--lang', 'en', '--env', '/etc/fleet.env'], { LOG_LEVEL: 'debug' });
    for (const words of [['deploy-livekit-only'], ['restart', 'livekit'], ['stop'], ['upgrade', '--to', SAME], ['leave'], ['deploy-livekit-only']]) {
      const { code, out, err } = await run(words, ['timeout', '--preserve-status', '--signal=INT', '6']);
      expect([words, out, err]).toEqual([words, expect.stringMatching(/LiveKit waits for \d+ participant/), expect.stringContaining('Interrupted.')]);
      expect(out).toContain('LiveKit goes on for those who are in it');
      expect(out.includes('The former files are back')).toBe(!['restart', 'stop', 'leave'].includes(words[0] ?? ''));
      expect(code).toBe(130);
    }
    // Nor does anything else on the machine have to wait for them.
    expect(await run(['restart', 'agent'], ['timeout', '15'])).toMatchObject({ code: 0 });
    const agentPid = async (): Promise<string> => (await fleet.lab.machine(first).exec(['systemctl', 'show', '-P', 'MainPID', 'livekit-fleet-agent'])).out;
    const killed = await agentPid();
    await fleet.signal(first, 'agent', 'KILL');
    await until(async () => !['0', killed].includes(await agentPid()), BACK_MS);
    const started = await run(['start'], ['timeout', '15']);
    expect(started, started.err).toMatchObject({ code: 0, out: expect.stringContaining('LiveKit goes on for those who are in it') });
    await hearSince(Date.now() + PATIENCE_MS, meeting, fleet);
    expect(await nodeOf(first)).toBe(was);
    expect(await meeting.end()).toMatchObject({ reconnections: 0 });
    await settle();
    expect(await nodeOf(first)).not.toBe(was);
    expect((await fleet.lab.machine(first).exec(['grep', '-c', 'debug', '/var/lib/livekit-fleet/config/livekit.yaml'])).out).toBe('0');
    const plan = await fleet.lab.machine(first).exec(['/opt/livekit-fleet/部署.sh', 'plan', '--json', '--env', '/etc/fleet.env']);
    expect(JSON.parse(plan.out)).toMatchObject({ changes: [] });
  });

  it('is upgraded machine by machine, stops at the first that does not serve, and goes back', async () => {
    const run = (...words: string[]): Promise<{ code: number; out: string; err: string }> =>
      fleet.lab.machine(1).exec(['/opt/livekit-fleet/部署.sh', ...words, '--fleet', '--now', '--json', '--lang', 'en', '--env', '/etc/fleet.env']);
    const versions = async (): Promise<string[]> =>
      Promise.all(
        mediaMachines.map(async (number) => (JSON.parse(await fleet.redis(primary, ['HGET', 'fleet:nodes', nameOf(number)])) as { version: string }).version),
      );
    const order = [first, second, primary].map(nameOf);

    const absent = await run('upgrade', '--to', '9.9.9');
    expect(absent.code, absent.out).toBe(1);
    for (const machine of order) expect(absent.err).toContain(`${machine}: `);
    expect(await versions()).toEqual(onAll(ownVersion));

    const meeting = await fleet.user.startMeeting({ on: nameOf(primary) });
    const stopped = await run('upgrade', '--to', BROKEN);
    expect(stopped.code, stopped.out).toBe(1);
    expect(stopped.err).toContain(`LiveKit ${BROKEN} does not serve on ${order[0]}`);
    await settle();
    expect(await versions()).toEqual(onAll(ownVersion));
    // Who is on another node has noticed nothing.
    expect(await meeting.end()).toMatchObject({ reconnections: 0 });

    const upgraded = await run('upgrade', '--to', SAME);
    expect(upgraded, upgraded.err).toMatchObject({ code: 0 });
    expect(JSON.parse(upgraded.out)).toEqual({ version: SAME, upgraded: order });
    expect(await versions()).toEqual(onAll(SAME));
    await settle();
    expect(JSON.parse((await run('upgrade', '--to', SAME)).out)).toEqual({ version: SAME, upgraded: [] });

    const back = await run('rollback');
    expect(back, back.err).toMatchObject({ code: 0 });
    expect(await versions()).toEqual(onAll(ownVersion));
    await settle();
    expect((await fleet.lab.machine(first).exec(['/opt/livekit-fleet/部署.sh', 'journal', '--env', '/etc/fleet.env'])).out).toMatch(
      new RegExp(`✓ m192-168-1-1 .*upgrade --to ${SAME} --fleet`),
    );
  });
});
