import { describe, expect, it } from 'vitest';
import { mayWait } from '../../src/core/workers/forward-budget.ts';
import { FORWARD } from '../../src/lib/limits/forward-limits.ts';
import { LineAssembler, textOf } from '../../src/lib/line-assembler.ts';
import { isInContainer } from '../../src/process/container.ts';

const BOUND = 8;
const CUT = (bytes: number) => ` [curfew cut ${bytes} bytes of this line]`;

function assemble(chunks: readonly (string | Buffer)[]): string[] {
  const lines = new LineAssembler(BOUND);
  const texts: string[] = [];
  for (const one of chunks) lines.push(Buffer.from(one), (line) => texts.push(textOf(line)));
  const last = lines.end();
  return last === null ? texts : [...texts, `${textOf(last)} (end)`];
}

describe('whole lines of a worker', () => {
  it.each<[string, (string | Buffer)[], string[]]>([
    ['lines in one chunk', ['a\nb\n'], ['a', 'b']],
    ['a line over three chunks', ['a', 'b', 'c\n'], ['abc']],
    ['an empty line', ['\n\na\n'], ['', '', 'a']],
    ['a carriage return before the newline', ['a\r\n', 'b\r', '\n'], ['a', 'b']],
    ['a last line without a newline', ['a\nb'], ['a', 'b (end)']],
    ['a line of exactly the bound', ['12345678\n'], ['12345678']],
    ['a line over the bound', ['1234567890\nx\n'], [`12345678${CUT(2)}`, 'x']],
    [
      'a long line over many chunks',
      ['12345', '6789', '0'.repeat(100), '\nx\n'],
      [`12345678${CUT(101)}`, 'x'],
    ],
    ['a long last line', ['1234567890'], [`12345678${CUT(2)} (end)`]],
    ['a cut before a character of two bytes', ['1234567ä9\n'], [`1234567${CUT(3)}`]],
    ['a character over two chunks', [Buffer.from([0xc3]), Buffer.from([0xa4, 10])], ['ä']],
    ['bytes that are not UTF-8', [Buffer.from([97, 0xff, 98, 10])], ['a\uFFFDb']],
  ])('are %s', (_name, chunks, wanted) => {
    expect(assemble(chunks)).toEqual(wanted);
  });
});

describe('the lines that wait for a slow reader', () => {
  const { waitingBytes, workerShare, reservedBytes, reservesBytes } = FORWARD;
  const share = waitingBytes * workerShare;
  it.each<[string, boolean, { totalBytes: number; ownBytes: number }]>([
    ['one of an empty queue waits', true, { totalBytes: 0, ownBytes: 0 }],
    ['one within its share waits', true, { totalBytes: share, ownBytes: share - 100 }],
    ['one over its share is dropped', false, { totalBytes: share, ownBytes: share - 99 }],
    ['one of a quiet worker waits in its reserve', true, { totalBytes: waitingBytes, ownBytes: 0 }],
    ['one beyond the reserve is dropped', false, { totalBytes: waitingBytes, ownBytes: reservedBytes }],
    ['one over all reserves is dropped', false, { totalBytes: waitingBytes + reservesBytes, ownBytes: 0 }],
  ])('%s', (_name, wanted, waiting) => {
    expect(mayWait(waiting, 100)).toBe(wanted);
  });
});

describe('a container', () => {
  const plain = { env: {}, pid: 2, exists: () => false };
  it.each<[string, boolean, Partial<Parameters<typeof isInContainer>[0] & object>]>([
    ['a host is none', false, {}],
    ["Docker's file shows it", true, { exists: (path) => path === '/.dockerenv' }],
    ["Podman's file shows it", true, { exists: (path) => path === '/run/.containerenv' }],
    ['the variable "container" shows it', true, { env: { container: 'podman' } }],
    ['Kubernetes shows it', true, { env: { KUBERNETES_SERVICE_HOST: '10.0.0.1' } }],
    ['PID 1 shows it', true, { pid: 1 }],
    [
      'a service of systemd in it has the journal',
      false,
      { pid: 2, exists: () => true, env: { INVOCATION_ID: 'a' } },
    ],
  ])('%s', (_name, wanted, more) => {
    expect(isInContainer({ ...plain, ...more })).toBe(wanted);
  });
});
