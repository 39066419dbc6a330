import { expect, it } from 'vitest';
import { refusalOf } from '../../src/service/webhooks/address.ts';

it.each([
  '169.254.169.254',
  '::ffff:169.254.169.254',
  '100.100.100.200',
  '::ffff:100.100.100.200',
  '192.0.0.192',
  'fd00:ec2::254',
  'fd20:ce::254',
  'fe80::1',
  '0.0.0.0',
  '::',
  '224.0.0.1',
  'ff02::1',
  '255.255.255.255',
])('no message goes to %s', (address) => {
  for (const isTls of [false, true]) expect(refusalOf(address, { isTls, allowsHttp: true })).toBe('ADDRESS_REFUSED');
});

it.each([
  ['127.0.0.1', null],
  ['::1', null],
  ['10.1.2.3', null],
  ['100.64.0.7', null],
  ['fd12:3456::1', null],
  ['8.8.8.8', 'HTTP_REFUSED'],
  ['::ffff:8.8.8.8', 'HTTP_REFUSED'],
  ['2001:4860:4860::8888', 'HTTP_REFUSED'],
])('over http to %s: %s', (address, refusal) => {
  expect(refusalOf(address, { isTls: false, allowsHttp: false })).toBe(refusal);
  expect(refusalOf(address, { isTls: true, allowsHttp: false })).toBeNull();
  expect(refusalOf(address, { isTls: false, allowsHttp: true })).toBeNull();
});
