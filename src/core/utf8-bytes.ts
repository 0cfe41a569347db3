/** The length of a text in bytes of UTF-8, as LiveKit counts it. */
export function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
