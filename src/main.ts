#!/usr/bin/env node
/** The entry: connects the command line to this process and its terminal. src/app/ puts the adapters together. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { DAEMONS } from './app/commands.ts';
import type { Terminal } from './cli/command-context.ts';
import { runCli } from './cli/program.ts';

/** The commit of this build, from the file .commit beside it. null: unknown. */
function builtFrom(): string | null {
  try {
    return readFileSync(new URL('.commit', import.meta.url), 'utf8').trim();
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

// `head` closes the pipe in `curfew list | head`; that is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runCli(process.argv.slice(2), { terminal, daemons: DAEMONS, commit: builtFrom() });
