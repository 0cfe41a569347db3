/** Processes that resemble workers of the instance and are not its own. None of them may die. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { isAlive } from '../support/processes/test-processes.ts';

export interface Bystanders {
  /** The kinds of the bystanders that are gone. */
  dead(): string[];
  readonly count: number;
  close(): void;
}

/** The bystanders resemble workers of `instance`. */
export function startBystanders(instance: string): Bystanders {
  const env = { PATH: process.env.PATH ?? '' };
  const other = instance.split('').reverse().join('');
  const kinds: readonly (readonly [string, readonly string[], Record<string, string>])[] = [
    ['the same command', ['sleep', '10000'], env],
    ['a mark of another instance', ['sleep', '10000'], { ...env, CURFEW_WORKER: `${other}/s-1.1` }],
    [
      'a mark whose instance begins alike',
      ['sleep', '10000'],
      { ...env, CURFEW_WORKER: `${instance}0/s-1.1` },
    ],
    ['the mark in an argument', ['sh', '-c', `: CURFEW_WORKER=${instance}/s-1.1; sleep 10000; :`], env],
    ['the mark in another variable', ['sleep', '10000'], { ...env, NOT_CURFEW_WORKER: `${instance}/s-1.1` }],
    ['the command line of a shim', ['sh', '-c', 'sleep 10000; :', 'curfew-shim', '/nowhere'], env],
  ];
  const running = kinds.flatMap(([what, [program = '', ...args], variables]) =>
    [1, 2].map((): [string, ChildProcess] => [
      what,
      spawn(program, args, { env: variables, stdio: 'ignore', detached: true }),
    ]),
  );
  return {
    count: running.length,
    dead: () => running.filter(([, child]) => !isAlive(child.pid ?? 0)).map(([what]) => what),
    close: () => {
      for (const [, { pid }] of running) if (pid !== undefined) killGroup(pid);
    },
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The bystander is gone already.
  }
}
