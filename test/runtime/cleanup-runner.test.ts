/** What a sweep asks of the host: whose tree, by which shim. */
import { describe, expect, it } from 'vitest';
import { workerId } from '../../src/core/ids.ts';
import type { Session } from '../../src/core/model/session.ts';
import type { ProcessIdentity } from '../../src/core/model/worker.ts';
import { CleanupRunner } from '../../src/runtime/cleanup/cleanup-runner.ts';
import { sessionOf } from '../support/sessions.ts';

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

/** The shims by which the trees of this session's worker were looked for. */
async function shimsAsked(shim: ProcessIdentity): Promise<(ProcessIdentity | null)[]> {
  const asked: (ProcessIdentity | null)[] = [];
  const silent = () => undefined;
  const sweeper = new CleanupRunner({
    table: {
      scan: async () => ({
        scanned: 0,
        workerIds: [],
        treeOf: (_, by) => {
          asked.push(by);
          return [];
        },
        spared: () => new Set(),
        unmanaged: () => [],
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
      nudge: silent,
    },
    clock: { now: () => at, at: () => silent },
    log: { debug: silent, info: silent, warn: silent, error: silent },
    bootId: 'boot',
    patterns: [],
    graceMs: 0,
  });
  await sweeper.sweep({ dryRun: true });
  return asked;
}

describe('a tree', () => {
  it('is looked for by its shim', async () => {
    const shim = { bootId: 'boot', pid: 7, startTicks: 7 };
    expect(await shimsAsked(shim)).toEqual([shim]);
  });

  it('is not looked for by numbers of another boot, which may be a stranger’s by now', async () => {
    expect(await shimsAsked({ bootId: 'the boot before', pid: 7, startTicks: 7 })).toEqual([null]);
  });
});
