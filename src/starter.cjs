// Starts the program whose text stands beside it (agent.cjs starts agent.js) with what V8 compiled of it in an earlier run:
// compiling takes a third of a program's start. V8 refuses what another version or other flags made, and compiles anew.
// No ES module: for one, Node reads every export of what it imports, and some of `node:fs` load a lot more (8 ms).
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { dirname } = require('node:path');
const { pathToFileURL } = require('node:url');
const { Script, constants } = require('node:vm');
const { crc32 } = require('node:zlib');

const filename = __filename.replace(/\.cjs$/, '.js');
const text = readFileSync(filename, 'latin1');
// The first line of a text, and of what was compiled of it, tells from what sources it was built, the second has a checksum:
// V8 compares only lengths, and dies of damaged bytes.
const sources = text.slice(0, text.indexOf('\n') + 1);
// The line with the checksum ends where V8 finds what follows without copying it: at a multiple of eight.
const SUM_LENGTH = 24 - (sources.length % 8);
// Only who names a place for it also writes it there; the service user could not.
const place = process.env.FLEET_COMPILED;
const path = place === undefined ? filename.replace(/js$/, 'compiled') : `${place}.${filename.replace(/.*\/|\.js$/g, '')}`;
const script = new Script(text, { filename, cachedData: readCompiled(), importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER });
// Of a command that fails, what succeeds would lack the most; a part comes to its end here without a configuration.
const isWhole = (code) => code === 0 || !filename.endsWith('/cli.js');
if (place !== undefined && script.cachedDataRejected !== false) process.once('exit', (code) => isWhole(code) && writeCompiled());
script.runInThisContext()(require, pathToFileURL(__filename).href, filename, __dirname);

function readCompiled() {
  try {
    const all = readFileSync(path);
    const head = all.toString('latin1', 0, sources.length + SUM_LENGTH);
    const compiled = all.subarray(head.length);
    return head.startsWith(sources) && crc32(compiled) === Number(head.slice(sources.length)) ? compiled : undefined;
  } catch {
    return undefined;
  }
}

function writeCompiled() {
  try {
    mkdirSync(dirname(path), { recursive: true });
    const compiled = script.createCachedData();
    const sum = `${String(crc32(compiled)).padEnd(SUM_LENGTH - 1)}\n`;
    writeFileSync(`${path}.${process.pid}`, Buffer.concat([Buffer.from(sources + sum, 'latin1'), compiled]), { flush: true });
    renameSync(`${path}.${process.pid}`, path);
  } catch {
    // Without it the next start is slower.
  }
}
