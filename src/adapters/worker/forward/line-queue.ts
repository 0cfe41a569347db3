/** Lines that wait for the reader of forwarded logs, and the count of dropped ones for each worker. */
import { mayWait } from '../../../core/workers/forward-budget.ts';
import type { RawLine } from '../../../lib/line-assembler.ts';
import type { Dropped, LineOwner } from './forwarded-line.ts';
import { encodeLine, encodeText } from './forwarded-line.ts';

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

const NONE: Dropped = { lines: 0, bytes: 0, cutBytes: 0 };

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
  get droppedOf(): ({ worker: string } & Dropped)[] {
    return [...this.#accounts].flatMap(([worker, { total }]) =>
      total === NONE ? [] : [{ worker, ...total }],
    );
  }

  /** A dropped line costs no decoding. */
  add(owner: LineOwner, line: RawLine): void {
    const account = this.#account(owner.worker);
    const lineBytes = line.bytes.length + FIELD_BYTES;
    if (!this.#fits(account, lineBytes)) {
      this.#drop(account, { lines: 1, bytes: line.bytes.length + line.cutBytes, cutBytes: 0 });
      return;
    }
    this.#tell(owner, account);
    this.#push(owner, encodeLine(owner, line));
  }

  /** The log was cut before these bytes were read. */
  lost(owner: LineOwner, bytes: number): void {
    this.#drop(this.#account(owner.worker), { lines: 0, bytes: 0, cutBytes: bytes });
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
    const dropped = account.untold;
    if (dropped === NONE) return;
    account.untold = NONE;
    this.#push(owner, encodeText(owner, `curfew: ${reasonsOf(dropped).join('; ')}`, dropped));
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
  return {
    lines: one.lines + other.lines,
    bytes: one.bytes + other.bytes,
    cutBytes: one.cutBytes + other.cutBytes,
  };
}

function reasonsOf({ lines, bytes, cutBytes }: Dropped): string[] {
  const slow = `${lines} lines (${bytes} bytes) of this worker were not forwarded, because the reader was slow`;
  const cut = `${cutBytes} bytes of this worker were not forwarded, because its log was cut before curfew read them`;
  return [...(lines > 0 ? [slow] : []), ...(cutBytes > 0 ? [cut] : [])];
}
