import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { findPublicAddress } from '../../src/apply/public-address.ts';
import { questions } from '../../src/clients/cloud-metadata.ts';
import { startStun } from '../stun-server.ts';

const nowhere = { host: '127.0.0.1', port: 9 };

/** A metadata service that knows these paths, and Amazon's token. */
async function startMetadata(answers: Readonly<Record<string, string>>): Promise<string> {
  const server = createServer((request, response) => {
    if (request.method === 'PUT' && request.url === '/latest/api/token') return void response.end('a-token');
    const answer = answers[request.url ?? ''];
    const needsToken = request.headers['x-aws-ec2-metadata-token'] !== 'a-token' && answers['needs'] === 'token';
    response.statusCode = needsToken ? 401 : answer === undefined ? 404 : 200;
    response.end(answer);
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function of(cloud: string, origin: string): { questions: typeof questions } {
  const own = questions.filter((one) => one.cloud === cloud).map((one) => ({ ...one, origin }));
  expect(own.length).toBeGreaterThan(0);
  return { questions: own };
}

describe('the public address', () => {
  it.each([
    ['Alibaba Cloud', { '/latest/meta-data/eipv4': '203.0.113.7' }],
    ['Alibaba Cloud', { '/latest/meta-data/public-ipv4': '203.0.113.7\n' }],
    ['Tencent Cloud', { '/latest/meta-data/public-ipv4': '203.0.113.7' }],
    ['Amazon EC2', { needs: 'token', '/latest/meta-data/public-ipv4': '203.0.113.7' }],
    ['Google Cloud', { '/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip': '203.0.113.7' }],
  ])('is what %s says of it (%j), before any STUN server', async (cloud, answers: Readonly<Record<string, string>>) => {
    const stun = await startStun('198.51.100.1');
    expect(await findPublicAddress({ STUN_SERVERS: [stun] }, of(cloud, await startMetadata(answers)))).toEqual({ address: '203.0.113.7', source: cloud });
  });

  it('is what the first STUN server says that answers', async () => {
    const stun = await startStun('198.51.100.1');
    const found = await findPublicAddress({ STUN_SERVERS: [nowhere, stun] }, of('Azure', await startMetadata({})));
    expect(found).toEqual({ address: '198.51.100.1', source: 'STUN 127.0.0.1' });
  });

  it('is never a private one, a page of a portal, or an answer to another question', async () => {
    const portal = of('Tencent Cloud', await startMetadata({ '/latest/meta-data/public-ipv4': '<html>login</html>' }));
    const forged = createSocket('udp4').bind(0, '127.0.0.1');
    onTestFinished(() => void forged.close());
    await once(forged, 'listening');
    forged.on('message', (_request, from) => forged.send(Buffer.alloc(32, 1), from.port, from.address));
    const servers = [await startStun('192.168.1.9'), { host: '127.0.0.1', port: forged.address().port }, nowhere];
    expect(await findPublicAddress({ STUN_SERVERS: servers }, portal)).toBeNull();
  });
});
