import { BlockList, isIP } from 'node:net';

/** Where http needs no TLS: this machine, and private networks (RFC 1918, 4193, 6598). */
const inner = new BlockList();
/** Where no endpoint is: link-local and some others (there clouds keep their machines' credentials), this network, multicast. */
const never = new BlockList();
for (const [net, bits] of [
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
] as const)
  inner.addSubnet(net, bits, 'ipv4');
inner.addAddress('::1', 'ipv6');
inner.addSubnet('fc00::', 7, 'ipv6');
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
  // Alibaba Cloud's and Oracle's metadata.
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
] as const)
  never.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [
  ['::', 128],
  ['fe80::', 10],
  ['ff00::', 8],
  // Amazon's and Google's metadata.
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
] as const)
  never.addSubnet(net, bits, 'ipv6');

/** Why a message may not be sent to an IP address; null: it may. @param allowsHttp http to public addresses too */
export function refusalOf(address: string, { isTls, allowsHttp }: { isTls: boolean; allowsHttp: boolean }): 'ADDRESS_REFUSED' | 'HTTP_REFUSED' | null {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (never.check(address, family)) return 'ADDRESS_REFUSED';
  return isTls || allowsHttp || inner.check(address, family) ? null : 'HTTP_REFUSED';
}

/** The IP address that a URL names itself; null where it has a name. */
export function addressIn(url: string): string | null {
  const host = new URL(url).hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(host) === 0 ? null : host;
}
