/** Lines that wait for the reader of forwarded logs, and the count of dropped ones for each worker. */
import { mayWait } from '../../../core/workers/forward-budget.ts';
import type { RawLine } from '../../../lib/line-assembler.ts';
import { textOf } from '../../../lib/line-assembler.ts';

/** The worker of a line. `session` is empty for a warm worker that has no session yet. */
export interface LineOwner {
  readonly worker: string;
  readonly agent: string;
  readonly session: string;
}

/** `bytes` counts the dropped lines and what a cut of the log removed before it was read. */
export interface Dropped {
  readonly lines: number;
  readonly bytes: number;
}

interface Account {
  ownBytes: number;
  /** Dropped and not yet reported in the output. */
  untold: Dropped;
  total: Dropped;
}

interface Entry {
  readonly text: string;
  readonly bytes: number;
  readonly worker: string;
}

const NONE: Dropped = { lines: 0, bytes: 0 };

export class LineQueue {
  readonly #accounts = new Map<string, Account>();
  #entries: Entry[] = [];
  #next = 0;
  #waitingBytes = 0;
  #dropped = NONE;

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Of all workers since the start. */
  get dropped(): Dropped {
    return this.#dropped;
  }

  /** Dropped output of the workers that are still known. */
  get droppedOf(): { worker: string; lines: number; bytes: number }[] {
    return [...this.#accounts].flatMap(([worker, { total }]) =>
      total.lines + total.bytes === 0 ? [] : [{ worker, ...total }],
    );
  }

  /** A dropped line costs no decoding. */
  add(owner: LineOwner, line: RawLine): void {
    const account = this.#account(owner.worker);
    const lineBytes = line.bytes.length + FIELD_BYTES;
    if (!this.#fits(account, lineBytes)) {
      this.#drop(account, { lines: 1, bytes: line.bytes.length + line.cutBytes });
      return;
    }
    this.#tell(owner, account);
    this.#push(owner, lineText(owner, textOf(line)));
  }

  /** The log was cut before these bytes were read. */
  lost(owner: LineOwner, bytes: number): void {
    this.#drop(this.#account(owner.worker), { lines: 0, bytes });
  }

  /** Reports what was dropped, even when no further line of the worker comes. True: nothing is left to report. */
  report(owner: LineOwner): boolean {
    const account = this.#accounts.get(owner.worker);
    if (account === undefined) return true;
    if (this.#fits(account, FIELD_BYTES * 2)) this.#tell(owner, account);
    return account.untold === NONE;
  }

  forget(worker: string): void {
    this.#accounts.delete(worker);
  }

  /** Takes whole lines of at most this size together. Empty: nothing waits. */
  take(mostBytes: number): string {
    let [text, bytes] = ['', 0];
    for (let one = this.#entries[this.#next]; one !== undefined; one = this.#entries[this.#next]) {
      if (text !== '' && bytes + one.bytes > mostBytes) break;
      text += one.text;
      bytes += one.bytes;
      this.#next += 1;
      this.#waitingBytes -= one.bytes;
      const account = this.#accounts.get(one.worker);
      if (account !== undefined) account.ownBytes -= one.bytes;
    }
    if (this.#next > COMPACT_AT && this.#next * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#next);
      this.#next = 0;
    }
    return text;
  }

  #account(worker: string): Account {
    const found = this.#accounts.get(worker) ?? { ownBytes: 0, untold: NONE, total: NONE };
    this.#accounts.set(worker, found);
    return found;
  }

  #fits({ ownBytes }: Account, lineBytes: number): boolean {
    return mayWait({ totalBytes: this.#waitingBytes, ownBytes }, lineBytes);
  }

  #drop(account: Account, more: Dropped): void {
    account.untold = sum(account.untold, more);
    account.total = sum(account.total, more);
    this.#dropped = sum(this.#dropped, more);
  }

  #tell(owner: LineOwner, account: Account): void {
    const { lines, bytes } = account.untold;
    if (account.untold === NONE) return;
    account.untold = NONE;
    const line = `curfew: ${lines} lines (${bytes} bytes) of this worker were not forwarded, because the reader was slow`;
    this.#push(owner, lineText(owner, line, { lines, bytes }));
  }

  #push({ worker }: LineOwner, text: string): void {
    const bytes = Buffer.byteLength(text);
    this.#entries.push({ text, bytes, worker });
    this.#waitingBytes += bytes;
    this.#account(worker).ownBytes += bytes;
  }
}

/** About the size of the fields around a line. */
const FIELD_BYTES = 160;
/** The written lines at the start of the list are removed together. */
const COMPACT_AT = 1000;

function sum(one: Dropped, other: Dropped): Dropped {
  return { lines: one.lines + other.lines, bytes: one.bytes + other.bytes };
}

function lineText({ session, agent, worker }: LineOwner, line: string, dropped?: Dropped): string {
  const time = new Date().toISOString();
  return `${JSON.stringify({ time, session, agent, worker, line, ...(dropped && { dropped }) })}\n`;
}
