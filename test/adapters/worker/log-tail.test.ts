import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineQueue } from '../../../src/adapters/worker/forward/line-queue.ts';
import { LogTail } from '../../../src/adapters/worker/forward/log-tail.ts';
import { dropLog } from '../../../src/adapters/worker/log/drop-log.ts';
import { trimLog } from '../../../src/adapters/worker/log/trim-log.ts';
import { FORWARD } from '../../../src/lib/limits/forward-limits.ts';

const SIZES = { headBytes: 100, tailBytes: 400 };
const owner = { worker: 'a.1', agent: 'voice', session: 'a' };
// Small, so that lines lie over several chunks.
const SMALL = Buffer.alloc(64);

let dir: string;
let path: string;
let queue: LineQueue;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-tail-'));
  path = join(dir, 'log');
  writeFileSync(path, '');
  queue = new LineQueue();
});
afterEach(() => rmSync(dir, { recursive: true }));

function readAll(tail: LogTail, chunk = SMALL): void {
  while (tail.read(chunk, queue));
}

interface Printed {
  readonly line: string;
  readonly dropped?: { lines: number; bytes: number; cutBytes: number };
}

function printed(): Printed[] {
  const text = queue.take(Number.POSITIVE_INFINITY);
  return text.split('\n').flatMap((one) => (one === '' ? [] : [JSON.parse(one) as Printed]));
}

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => `line ${String(from + at).padStart(4, '0')}`);
const print = (from: number, to: number) =>
  appendFileSync(
    path,
    numbered(from, to)
      .map((one) => `${one}\n`)
      .join(''),
  );
const lines = () => printed().map((one) => one.line);
const cut = (tail: LogTail, cutBefore = 0) =>
  trimLog({ path, sizes: SIZES, cutBefore }, (moved) => tail.moved(moved, queue));

describe('a forwarded log', () => {
  it('gives each line once over many cuts, when the reader keeps up', () => {
    const tail = new LogTail(path, owner, 'start');
    let cutBytes = 0;
    for (let at = 0; at < 1000; at += 40) {
      print(at, at + 40);
      readAll(tail);
      cutBytes = cut(tail, cutBytes);
    }
    expect(cutBytes).toBeGreaterThan(8000);
    expect(lines()).toEqual(numbered(0, 1000));
  });

  it('counts the bytes that a cut removed before they were read', () => {
    const tail = new LogTail(path, owner, 'start');
    print(0, 30);
    readAll(tail);
    print(30, 130);
    const cutBytes = cut(tail);
    readAll(tail);
    expect(cutBytes).toBeGreaterThan(0);
    queue.report(owner);
    const got = printed();
    // 400 bytes of the tail are 40 lines.
    expect(got.map((one) => one.line).slice(0, 30)).toEqual(numbered(0, 30));
    expect(got.slice(-40).map((one) => one.line)).toEqual(numbered(90, 130));
    const told = got.filter((one) => one.dropped !== undefined);
    expect(told.map((one) => one.dropped)).toEqual([{ lines: 0, bytes: 0, cutBytes: 600 }]);
    expect(told[0]?.line).toBe(
      'curfew: 600 bytes of this worker were not forwarded, because its log was cut before curfew read them',
    );
  });

  it.each<[string, string | Buffer]>([
    ['control characters', '\u001b'.repeat(8000)],
    ['NUL bytes', '\0'.repeat(9000)],
    ['quotes and backslashes', '"\\'.repeat(4000)],
    ['bytes that are not UTF-8', Buffer.alloc(8000, 0xff)],
    ['characters of four bytes', '\u{1f600}'.repeat(3000)],
    ['characters of four bytes between control characters', '\u{1f600}\u0001'.repeat(1600)],
  ])('stays within 16 KiB for each line of %s', (_, content) => {
    const line = Buffer.from(content);
    appendFileSync(path, Buffer.concat([line, Buffer.from('\n')]));
    readAll(new LogTail(path, owner, 'start'));
    const text = queue.take(Number.POSITIVE_INFINITY);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(FORWARD.encodedBytes);
    const got = (JSON.parse(text) as Printed).line;
    const [, kept = got, cutBytes = '0'] =
      /^([\s\S]*) \[curfew cut (\d+) bytes of this line\]$/.exec(got) ?? [];
    const keptBytes = line.subarray(0, line.length - Number(cutBytes));
    expect(kept).toBe(keptBytes.toString('utf8'));
  });

  it('goes on after its last whole line when a new supervisor reads it', () => {
    print(0, 10);
    appendFileSync(path, 'half');
    const before = new LogTail(path, owner, 'start');
    readAll(before);
    before.note();
    appendFileSync(path, ' whole\n');
    const next = new LogTail(path, owner, 'noted');
    readAll(next);
    expect(lines()).toEqual([...numbered(0, 10), 'half whole']);
  });

  it('begins at its end when nothing notes its place', () => {
    print(0, 10);
    const tail = new LogTail(path, owner, 'noted');
    readAll(tail);
    print(10, 12);
    readAll(tail);
    expect(lines()).toEqual(numbered(10, 12));
  });

  it('that was dropped in place goes on at its end', async () => {
    const tail = new LogTail(path, owner, 'start');
    print(0, 50);
    readAll(tail);
    await dropLog({ path, keepBytes: 0, why: 'a test' });
    readAll(tail);
    print(50, 52);
    readAll(tail);
    expect(readFileSync(path, 'utf8')).toContain('curfew dropped');
    expect(lines()).toEqual([...numbered(0, 50), ...numbered(50, 52)]);
  });

  it('that was dropped in place before its last read counts the bytes that were not read', async () => {
    const tail = new LogTail(path, owner, 'start');
    print(0, 50);
    readAll(tail);
    print(50, 80);
    await dropLog({ path, keepBytes: 40, why: 'a test' });
    readAll(tail);
    expect(queue.dropped).toMatchObject({ cutBytes: 300 });
  });

  it('reports dropped lines of a loud worker in one line, and a quiet worker loses none', () => {
    const tail = new LogTail(path, owner, 'start');
    const bytes = 4 * FORWARD.waitingBytes * FORWARD.workerShare;
    appendFileSync(path, `${'x'.repeat(99)}\n`.repeat(bytes / 100));
    readAll(tail, Buffer.alloc(FORWARD.readBytes));
    const quiet = { ...owner, worker: 'b.1' };
    queue.add(quiet, { bytes: Buffer.from('quiet'), cutBytes: 0 });
    expect(queue.waitingBytes).toBeLessThan(FORWARD.waitingBytes);
    expect(queue.droppedOf.map((one) => one.worker)).toEqual(['a.1']);
    const waited = printed();
    expect(queue.report(owner)).toBe(true);
    const [told] = printed();
    expect(waited.at(-1)?.line).toBe('quiet');
    expect(told?.dropped).toEqual({
      lines: queue.dropped.lines,
      bytes: queue.dropped.lines * 99,
      cutBytes: 0,
    });
    expect(waited.length - 1 + queue.dropped.lines).toBe(statSync(path).size / 100);
  });
});
