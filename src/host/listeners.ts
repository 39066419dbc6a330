import { closeSync, existsSync, openSync, readSync } from 'node:fs';

/** A socket that waits for connections (TCP) or datagrams from anyone (UDP). */
export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** User id of the process that opened it: nobody else can fake it. */
  readonly uid: number;
  /** True where 127.0.0.1 leads to it. */
  readonly isOnLoopback: boolean;
}

/** The kernel's tables (proc_net_tcp(5)), with the state in which a socket waits: TCP_LISTEN, and for UDP TCP_CLOSE (not connected). */
const TABLES = [
  { protocol: 'tcp', path: '/proc/net/tcp', state: '0A' },
  { protocol: 'tcp', path: '/proc/net/tcp6', state: '0A' },
  { protocol: 'udp', path: '/proc/net/udp', state: '07' },
  { protocol: 'udp', path: '/proc/net/udp6', state: '07' },
] as const;

/** 0.0.0.0, 127.0.0.1, `::` and `::ffff:127.0.0.1` as the tables write them: 32-bit words in the byte order of the machine. */
const LOOPBACK = /^(0{8}|0{32}|0100007F|0{16}FFFF00000100007F)$/;

/** The listeners of this machine (of the network namespace that we are in), `ofIpv4` only those of IPv4: half the work. */
export function readListeners({ ofIpv4 = false } = {}): Listener[] {
  return TABLES.filter((table) => !ofIpv4 || !table.path.endsWith('6')).flatMap((table) => parseListeners(readTable(table), table));
}

/**
 * A table's text; empty where the kernel does not have it, such as IPv6. The kernel lists listening TCP sockets before the
 * connections (proc_net_tcp), for which it searches a table of its own for 7 ms: those are not read.
 */
function readTable({ protocol, path, state }: (typeof TABLES)[number]): string {
  if (!existsSync(path)) return '';
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(16_384);
    let text = '';
    for (;;) {
      const size = readSync(file, chunk);
      text += chunk.toString('latin1', 0, size);
      const [, last = state] = /\n *\d+: \S+ \S+ (\S+) [^\n]*\n$/.exec(text.slice(-400)) ?? [];
      if (size === 0 || (protocol === 'tcp' && last !== state)) return text;
    }
  } finally {
    closeSync(file);
  }
}

/** The listeners of one table's text. */
export function parseListeners(text: string, table: { protocol: 'tcp' | 'udp'; state: string }): Listener[] {
  return text.split('\n').flatMap((line) => {
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …
    const [, local = '', , state, , , , uid] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state !== table.state) return [];
    return [{ protocol: table.protocol, port: Number.parseInt(port, 16), uid: Number(uid), isOnLoopback: LOOPBACK.test(address) }];
  });
}
