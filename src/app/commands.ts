/**
 * The commands that need adapters. Each loads its modules when it runs, so that `curfew list` starts without LiveKit's
 * SDK.
 */
import { startRegistryThread } from '../adapters/registry/registry-client.ts';
import type { Daemons } from '../cli/command-context.ts';
import { SHUTDOWN } from '../lib/limits/service-limits.ts';
import type { HeldSignals } from './early-signals.ts';
import { checkNode } from './node-version.ts';

export const daemons = (held: HeldSignals): Daemons => ({
  begins: async (command) => {
    if (command !== 'serve') await passOn(held);
  },
  serve: (config, reread) =>
    exitAfter(async () => {
      checkNode(process.versions.node);
      // The registry's thread starts before this thread loads the rest.
      const registryThread = startRegistryThread();
      return (await import('./serve.ts')).serve(config, { reread, held, registryThread });
    }),
  dev: async () => {
    checkNode(process.versions.node);
    const { serve } = await import('./serve.ts');
    return (await import('./dev/dev.ts')).runDev({ serve });
  },
  cleanup: async (config, request) => {
    checkNode(process.versions.node);
    return (await import('./cleanup.ts')).cleanup(config, request);
  },
  endRun: async (stateDir) => (await import('./end-run.ts')).endRun(stateDir),
  run: (options) =>
    exitAfter(async () => {
      checkNode(process.versions.node);
      return (await import('./run.ts')).run(options);
    }),
});

/** Other commands end by SIGHUP, as if nothing had held it. SIGUSR1 means nothing to them. */
async function passOn(held: HeldSignals): Promise<void> {
  // Race: a signal that came during a long import reaches its handler only in the next turn of the event loop.
  await new Promise(setImmediate);
  if (held.release().includes('SIGHUP')) process.kill(process.pid, 'SIGHUP');
}

/** Open work for a session, or for a worker that survived SIGKILL, must not delay the next start. */
async function exitAfter(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } finally {
    setTimeout(() => process.exit(), SHUTDOWN.lingerMs).unref();
  }
}
