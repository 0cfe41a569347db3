/** Reads the body of a request, up to a bound. */
import type { Readable } from 'node:stream';

/** `null`: the body is larger than `maxBytes`, or the request broke off. */
export async function readBody(request: Readable, maxBytes: number): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request) {
      bytes += chunk.length;
      if (bytes > maxBytes) return null;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch {
    return null;
  }
}
