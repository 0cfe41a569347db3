/** Connects the command line to this process and its terminal. src/app/ puts the adapters together. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import type { Terminal } from '../cli/command-context.ts';
import { runCli } from '../cli/program.ts';
import { daemons } from './commands.ts';
import type { HeldSignals } from './early-signals.ts';

const COMMIT_FILE = '.commit';

/** The commit of this build, from the file .commit beside it. null: unknown. */
function builtFrom(entryUrl: string): string | null {
  try {
    return readFileSync(new URL(COMMIT_FILE, entryUrl), 'utf8').trim();
  } catch {
    return null;
  }
}

const terminal: Terminal = {
  env: process.env,
  isTty: process.stdout.isTTY === true,
  out: (text) => void process.stdout.write(`${text}\n`),
  raw: (bytes) => void process.stdout.write(bytes),
  err: (text) => void process.stderr.write(`${text}\n`),
  ask: async (question) => {
    const prompt = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await prompt.question(question);
    } finally {
      prompt.close();
    }
  },
};

/** `entryUrl`: the URL of the program's entry. The build puts `.commit` beside it. `held`: the signals that `serve` answers later. Returns the exit code. */
export function runProgram(entryUrl: string, held: HeldSignals): Promise<number> {
  // `head` closes the pipe in `curfew list | head`; that is not an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return runCli(process.argv.slice(2), { terminal, daemons: daemons(held), commit: builtFrom(entryUrl) });
}
