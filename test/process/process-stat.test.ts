import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseStatus, statusOf } from '../../src/adapters/worker/folder/exit-status.ts';
import { createProcTable, findMark, parseStat } from '../../src/process/proc-files.ts';

const NAMES = ['sh', 'a) R 1 (x', ') Z 1 1 1', '((((', '))))', 'x\ny', ' ', '', '1 (2) S 3', 'tmux: server'];

function statLine(
  name: string,
  fields: { pid: number; ppid: number; pgid: number; sid: number; ticks: number },
) {
  const { pid, ppid, pgid, sid, ticks } = fields;
  const between = Array.from({ length: 15 }, () => 0).join(' ');
  return `${pid} (${name}) S ${ppid} ${pgid} ${sid} ${between} ${ticks} 2654208 137\n`;
}

describe('the line of /proc/PID/stat', () => {
  const count = fc.integer({ min: 0, max: 2 ** 31 });
  const name = fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 15, unit: 'binary' }));

  it('is parsed with any process name', () => {
    fc.assert(
      fc.property(name, count, count, count, count, count, (comm, pid, ppid, pgid, sid, ticks) => {
        const stat = parseStat(statLine(comm, { pid, ppid, pgid, sid, ticks }));
        expect(stat).toEqual({ pid, ppid, pgid, sid, state: 'S', startTicks: ticks });
      }),
    );
  });

  it('is rejected when it is nonsense', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const stat = parseStat(text);
        return stat === null || Number.isSafeInteger(stat.startTicks);
      }),
    );
    for (const line of ['', '1', '1 (sh)', '1 (sh) S 1 2', `x (sh) S ${'1 '.repeat(30)}`]) {
      expect(parseStat(line)).toBeNull();
    }
  });

  it('is found for this process and not for an unused pid', () => {
    const stat = createProcTable().stat(process.pid);
    expect(stat).toMatchObject({ pid: process.pid, ppid: process.ppid });
    expect(createProcTable().stat(2 ** 30)).toBeNull();
  });
});

describe('the mark in an environment', () => {
  const prefix = 'CURFEW_WORKER=inst/';
  const environ = (...all: string[]) => Buffer.from(all.map((one) => `${one}\0`).join(''));

  it.each([
    ['is found as the first variable', environ('CURFEW_WORKER=inst/w1', 'A=b'), 'w1'],
    ['is found as the last variable', environ('A=b', 'CURFEW_WORKER=inst/w1'), 'w1'],
    ['is not found for another instance', environ('CURFEW_WORKER=other/w1'), null],
    [
      'is not found inside another variable',
      environ('X_CURFEW_WORKER=inst/w1', 'A=CURFEW_WORKER=inst/w2'),
      null,
    ],
    [
      'is found after a variable that contains it',
      environ('A=CURFEW_WORKER=inst/w2', 'CURFEW_WORKER=inst/w1'),
      'w1',
    ],
    ['is not found in an empty environment', environ(), null],
  ])('%s', (_, bytes, expected) => expect(findMark(bytes, prefix)).toBe(expected));
});

describe('the exit status from the shell', () => {
  it.each([
    [0, { code: 0, signal: null }],
    [1, { code: 1, signal: null }],
    [128, { code: 128, signal: null }],
    [129, { code: null, signal: 'SIGHUP' }],
    [134, { code: null, signal: 'SIGABRT' }],
    [137, { code: null, signal: 'SIGKILL' }],
    [159, { code: null, signal: 'SIGSYS' }],
    [160, { code: 160, signal: null }],
    [192, { code: null, signal: 'SIGRTMAX' }],
    [255, { code: 255, signal: null }],
  ])('of %i is read as %j', (status, expected) => expect(statusOf(status)).toEqual(expected));

  it.each(['', '1', 'x\n', '1\n2\n', null])('is unknown for %j', (text) => {
    expect(parseStatus(text)).toEqual({ code: null, signal: null });
  });
});
