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

function runnerOf(
  sessions: readonly Session[],
  searched: (by: ProcessIdentity | null) => void,
): CleanupRunner {
  const silent = () => undefined;
  return new CleanupRunner({
    table: {
      scan: async () => ({
        scanned: 0,
        workerIds: [],
        treeOf: (_, by) => {
          searched(by);
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
      open: async () => [...sessions],
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
}

/** The shims by which cleanup searched the tree of this session's worker. */
async function shimsSearched(shim: ProcessIdentity): Promise<(ProcessIdentity | null)[]> {
  const shims: (ProcessIdentity | null)[] = [];
  await runnerOf([sessionWith(shim)], (by) => shims.push(by)).run({ dryRun: true });
  return shims;
}

describe('a state directory that a person names', () => {
  it('is a remark when no worker of it has lost its supervisor', async () => {
    const runner = runnerOf([], () => undefined);
    const remarks = async (abandoned?: string) =>
      (await runner.run({ dryRun: true, ...(abandoned !== undefined && { abandoned }) })).remarks;
    expect(await remarks()).toEqual([]);
    expect(await remarks('/srv/none')).toEqual([
      'no worker of the state directory /srv/none is without its supervisor; check the path, and whether that supervisor runs',
    ]);
  });
});

describe('the tree of a worker', () => {
  it('is searched by its shim', async () => {
    const shim = { bootId: 'boot', pid: 7, startTicks: 7 };
    expect(await shimsSearched(shim)).toEqual([shim]);
  });

  it('is not searched by a shim of another boot, because another process can have its pid now', async () => {
    expect(await shimsSearched({ bootId: 'an earlier boot', pid: 7, startTicks: 7 })).toEqual([null]);
  });
});
