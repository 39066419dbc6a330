import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';

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
interface Table {
  readonly protocol: Listener['protocol'];
  readonly path: string;
  readonly state: string;
}

const TCP6 = '/proc/net/tcp6';
/** What the kernel says of IPv6 where nobody has such a socket: its empty table would be searched as well, for 4 ms. */
const NO_TCP6 = /^TCP6: inuse 0$/m;
const TCP_OF_IPV4: Table = { protocol: 'tcp', path: '/proc/net/tcp', state: '0A' };
const TABLES: readonly Table[] = [
  TCP_OF_IPV4,
  { protocol: 'tcp', path: TCP6, state: '0A' },
  { protocol: 'udp', path: '/proc/net/udp', state: '07' },
  { protocol: 'udp', path: '/proc/net/udp6', state: '07' },
];

/** A line of TCP's table (net/ipv4/tcp_ipv4.c, TMPSZ); it may be longer. */
const LINE_BYTES = 150;

/** 0.0.0.0, 127.0.0.1, `::` and `::ffff:127.0.0.1` as the tables write them: 32-bit words in the byte order of the machine. */
const LOOPBACK = /^(0{8}|0{32}|0100007F|0{16}FFFF00000100007F)$/;

/** The listeners of this machine (of the network namespace that we are in), of these tables. */
export function readListeners(tables: readonly Table[] = TABLES): Listener[] {
  return tables.flatMap((table) => parseListeners(readTable(table), table));
}

/** Those of TCP over IPv4 alone: a tenth of the work. */
export function readTcpListeners(): Listener[] {
  return readListeners([TCP_OF_IPV4]);
}

/**
 * A table's text; empty where the kernel does not have it, such as IPv6. The kernel lists listening TCP sockets before the
 * connections (proc_net_tcp), for which it searches a table of its own for 7 ms: those are not read, and since it looks for as many
 * lines as there is room for, only a line is asked for at a time.
 */
function readTable({ protocol, path, state }: Table): string {
  if (!existsSync(path) || (path === TCP6 && NO_TCP6.test(readFileSync('/proc/net/sockstat6', 'latin1')))) return '';
  const file = openSync(path, 'r');
  try {
    const chunk = Buffer.alloc(protocol === 'tcp' ? LINE_BYTES : 16_384);
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
