import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderParts } from '../../src/render/parts.ts';
import { inRestartOrder } from '../../src/topology/topology.ts';
import type { Role } from '../../src/topology/topology.ts';
import { makePlan } from '../../src/plan/plan.ts';
import type { Change, Desired, Observed } from '../../src/plan/plan.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { schema, variableNames } from '../../src/settings/schema.ts';
import type { VariableName } from '../../src/settings/schema.ts';
import { desireFrom, hidden } from '../golden/render.ts';

const address = fc.tuple(fc.constantFrom('10', '192'), fc.nat(255), fc.nat(255), fc.integer({ min: 1, max: 254 })).map((parts) => parts.join('.'));
const hostName = fc.stringMatching(/^[a-z][a-z0-9]{0,8}(\.[a-z][a-z0-9]{0,8}){0,2}$/);
/** Few numbers, so that clashes are frequent, and a wide range beside them. */
const port = fc.oneof(fc.integer({ min: 8000, max: 8010 }), fc.integer({ min: 1, max: 65_535 })).map(String);
const folder = fc.stringMatching(/^(\/[A-Za-z0-9._-]{1,8}){1,4}$/);
const url = fc.tuple(fc.constantFrom('http', 'https'), hostName, port).map(([scheme, name, number]) => `${scheme}://${name}:${number}/hook?a=1`);

function valueOf(name: VariableName): fc.Arbitrary<string> {
  const { type } = schema[name];
  if ('options' in type) return fc.constantFrom(...(type.options as string[]));
  if (name.endsWith('_PORT')) return port;
  if (/_(FILE|DIR|PATH)$/.test(name)) return folder;
  if (name === 'DOMAIN' || name === 'REDIS_HOST') return fc.oneof(hostName, address, fc.constant('localhost'));
  if (name === 'NODES')
    return fc.oneof(
      fc.constant('localhost'),
      // This machine's own address has to be among them.
      fc.uniqueArray(address, { maxLength: 3 }).map((all) => [...new Set([...all, '192.168.1.2'])].join(',')),
    );
  if (name === 'NODE_PUBLIC_IP') return fc.oneof(address, fc.constantFrom('auto', 'none'));
  if (name === 'STUN_SERVERS') return fc.constantFrom('', 'stun.example.com:3478,192.0.2.1:19302');
  if (name === 'LIVEKIT_UDP_PORTS')
    return fc.tuple(fc.integer({ min: 1024, max: 40_000 }), fc.integer({ min: 1, max: 20_000 })).map(([first, size]) => `${first}-${first + size}`);
  if (name === 'WEBHOOK_ENABLED') return fc.constantFrom('true', 'false');
  if (name === 'WEBHOOK_URLS') return fc.array(url, { maxLength: 3 }).map((all) => all.join(','));
  if (name === 'BUSINESS_UPSTREAM') return fc.tuple(fc.oneof(fc.constant('127.0.0.1'), address), port).map((parts) => parts.join(':'));
  if (name === 'TOKEN_TTL' || name === 'HEALTH_TIMEOUT' || name === 'DRAIN_TIMEOUT') return fc.integer({ min: 1, max: 9999 }).map(String);
  if (name === 'SERVICE_USER') return fc.stringMatching(/^[a-z_][a-z0-9_-]{0,8}$/);
  if (name === 'ACME_EMAIL') return fc.constant('ops@example.com');
  if (['ACME_CA', 'COMPONENT_MIRROR', 'NODE_MIRROR', 'NPM_CONFIG_REGISTRY', 'GOPROXY'].includes(name)) return url;
  return fc.constant('');
}

/** A `.env` with some of the variables, each with a value that is good by itself. */
const envText = fc.record(Object.fromEntries(variableNames.map((name) => [name, valueOf(name)])), { requiredKeys: [] }).map((values) =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join(''),
);
const role = fc.constantFrom<Role>('all', 'gateway', 'media');
/** What a single machine does not have. */
const desireAs = (text: string, as: Role): ReturnType<typeof desireFrom> =>
  desireFrom(as === 'all' ? text.replace(/^REDIS_HOST=.*\n/m, '') : text, { role: as });
const goodEnv = envText.filter((text) => parseSettings(text, {}).settings !== null);

/** What stands on a machine after a plan was carried out on `before`. */
function apply(desired: Desired, before: Observed): Observed {
  const changes = makePlan(desired, before);
  const files = new Map(before.files);
  const applied = { ...before.applied };
  const running = new Set(before.running);
  for (const change of changes) {
    if (change.kind === 'create' || change.kind === 'update') files.set(change.file.path, { content: change.content, mode: change.file.mode });
    else if (change.kind === 'retire') {
      delete applied[change.part];
      running.delete(change.part);
    } else {
      applied[change.part] = change.fingerprint;
      running.add(change.part);
    }
  }
  return { files, applied, running };
}

const nothing: Observed = { files: new Map(), applied: {}, running: new Set() };
const kinds = (changes: readonly Change[]): string[] => changes.map((change) => `${change.kind} ${'file' in change ? change.file.path : change.part}`);

describe('plan', () => {
  it('is empty once it was applied, also on top of another installation (property)', () => {
    fc.assert(
      fc.property(goodEnv, role, goodEnv, role, (first, firstRole, second, secondRole) => {
        const former = apply(desireAs(first, firstRole).desired, nothing);
        const { desired } = desireAs(second, secondRole);
        expect(kinds(makePlan(desired, apply(desired, nothing)))).toEqual([]);
        expect(kinds(makePlan(desired, apply(desired, former)))).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('creates every file and starts every part on an empty machine (property)', () => {
    fc.assert(
      fc.property(goodEnv, role, (text, as) => {
        const { desired, topology } = desireAs(text, as);
        const changes = kinds(makePlan(desired, nothing));
        expect(changes).toEqual([...desired.files.map((file) => `create ${file.path}`), ...topology.parts.map((part) => `start ${part}`)]);
        expect(new Set(changes).size).toBe(changes.length);
      }),
      { numRuns: 60 },
    );
  });

  it('restarts the parts whose files change, and no other', () => {
    const standing = apply(desireFrom('').desired, nothing);
    const changed = (env: string): string[] => kinds(makePlan(desireFrom(env).desired, standing)).filter((one) => /^(restart|start)/.test(one));
    expect(changed('TURN_UDP_PORT=3479')).toEqual(['restart livekit']);
    expect(changed('WEBHOOK_URLS=https://a.example.com/hook')).toEqual(['restart agent']);
    expect(changed('TOKEN_TTL=60')).toEqual(['restart service']);
    expect(changed('HEALTH_TIMEOUT=90')).toEqual([]);
  });

  it('retires a part that is no longer wanted, once', () => {
    const { desired } = desireFrom('BUSINESS_UPSTREAM=192.168.1.9:9000');
    const standing = apply(desireFrom('').desired, nothing);
    expect(kinds(makePlan(desired, standing)).filter((one) => one.startsWith('retire'))).toEqual(['retire service']);
    expect(kinds(makePlan(desired, apply(desired, standing)))).toEqual([]);
  });

  it('starts what has stopped and mends a changed or missing file or a wrong mode', () => {
    const { desired, topology } = desireFrom('');
    const standing = apply(desired, nothing);
    const config = `${topology.layout.config}/livekit.yaml`;
    const files = (change: (files: Map<string, { content: string; mode: number }>) => void): Observed => {
      const copy = new Map(standing.files);
      change(copy);
      return { ...standing, files: copy };
    };
    const now = standing.files.get(config) ?? { content: '', mode: 0 };
    expect(kinds(makePlan(desired, { ...standing, running: new Set(topology.parts.filter((part) => part !== 'redis')) }))).toEqual(['start redis']);
    expect(
      kinds(
        makePlan(
          desired,
          files((copy) => copy.delete(config)),
        ),
      ),
    ).toEqual([`create ${config}`]);
    expect(
      kinds(
        makePlan(
          desired,
          files((copy) => copy.set(config, { ...now, content: 'x' })),
        ),
      ),
    ).toEqual([`update ${config}`]);
    expect(
      kinds(
        makePlan(
          desired,
          files((copy) => copy.set(config, { ...now, mode: 0o644 })),
        ),
      ),
    ).toEqual([`update ${config}`]);
  });

  it('leaves what Redis and Sentinel wrote themselves, and carries it over when our part changes', () => {
    const { desired, topology } = desireFrom('');
    const standing = apply(desired, nothing);
    const path = `${topology.layout.state}/sentinel/sentinel.conf`;
    const before = standing.files.get(path) ?? { content: '', mode: 0o640 };
    const learnt = 'sentinel known-replica livekit 10.0.0.3 6379';
    const written: Observed = {
      ...standing,
      files: new Map(standing.files).set(path, { ...before, content: `${before.content}${learnt}\nuser default on\n` }),
    };
    expect(kinds(makePlan(desired, written))).toEqual([]);
    const update = makePlan(desireFrom('SENTINEL_PORT=26380').desired, written).find((change) => 'file' in change && change.file.path === path);
    expect(update).toMatchObject({ kind: 'update', content: expect.stringContaining(`\n${learnt}\n`) });
    expect(update).toMatchObject({ content: expect.stringContaining('\nport 26380\n') });
    expect(update).not.toMatchObject({ content: expect.stringContaining('user default on') });
  });
});

describe('ports', () => {
  it('never clash in settings that the parser accepts; where it refuses it names line and both variables (property)', () => {
    const seen = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(envText, (text) => {
        const { settings, problems } = parseSettings(text, {});
        if (settings === null) {
          seen.refused++;
          for (const one of problems.filter(({ code }) => code === 'PORT_CLASH')) {
            expect(text.split('\n')[(one.line ?? 0) - 1]?.split('=')[0]).toBe(one.variable);
            expect(variableNames).toContain(one.hint);
          }
          return;
        }
        seen.accepted++;
        const { LIVEKIT_UDP_PORTS: media } = settings;
        const single = variableNames
          .filter((name) => name.endsWith('_PORT') && !(name === 'SERVICE_PORT' && settings.BUSINESS_UPSTREAM !== ''))
          // Caddy and a LiveKit with TURN over TLS are on different machines.
          .filter((name) => name !== 'TURN_TLS_PORT' || ![settings.HTTP_PORT, settings.HTTPS_PORT].includes(settings.TURN_TLS_PORT))
          .map((name) => Number(settings[name]));
        expect(new Set(single).size).toBe(single.length);
        for (const udp of [settings.TURN_UDP_PORT, settings.HTTPS_PORT]) expect(udp < media.first || udp > media.last).toBe(true);
      }),
      { numRuns: 1000 },
    );
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(20);
  });
});

describe('what a program is only given to begin with', () => {
  it('is written where there is none, and left as it is afterwards', () => {
    const { desired } = desireFrom('');
    const path = desired.files.find((file) => file.ownership.kind === 'theirs')?.path ?? '';
    expect(path).toMatch(/upstream\.0$/);
    const concerns = (changes: readonly Change[]): boolean => changes.some((change) => 'file' in change && change.file.path === path);
    expect(concerns(makePlan(desired, nothing))).toBe(true);
    const files = new Map([[path, { content: 'its own by now', mode: 0o600 }]]);
    expect(concerns(makePlan(desired, { ...nothing, files }))).toBe(false);
  });
});

describe('parts that are restarted', () => {
  it('are so in the order in which they start, but LiveKit before its agent', () => {
    const { topology } = desireFrom('');
    expect(topology.parts.indexOf('agent')).toBeLessThan(topology.parts.indexOf('livekit'));
    expect(inRestartOrder(topology.parts)).toEqual(['redis', 'sentinel', 'livekit', 'agent', 'service', 'caddy', 'backups']);
    expect(inRestartOrder(['agent', 'caddy'])).toEqual(['agent', 'caddy']);
    expect(inRestartOrder(['livekit'])).toEqual(['livekit']);
  });

  it('are not restarted for their log', () => {
    const { desired } = desireFrom('');
    const [log] = desired.files.filter((file) => file.path.endsWith('/logs/livekit/config'));
    expect(log).toBeDefined();
    const applied = Object.fromEntries(desired.parts.map(({ part, fingerprint }) => [part, fingerprint]));
    const files = new Map(desired.files.map((file) => [file.path, { content: file === log ? 'other' : file.content, mode: file.mode }]));
    const changes = makePlan(desired, { files, applied, running: new Set(desired.parts.map(({ part }) => part)) });
    expect(kinds(changes)).toEqual([`update ${log?.path}`]);
  });
});

describe('secrets', () => {
  it('stand in no argv, environment or plan line and in no file that others may read (property)', () => {
    fc.assert(
      fc.property(goodEnv, role, (text, as) => {
        const { desired, settings, topology } = desireAs(text, as);
        const programs = { node: '/node', redisServer: '/redis-server', livekitServer: '/livekit-server', caddy: '/caddy' };
        const open = [
          ...renderParts(settings, topology, programs, { root: '/opt/livekit-fleet', envPath: '/opt/livekit-fleet/.env' }).flatMap((spec) => [
            ...spec.argv,
            ...Object.values(spec.env),
          ]),
          ...kinds(makePlan(desired, nothing)),
          ...desired.files.map((file) => file.path),
          // Scripts and units hold command lines; whoever runs `ps` reads them.
          ...desired.files
            .filter((file) => (file.mode & 0o007) !== 0 || (file.mode & 0o111) !== 0 || /\.(service|slice|target)$/.test(file.path))
            .map((file) => file.content),
        ].join('\n');
        for (const secret of hidden) expect(open).not.toContain(secret);
      }),
      { numRuns: 60 },
    );
  });

  it('are in the files that need them, so that the check above can fail', () => {
    const text = desireFrom('')
      .desired.files.map((file) => file.content)
      .join('');
    for (const secret of hidden.slice(0, 2)) expect(text).toContain(secret);
  });
});
