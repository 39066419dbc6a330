import { execa } from 'execa';
import { writeFile } from 'node:fs/promises';
import { bringGoProgram } from './go-program.ts';
import { freePorts, until } from './installation.ts';

/** Let's Encrypt's own small ACME server for tests. */
const PEBBLE = '2.10.1';

/** A certificate authority of the test's own, in files; `root` is its certificate. */
export interface OfflineAuthority {
  readonly root: string;
  /** Makes `<name>.pem` (the certificate alone) and `<name>.key`, and gives their paths. */
  issue(name: string, options: { subjects: string; days: number }): Promise<{ certificate: string; key: string }>;
}

/** Makes the authority's key and certificate in `folder`. */
export async function createOfflineAuthority(folder: string): Promise<OfflineAuthority> {
  const [root, rootKey] = [`${folder}/root.pem`, `${folder}/root.key`];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await execa('openssl', ['req', '-x509', ...newKey, '-keyout', rootKey, '-out', root, '-days', '30', '-subj', '/CN=Root of the test']);
  return {
    root,
    async issue(name, { subjects, days }) {
      const [certificate, key, request] = [`${folder}/${name}.pem`, `${folder}/${name}.key`, `${folder}/${name}.csr`];
      await execa('openssl', ['req', ...newKey, '-keyout', key, '-out', request, '-subj', '/CN=of no meaning']);
      await writeFile(`${folder}/${name}.ext`, `subjectAltName=${subjects}\n`);
      const sign = ['-CA', root, '-CAkey', rootKey, '-days', String(days), '-extfile', `${folder}/${name}.ext`];
      await execa('openssl', ['x509', '-req', '-in', request, ...sign, '-out', certificate]);
      return { certificate, key };
    },
  };
}

/** A running ACME authority that resolves every name to 127.0.0.1 and comes by HTTP to `httpPort`. */
export interface AcmeAuthority {
  readonly directory: string;
  /** The root that the certificates of this run chain up to, as PEM. */
  readonly root: string;
  stop(): Promise<void>;
}

/**
 * Starts Pebble with the server certificate of `offline`. The port that it would use for TLS-ALPN has no listener, so only HTTP-01 can succeed.
 */
export async function startAcmeAuthority(options: { folder: string; httpPort: number; offline: OfflineAuthority }): Promise<AcmeAuthority> {
  const { folder, httpPort, offline } = options;
  const [server = '', dns = ''] = await Promise.all(
    ['pebble', 'pebble-challtestsrv'].map((program) => bringGoProgram(`github.com/letsencrypt/pebble/v2/cmd/${program}`, PEBBLE)),
  );
  const [acmePort = 0, managePort = 0, dnsPort = 0, closedPort = 0, dnsManagePort = 0] = await freePorts(5);
  const { certificate, key } = await offline.issue('pebble', { subjects: 'IP:127.0.0.1', days: 10 });
  const config = `${folder}/pebble.json`;
  const manage = `127.0.0.1:${managePort}`;
  const pebble = {
    listenAddress: `127.0.0.1:${acmePort}`,
    managementListenAddress: manage,
    certificate,
    privateKey: key,
    httpPort,
    tlsPort: closedPort,
    ocspResponderURL: '',
    externalAccountBindingRequired: false,
    profiles: { default: { description: 'ninety days', validityPeriod: 90 * 24 * 3600 } },
  };
  await writeFile(config, JSON.stringify({ pebble }));
  const names = ['-defaultIPv4', '127.0.0.1', '-defaultIPv6', '', '-dnsserver', `127.0.0.1:${dnsPort}`, '-management', `127.0.0.1:${dnsManagePort}`];
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', '', '-doh', ''];
  const running = [
    execa(dns, [...names, ...off], { reject: false }),
    // By default Pebble sleeps before it validates and refuses some good nonces, to teach clients patience.
    execa(server, ['-config', config, '-dnsserver', `127.0.0.1:${dnsPort}`], {
      reject: false,
      env: { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' },
    }),
  ];
  const directory = `https://127.0.0.1:${acmePort}/dir`;
  const stop = async (): Promise<void> => {
    for (const one of running) one.kill();
    await Promise.all(running);
  };
  const curl = async (url: string): Promise<string> => (await execa('curl', ['-sS', '--cacert', offline.root, url], { reject: false })).stdout;
  try {
    await until(async () => (await curl(directory)).includes('newOrder') && (await curl(`http://127.0.0.1:${dnsManagePort}/`)) !== '', 10_000);
    return { directory, root: await curl(`https://${manage}/roots/0`), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
