import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { renderClientContract } from './manual/client.ts';
import { renderErrors } from './manual/errors.ts';
import { renderExample } from '../src/settings/example.ts';
import { renderManual } from './manual/settings.ts';

// Everything that is made from the schema and the catalogues; a test compares the files with it.
const root = resolve(import.meta.dirname, '..');
mkdirSync(`${root}/docs`, { recursive: true });
writeFileSync(`${root}/.env.example`, renderExample());
writeFileSync(`${root}/docs/settings.md`, renderManual());
writeFileSync(`${root}/docs/errors.md`, renderErrors());
writeFileSync(`${root}/packages/client/src/contract.ts`, renderClientContract());
