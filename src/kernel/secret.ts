import { inspect } from 'node:util';

/** A value that never prints: logs, JSON and templates show `[redacted]`; `reveal()` gives the text. */
export class Secret {
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  /** The plain text, for writing into a protected file or a socket only. */
  reveal(): string {
    return this.#text;
  }
  toString(): string {
    return '[redacted]';
  }
  toJSON(): string {
    return '[redacted]';
  }
  [inspect.custom](): string {
    return '[redacted]';
  }
}

/** The text on one line without the given secrets and without anything that looks like a JWT, even one that is cut short. */
export function redact(text: string, secrets: readonly string[] = []): string {
  const known = secrets.filter((secret) => secret !== '').reduce((rest, secret) => rest.replaceAll(secret, '[redacted]'), text);
  return known
    .replaceAll(/eyJ[\w-]+(?:\.[\w-]*)*/g, '[redacted]')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
