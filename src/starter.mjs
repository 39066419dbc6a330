// Starts the program whose text stands beside it (agent.mjs starts agent.js) with what V8 compiled of it in an earlier run:
// compiling takes a third of a program's start. V8 refuses what another version or other flags made, and compiles anew.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Script, constants } from 'node:vm';
import { crc32 } from 'node:zlib';

const filename = import.meta.filename.replace(/\.mjs$/, '.js');
const text = readFileSync(filename, 'latin1');
// The first line of a text, and of what was compiled of it, tells from what sources it was built, the second has a checksum:
// V8 compares only lengths, and dies of damaged bytes.
const sources = text.slice(0, text.indexOf('\n') + 1);
// Only who names a place for it also writes it there; the service user could not.
const place = process.env.FLEET_COMPILED;
const path = place === undefined ? filename.replace(/js$/, 'compiled') : `${place}.${filename.replace(/.*\/|\.js$/g, '')}`;
const script = new Script(text, { filename, cachedData: readCompiled(), importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER });
if (place !== undefined && script.cachedDataRejected !== false) process.once('exit', writeCompiled);
await script.runInThisContext()(createRequire(import.meta.url), import.meta.url, filename, import.meta.dirname);

function readCompiled() {
  try {
    const [madeOf, sum, base64] = readFileSync(path, 'latin1').split('\n');
    const compiled = Buffer.from(base64, 'base64');
    return `${madeOf}\n` === sources && crc32(compiled) === Number(sum) ? compiled : undefined;
  } catch {
    return undefined;
  }
}

function writeCompiled() {
  try {
    mkdirSync(dirname(path), { recursive: true });
    const compiled = script.createCachedData();
    writeFileSync(`${path}.${process.pid}`, `${sources}${crc32(compiled)}\n${compiled.toString('base64')}\n`, { flush: true });
    renameSync(`${path}.${process.pid}`, path);
  } catch {
    // Without it the next start is slower.
  }
}
