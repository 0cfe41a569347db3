/** The supervisor's own log on a full disk: the supervisor continues, and the log is completed later. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';

const LOG = new URL('../../../src/adapters/telemetry/pino-log.ts', import.meta.url).href;

/** Runs a program with this stderr. Returns the program's stdout and its exit code. */
async function program(source: string, stderr: number | 'pipe') {
  const code = `import { createLog } from ${JSON.stringify(LOG)};\n${source}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', stderr],
  });
  if (child.stdout === null) throw new Error('there is no stdout');
  const [out] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return { out, exit: child.exitCode };
}

const twice = (format: string) => `
  const log = createLog({ level: 'info', format: '${format}' });
  log.error({ a: 1 }, 'one');
  setImmediate(() => {
    log.info({}, 'two');
    setImmediate(() => console.log('alive'));
  });`;

describe.each(['json', 'text'])('a log of %s', (format) => {
  it('does not end the program when the disk is full', async () => {
    expect(await program(twice(format), openSync('/dev/full', 'w'))).toEqual({ out: 'alive\n', exit: 0 });
  });

  it('does not end the program when its reader is gone', async () => {
    const source = `${twice(format)}\n`;
    const child = spawn(
      'sh',
      [
        '-c',
        '"$0" --input-type=module -e "$1" 2>&1 >&3 | true',
        process.execPath,
        `import { createLog } from ${JSON.stringify(LOG)};\n${source}`,
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] },
    );
    const [, , , out] = child.stdio;
    if (out === null || out === undefined || !('on' in out)) throw new Error('there is no pipe');
    expect(await text(out as NodeJS.ReadableStream)).toBe('alive\n');
  });
});

it.each([
  'json',
  'text',
])('a log of %s writes later what a full disk refused, up to a bound', async (format) => {
  const source = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { writeSync } = fs;
    let full = true;
    fs.writeSync = (fd, bytes) => {
      if (full) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      return writeSync(1, bytes.subarray(0, 1000));
    };
    syncBuiltinESMExports();
    const log = createLog({ level: 'info', format: '${format}' });
    for (let count = 0; count < 10_000; count++) log.info({ count }, 'x'.repeat(100));
    full = false;
    setTimeout(() => log.info({}, 'last'), 1500);`;
  const { out, exit } = await program(source, 'pipe');
  const lines = out.trim().split('\n');
  expect(exit).toBe(0);
  const [oldest] = lines;
  const [notice, newest] = lines.slice(-2);
  expect(oldest).toMatch(/x{100}/);
  expect(notice).toContain('lines are missing here');
  expect(newest).toContain('last');
  expect(lines.length).toBeLessThan(4000);
});
