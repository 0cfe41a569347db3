#!/usr/bin/env node
/** The composition root: the only file that knows every adapter. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { prestartRegistryThread } from './adapters/registry/registry-client.ts';
import type { Daemons, Terminal } from './cli/command-context.ts';
import { checkNode } from './cli/node-version.ts';
import { runCli } from './cli/program.ts';
import { SHUTDOWN } from './lib/limits/service-limits.ts';

/** Adapters are loaded only by the commands that need them: `curfew list` starts without LiveKit's SDK. */
const daemons: Daemons = {
  serve: (config, reread) =>
    ending(async () => {
      checkNode(process.versions.node);
      prestartRegistryThread();
      return (await import('./app/serve.ts')).serve(config, { reread });
    }),
  dev: async () => {
    checkNode(process.versions.node);
    return (await import('./app/serve.ts')).dev();
  },
  cleanup: async (config, request) => {
    checkNode(process.versions.node);
    return (await import('./app/cleanup.ts')).cleanup(config, request);
  },
  run: (options) =>
    ending(async () => {
      checkNode(process.versions.node);
      return (await import('./app/run.ts')).run(options);
    }),
};

/** What is under way for a session, or for a worker that nothing kills, must not hold up the next start. */
async function ending(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } finally {
    setTimeout(() => process.exit(), SHUTDOWN.lingerMs).unref();
  }
}

/** The commit of a build, which lies beside it; null: not known. */
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

// `curfew list | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runCli(process.argv.slice(2), { terminal, daemons, commit: builtFrom() });
