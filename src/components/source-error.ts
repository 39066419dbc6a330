/** A source that cannot give the component; its message is a one-line reason, and the next source is tried. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/** Takes user names and passwords out of the URLs in a text. */
export function redactUrls(text: string): string {
  return text.replaceAll(/(\w+:\/\/)[^/\s@]+@/g, '$1[redacted]@');
}
