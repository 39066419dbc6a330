import type { FastifyRequest } from 'fastify';
import * as z from 'zod';
import { isBeside } from '../web.ts';

const headers = z.object({ 'idempotency-key': z.string().min(1).max(255).optional() });

/** @throws ZodError where it is too long */
export function idempotencyKeyOf(request: FastifyRequest): string | undefined {
  return headers.parse(request.headers)['idempotency-key'];
}

/** True for who came over plain http: Caddy sets this header and drops what a client wrote into it. */
export function isPlain(request: FastifyRequest): boolean {
  return request.headers['x-forwarded-proto'] === 'http' && isBeside(request.socket.remoteAddress);
}
