/** A look at all processes on a host that hides those of others (hidepid=1). */
import { describe, expect, it } from 'vitest';
import { createProcTable } from '../../src/process/proc-files.ts';
import { createScanner } from '../../src/process/process-scan.ts';

const denied = (code: string) => Object.assign(new Error(`${code}: stat`), { code });

describe('a process that may not be read', () => {
  it.each(['EPERM', 'EACCES'])('with %s is of another user: the look goes on without it', async (code) => {
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

  it('for another reason fails the look: unknown is not gone', async () => {
    const table = {
      ...createProcTable(),
      stat: () => {
        throw denied('EIO');
      },
    };
    await expect(createScanner(table, 'X=').scan(0)).rejects.toThrow('EIO');
  });
});
