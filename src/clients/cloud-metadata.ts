import { sendRequest } from './http-request.ts';

/** One question to a cloud's metadata service: a path below its address, and the headers that it wants. */
interface Question {
  readonly cloud: string;
  readonly origin: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** AWS (IMDSv2) answers only with a token that it gave before. */
  readonly tokenPath?: string;
}

const LINK_LOCAL = 'http://169.254.169.254';

/** Public IPv4 addresses as the clouds document them (instance metadata); Tencent and Huawei also answer in Amazon's way. */
export const questions: readonly Question[] = [
  { cloud: 'Alibaba Cloud', origin: 'http://100.100.100.200', path: '/latest/meta-data/eipv4' },
  { cloud: 'Alibaba Cloud', origin: 'http://100.100.100.200', path: '/latest/meta-data/public-ipv4' },
  { cloud: 'Tencent Cloud', origin: 'http://169.254.0.23', path: '/latest/meta-data/public-ipv4' },
  { cloud: 'Amazon EC2', origin: LINK_LOCAL, path: '/latest/meta-data/public-ipv4', tokenPath: '/latest/api/token' },
  { cloud: 'Huawei Cloud', origin: LINK_LOCAL, path: '/latest/meta-data/public-ipv4' },
  {
    cloud: 'Google Cloud',
    origin: LINK_LOCAL,
    path: '/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip',
    headers: { 'metadata-flavor': 'Google' },
  },
  {
    cloud: 'Azure',
    origin: LINK_LOCAL,
    path: '/metadata/instance/network/interface/0/ipv4/ipAddress/0/publicIpAddress?api-version=2021-02-01&format=text',
    headers: { metadata: 'true' },
  },
];

/** The text that a metadata service answers. Rejects where none does in time, or where it has no such value. */
export async function askMetadata({ origin, path, headers = {}, tokenPath }: Question, timeoutMs: number): Promise<string> {
  const token =
    tokenPath === undefined
      ? {}
      : {
          'x-aws-ec2-metadata-token': await ask({
            url: `${origin}${tokenPath}`,
            method: 'PUT',
            headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
            timeoutMs,
          }),
        };
  return ask({ url: `${origin}${path}`, method: 'GET', headers: { ...headers, ...token }, timeoutMs });
}

async function ask(request: { url: string; method: 'GET' | 'PUT'; headers: Readonly<Record<string, string>>; timeoutMs: number }): Promise<string> {
  const { status, text } = await sendRequest({ ...request, maxBodyBytes: 1024 });
  if (status !== 200) throw new Error(`HTTP ${status}`);
  return text.trim();
}
