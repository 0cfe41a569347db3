/** Clients that only connect must leave open files for process scans and for records. */
import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { mostConnections } from '../../../src/lib/unix-sockets.ts';

it('a socket server holds at most its share of the files that the process may open', () => {
  const hard = Number(execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }));
  expect(mostConnections(1)).toBe(hard);
  expect(mostConnections(1 / 8)).toBe(Math.floor(hard / 8));
});
