/** Splits a byte stream into lines with a bound on the length of each line. */

export interface LineFault {
  readonly code: 'line_too_long' | 'not_utf8';
  readonly message: string;
}

export class LineSplitter {
  #rest: Buffer[] = [];
  #restBytes = 0;
  readonly #maxBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Returns whole lines without their newline. An incomplete line waits for its end. After a fault, stop reading. */
  push(chunk: Buffer): { lines: string[]; fault: LineFault | null } {
    const lines: string[] = [];
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      const line = this.#take(chunk.subarray(from, at));
      from = at + 1;
      if (typeof line !== 'string') return { lines, fault: line };
      if (line.trim() !== '') lines.push(line);
    }
    const tail = chunk.subarray(from);
    if (this.#restBytes + tail.length > this.#maxBytes) return { lines, fault: this.#tooLong() };
    if (tail.length > 0) this.#rest.push(Buffer.from(tail));
    this.#restBytes += tail.length;
    return { lines, fault: null };
  }

  #take(end: Buffer): string | LineFault {
    const whole = this.#rest.length === 0 ? end : Buffer.concat([...this.#rest, end]);
    this.#rest = [];
    this.#restBytes = 0;
    if (whole.length > this.#maxBytes) return this.#tooLong();
    try {
      return this.#decoder.decode(whole);
    } catch {
      return { code: 'not_utf8', message: 'the line is not UTF-8' };
    }
  }

  #tooLong(): LineFault {
    return { code: 'line_too_long', message: `a line may have at most ${this.#maxBytes} bytes` };
  }
}
