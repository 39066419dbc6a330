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
