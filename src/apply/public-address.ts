import { askMetadata, questions } from '../clients/cloud-metadata.ts';
import { askStun } from '../clients/stun.ts';
import { parseJson } from '../kernel/parse-json.ts';
import type { Settings } from '../settings/schema.ts';
import { isPublic } from '../settings/variable.ts';
import { publicAddressFile } from '../topology/topology.ts';
import type { Layout, PublicAddress } from '../topology/topology.ts';
import type { Host } from '../host/host.ts';
import * as z from 'zod';

/** Metadata is answered by the host below, within milliseconds; where there is none, the question goes nowhere. */
const METADATA_MS = 700;
/** A STUN server may be on the other side of the world. */
const STUN_MS = 1_500;

/**
 * Asks the clouds' metadata services and the STUN servers, all at once; a cloud's own word counts more. Null where nobody
 * knows of a public address. Takes as long as the slowest of those that matter, and 1.5 s where nobody answers.
 * @param ask who is asked; the real services by default
 */
export async function findPublicAddress(settings: Pick<Settings, 'STUN_SERVERS'>, ask = { questions }): Promise<PublicAddress | null> {
  const stun = firstPublic(settings.STUN_SERVERS.map(async (server) => ({ address: await askStun(server, STUN_MS), source: `STUN ${server.host}` })));
  const metadata = firstPublic(ask.questions.map(async (question) => ({ address: await askMetadata(question, METADATA_MS), source: question.cloud })));
  return (await metadata) ?? (await stun);
}

async function firstPublic(answers: ReadonlyArray<Promise<PublicAddress>>): Promise<PublicAddress | null> {
  const checked = answers.map(async (answer) => {
    const found = await answer;
    if (!isPublic(found.address)) throw new Error(`${found.source}: ${found.address} is not public`);
    return found;
  });
  return Promise.any(checked).catch(() => null);
}

const remembered = z.object({ address: z.string().refine(isPublic), source: z.string() });

/** What the last deploy found; null where it found nothing. */
export async function recallPublicAddress(host: Host, layout: Layout): Promise<PublicAddress | null> {
  const found = await host.read(publicAddressFile(layout));
  return found === null ? null : parseJson(remembered, found.content);
}
