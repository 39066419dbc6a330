import { enableCompileCache } from 'node:module';
import { resolve } from 'node:path';

/** For `node --import`: what V8 compiles of a program's sources is kept between runs. Half of a command's time is theirs. */
enableCompileCache(resolve(import.meta.dirname, '../../.cache/compiled'));
