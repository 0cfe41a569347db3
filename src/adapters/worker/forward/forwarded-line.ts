/** One forwarded line as JSON, within a bound of its encoded bytes. */
import { isUtf8 } from 'node:buffer';
import { FORWARD } from '../../../lib/limits/forward-limits.ts';
import type { RawLine } from '../../../lib/line-assembler.ts';
import { characterEnd, textOf } from '../../../lib/line-assembler.ts';

/** The worker of a line. `session` is empty for a warm worker that has no session yet. */
export interface LineOwner {
  readonly worker: string;
  readonly agent: string;
  readonly session: string;
}

/** `lines` and `bytes`: the reader was slow. `cutBytes`: the log was cut before curfew read these bytes. */
export interface Dropped {
  readonly lines: number;
  readonly bytes: number;
  readonly cutBytes: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const ASCII = 0x80;
/** \b, \t, \n, \f and \r. Other control characters are like \u001b. */
const SHORT_ESCAPES = new Set([8, 9, 10, 12, 13]);
const LONG_ESCAPE_BYTES = 6;
/** A byte that is not UTF-8 becomes U+FFFD. */
const REPLACEMENT_BYTES = 3;

/** The line is cut further where its escapes exceed the bound. Its mark then counts these bytes, too. */
export function encodeLine(owner: LineOwner, line: RawLine): string {
  const room = FORWARD.encodedBytes - Buffer.byteLength(encodeText(owner, ''));
  return encodeText(owner, textOf(shortened(line, room - FORWARD.markBytes)));
}

export function encodeText({ session, agent, worker }: LineOwner, line: string, dropped?: Dropped): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ time, session, agent, worker, line, ...(dropped && { dropped }) })}\n`;
}

function shortened({ bytes, cutBytes }: RawLine, room: number): RawLine {
  if (bytes.length * LONG_ESCAPE_BYTES <= room) return { bytes, cutBytes };
  const highBytes = isUtf8(bytes) ? 1 : REPLACEMENT_BYTES;
  let encoded = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    encoded += encodedBytes(bytes[at] ?? 0, highBytes);
    if (encoded <= room) continue;
    const kept = bytes.subarray(0, characterEnd(bytes, at));
    return { bytes: kept, cutBytes: cutBytes + bytes.length - kept.length };
  }
  return { bytes, cutBytes };
}

function encodedBytes(byte: number, highBytes: number): number {
  if (byte === QUOTE || byte === BACKSLASH || SHORT_ESCAPES.has(byte)) return 2;
  if (byte < SPACE) return LONG_ESCAPE_BYTES;
  return byte < ASCII ? 1 : highBytes;
}
