/** The cleanup's ports over the simulated host: processes with a mark, records in the folders, plans of dry runs. */
import type { WorkerId } from '../../../src/core/ids.ts';
import type { Profile } from '../../../src/core/model/profile.ts';
import type { SessionRecord } from '../../../src/core/model/session-record.ts';
import { fromRecord } from '../../../src/core/model/session-record.ts';
import type { ListedProcess, Verdict } from '../../../src/core/workers/cleanup-verdict.ts';
import type { CleanupPlan, CleanupPlans } from '../../../src/ports/cleanup-plans.ts';
import type { Ended, HostScan, ProcessTable } from '../../../src/ports/process-table.ts';
import type { WorkerRecords } from '../../../src/ports/worker-records.ts';
import type { Host, Process, Run } from './host.ts';
import type { Life } from './life.ts';
import { never } from './life.ts';

type Targets = Parameters<ProcessTable['end']>[0];

export interface CleanupWatch {
  ending(run: Run, verdict: Pick<Verdict, 'workerId'>): void;
}

const END_MS = 8_000;

export class SimTable implements ProcessTable {
  readonly #host: Host;
  readonly #life: Life;
  readonly #watch: CleanupWatch;

  constructor(host: Host, life: Life, watch: CleanupWatch) {
    this.#host = host;
    this.#life = life;
    this.#watch = watch;
  }

  scan(): Promise<HostScan> {
    if (this.#life.dead('a scan of the cleanup begins')) return never();
    const trees = new Map<WorkerId, ListedProcess[]>();
    for (const run of this.#host.alive) {
      const members = this.#listed(run);
      trees.set(run.id, [...(trees.get(run.id) ?? []), ...members]);
    }
    const scan: HostScan = {
      scanned: trees.size,
      workerIds: [...trees.keys()],
      treeOf: (id) => trees.get(id) ?? [],
      spared: () => new Set(),
      unmanaged: () => [],
      foreign: () => [],
    };
    return this.#after(this.#host.world.random.wait(20, 300), 'a scan of the cleanup ends', () => scan);
  }

  end(targets: Targets): Promise<Ended[]> {
    if (this.#life.dead('a cleanup ends processes')) return never();
    const doomed = targets.flatMap((verdict) => this.#living(verdict).map((one) => ({ ...one, verdict })));
    for (const { run, one, verdict } of doomed) {
      this.#watch.ending(run, verdict);
      this.#host.strike(run, one, 'SIGKILL');
    }
    return this.#after(doomed.length === 0 ? 5 : END_MS, 'a cleanup is done', () =>
      doomed.map(({ one: { pid, startTicks, alive } }) => ({
        pid,
        startTicks,
        outcome: alive ? 'survived' : 'ended',
      })),
    );
  }

  removeEmptyGroups(): WorkerId[] {
    return [];
  }

  /** The processes of a verdict that still live with the same pid and start time. */
  #living({ members }: Targets[number]): { run: Run; one: Process }[] {
    return [...this.#host.alive].flatMap((run) =>
      [run.shim, ...this.#host.members(run)]
        .filter((one) => one.alive)
        .filter((one) =>
          members.some(({ pid, startTicks }) => pid === one.pid && startTicks === one.startTicks),
        )
        .map((one) => ({ run, one })),
    );
  }

  #listed(run: Run): ListedProcess[] {
    const { world } = this.#host;
    return [run.shim, ...this.#host.members(run)]
      .filter((one) => one.alive)
      .map(({ pid, startTicks }) => ({
        pid,
        startTicks,
        evidence: 'mark',
        leader: run.shim.pid,
        ageMs: world.bootMs - startTicks * 10,
        command: 'agent',
        rssBytes: 1,
        own: true,
        livekit: null,
      }));
  }

  #after<T>(waitMs: number, what: string, answer: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#host.world.after(waitMs, {
        place: 'supervisor',
        what,
        life: this.#life,
        run: () => resolve(answer()),
      });
    });
  }
}

export class SimPlans implements CleanupPlans {
  readonly #plans = new Map<string, CleanupPlan>();

  save(plan: CleanupPlan): Promise<void> {
    this.#plans.set(plan.id, plan);
    return Promise.resolve();
  }

  load(id: string): Promise<CleanupPlan | null> {
    return Promise.resolve(this.#plans.get(id) ?? null);
  }
}

interface WarmOnDisk {
  readonly profile: Profile;
  readonly retired?: true;
  readonly zygote?: WorkerId;
}

export function recordsOf(host: Host): WorkerRecords {
  const processOf = (run: Run) => ({
    shim: host.identityIn(run, run.shim),
    main: run.main === null ? null : host.identityIn(run, run.main),
  });
  return {
    list: () => Promise.resolve([...host.folders.keys()]),
    readWarm: (id) => {
      const run = host.folder(id).run;
      const { warm } = (run?.record ?? {}) as { warm?: WarmOnDisk };
      if (run === null || warm === undefined) return Promise.resolve(null);
      return Promise.resolve({
        profile: warm.profile,
        process: processOf(run),
        isSpent: warm.retired === true,
        ...(warm.zygote !== undefined && { zygote: warm.zygote }),
      });
    },
    read: (id) => {
      const run = host.folder(id).run;
      const { session } = (run?.record ?? {}) as { session?: SessionRecord };
      if (run === null || session === undefined) return Promise.resolve(null);
      return Promise.resolve({ session: fromRecord(session), process: processOf(run) });
    },
  };
}
