/** Cleans up however the test process ends, SIGKILL included: its end of a pipe closes, and a shell does the rest. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { until } from '../lib/wait.ts';

export interface Keeper {
  /** Cleans up now. */
  end(): Promise<void>;
  /** Nothing is left to clean up. */
  forget(): void;
}

/** `script` is for sh, with `args` as "$@". */
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

/** Ends the child, or its whole group; that nothing is left of it is no error. */
export function keepChild({ pid }: ChildProcess, what: 'alone' | 'group' = 'alone'): Keeper {
  // dash takes no other way to name a group.
  return keep('[ -z "$1" ] || kill -s KILL -- "$1" 2>/dev/null || true', [
    pid === undefined ? '' : String(what === 'group' ? -pid : pid),
  ]);
}

/** For a child that somebody else ends, as long as there is somebody. */
export function endWithThisProcess(child: ChildProcess, what?: 'alone' | 'group'): void {
  const keeper = keepChild(child, what);
  child.once('exit', () => keeper.forget());
}
