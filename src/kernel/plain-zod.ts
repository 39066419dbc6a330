/**
 * Imported first by programs that read each shape once or twice: zod would compile a function for every shape that it reads
 * (`new Function`), 2 ms each, which pays only where thousands are read. What a shape does is decided when it is made.
 */
import { config } from 'zod';

config({ jitless: true });
