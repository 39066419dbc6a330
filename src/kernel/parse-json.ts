import type { ZodType } from 'zod';

/** Reads a JSON text of this shape; null where it is none (another version's, or damaged). Throws nothing. */
export function parseJson<T>(schema: ZodType<T>, text: string): T | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
