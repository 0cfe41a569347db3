/** Cleans up after the test process, also after SIGKILL. The end of that process closes a pipe, and a shell then runs the script. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { until } from '../lib/wait.ts';

export interface Keeper {
  /** Cleans up now. */
  end(): Promise<void>;
  /** Ends the keeper without a cleanup. */
  forget(): void;
}

/** `sh` runs the script with `args` as `"$@"`. */
export function keep(script: string, args: readonly string[]): Keeper {
  const child = spawn('sh', ['-c', `cat >/dev/null\n${script}`, 'sh', ...args], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  child.stdin?.on('error', () => undefined);
  child.unref();
  return {
    end: async () => {
      child.stdin?.end();
      await until('all is cleaned up', () => child.exitCode !== null || child.signalCode !== null, 30_000);
      if (child.exitCode !== 0) throw new Error(`something could not be cleaned up: ${args.join(' ')}`);
    },
    forget: () => {
      child.kill('SIGKILL');
      child.stdin?.destroy();
    },
  };
}

/** Ends the child or its whole group. A child that has already ended is no error. */
export function keepChild({ pid }: ChildProcess, what: 'alone' | 'group' = 'alone'): Keeper {
  // Because: dash accepts a group only in this form.
  return keep('[ -z "$1" ] || kill -s KILL -- "$1" 2>/dev/null || true', [
    pid === undefined ? '' : String(what === 'group' ? -pid : pid),
  ]);
}

/** Ends the child with this process, in case this process dies before it ends the child. */
export function endWithThisProcess(child: ChildProcess, what?: 'alone' | 'group'): void {
  const keeper = keepChild(child, what);
  child.once('exit', () => keeper.forget());
}
