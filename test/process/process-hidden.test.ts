/** A scan of all processes on a host that hides the processes of other users (hidepid=1). */
import { describe, expect, it } from 'vitest';
import { createProcTable } from '../../src/process/proc-files.ts';
import { createScanner } from '../../src/process/process-scan.ts';

const denied = (code: string) => Object.assign(new Error(`${code}: stat`), { code });

describe('a process that cannot be read', () => {
  it.each([
    'EPERM',
    'EACCES',
  ])('is skipped by the scan for %s, because another user owns it', async (code) => {
    const real = createProcTable();
    const table = {
      ...real,
      stat: (pid: number) => {
        if (pid !== process.pid) throw denied(code);
        return real.stat(pid);
      },
    };
    const { byPid } = await createScanner(table, 'X=').scan(0);
    expect([...byPid.keys()]).toEqual([process.pid]);
  });

  it('fails the scan for any other error, because unknown does not mean gone', async () => {
    const table = {
      ...createProcTable(),
      stat: () => {
        throw denied('EIO');
      },
    };
    await expect(createScanner(table, 'X=').scan(0)).rejects.toThrow('EIO');
  });
});
