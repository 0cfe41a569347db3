/** The question that cleanup asks the host: the tree of which worker, found by which shim. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Session } from '../../src/core/model/session.ts';
import type { ProcessIdentity } from '../../src/core/model/worker.ts';
import { CleanupRunner } from '../../src/runtime/cleanup/cleanup-runner.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

const ID = workerId('s-1.1');
const at = { bootMs: 0, wallMs: 0 };

function sessionWith(shim: ProcessIdentity): Session {
  const worker = {
    stage: 'running' as const,
    id: ID,
    attempt: 1,
    spawnedAt: at,
    readyByMs: null,
    process: { shim, main: null },
    channel: 'none' as const,
    warm: null,
  };
  return { ...sessionOf({ id: 's-1' }), startedAt: at, phase: { name: 'starting', worker } };
}

/** The shims by which cleanup searched the tree of this session's worker. */
async function shimsSearched(shim: ProcessIdentity): Promise<(ProcessIdentity | null)[]> {
  const shims: (ProcessIdentity | null)[] = [];
  const silent = () => undefined;
  const runner = new CleanupRunner({
    table: {
      scan: async () => ({
        scanned: 0,
        workerIds: [],
        treeOf: (_, by) => {
          shims.push(by);
          return [];
        },
        spared: () => new Set(),
        unmanaged: () => [],
        foreign: () => [],
      }),
      end: async () => [],
      removeEmptyGroups: () => [],
    },
    plans: { save: async () => undefined, load: async () => null },
    source: {
      supervised: false,
      remarks: [],
      open: async () => [sessionWith(shim)],
      sessionOf: async () => null,
      warmOf: async () => null,
      recheckDeadlines: silent,
    },
    clock: { now: () => at, at: () => silent },
    log: { debug: silent, info: silent, warn: silent, error: silent },
    bootId: 'boot',
    patterns: [],
    graceMs: 0,
  });
  await runner.run({ dryRun: true });
  return shims;
}

describe('the tree of a worker', () => {
  it('is searched by its shim', async () => {
    const shim = { bootId: 'boot', pid: 7, startTicks: 7 };
    expect(await shimsSearched(shim)).toEqual([shim]);
  });

  it('is not searched by a shim of another boot, because another process can have its pid now', async () => {
    expect(await shimsSearched({ bootId: 'an earlier boot', pid: 7, startTicks: 7 })).toEqual([null]);
  });
});
