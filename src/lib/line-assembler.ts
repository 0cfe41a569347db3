/** Puts the chunks of a worker's output together to whole lines. A long line is cut, and its mark counts the rest. */

/** One line without its newline. `cutBytes`: what the line had beyond the bound. */
export interface RawLine {
  readonly bytes: Buffer;
  readonly cutBytes: number;
}

const NEWLINE = 10;
const RETURN = 13;

export class LineAssembler {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #keptBytes = 0;
  #openBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the last line, whose newline has not come. */
  get openBytes(): number {
    return this.#openBytes;
  }

  /** `take` gets each whole line. Its buffer is valid only during the call. */
  push(chunk: Buffer, take: (line: RawLine) => void): void {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      const end = chunk.subarray(from, at);
      from = at + 1;
      if (this.#openBytes === 0) take(this.#bounded(end, end.length));
      else {
        this.#keep(end);
        take(this.#close());
      }
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  /** The last line of a worker that ended without a newline. `null`: there is none. */
  end(): RawLine | null {
    return this.#openBytes === 0 ? null : this.#close();
  }

  /** Forgets an incomplete line, because the log was cut there. Returns its bytes. */
  reset(): number {
    const bytes = this.#openBytes;
    this.#parts = [];
    this.#keptBytes = 0;
    this.#openBytes = 0;
    return bytes;
  }

  #keep(part: Buffer): void {
    this.#openBytes += part.length;
    const wanted = part.subarray(0, Math.max(0, this.#maxBytes + 1 - this.#keptBytes));
    if (wanted.length === 0) return;
    this.#parts.push(Buffer.from(wanted));
    this.#keptBytes += wanted.length;
  }

  #close(): RawLine {
    const bytes = Buffer.concat(this.#parts);
    return this.#bounded(bytes, this.reset());
  }

  #bounded(bytes: Buffer, lineBytes: number): RawLine {
    if (lineBytes <= this.#maxBytes) {
      const isReturn = bytes.at(-1) === RETURN;
      return { bytes: isReturn ? bytes.subarray(0, -1) : bytes, cutBytes: 0 };
    }
    const kept = bytes.subarray(0, characterEnd(bytes, this.#maxBytes));
    return { bytes: kept, cutBytes: lineBytes - kept.length };
  }
}

/** The line as text. Bytes that are not UTF-8 become U+FFFD. */
export function textOf({ bytes, cutBytes }: RawLine): string {
  const text = bytes.toString('utf8');
  return cutBytes === 0 ? text : `${text} [curfew cut ${cutBytes} bytes of this line]`;
}

/** The end of the last whole character within the bound. A UTF-8 character has at most three following bytes. */
export function characterEnd(bytes: Buffer, bound: number): number {
  for (let at = bound; at > bound - 4; at -= 1) if (((bytes[at] ?? 0) & 0xc0) !== 0x80) return at;
  return bound;
}
