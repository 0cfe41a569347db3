/** Zygotes hold no session, and the supervisor knows or ends each of them. */
import type { WorkerId } from '../../../src/core/ids.ts';
import { isZygoteId } from '../../../src/core/ids.ts';
import { WARM } from '../../../src/lib/limits/worker-limits.ts';
import type { Generation, Sim } from '../sim.ts';
import type { Run } from '../world/host.ts';

const SLOW_MS = 15_000;
const OF_SESSIONS = ['LIVEKIT_TOKEN', 'CURFEW_SESSION_ID', 'CURFEW_ROOM', 'CURFEW_METADATA'];

export class Zygotes {
  readonly #sim: Sim;
  /** When each was first seen retired, in the life of one supervisor. */
  readonly #retiredMs = new Map<WorkerId, { readonly life: number; readonly atMs: number }>();

  constructor(sim: Sim) {
    this.#sim = sim;
  }

  check(serving: Generation): void {
    const { host } = this.#sim;
    for (const run of host.alive) {
      if (!isZygoteId(run.id) || host.members(run).length === 0) continue;
      this.#checkBare(serving, run);
      this.#checkKnown(serving, run);
      this.#checkRetired(serving, run);
    }
  }

  /** Nothing that zygotes do needs a person. */
  logged(level: string, fields: object, message: string): void {
    const { worker = '' } = fields as { worker?: string };
    if (level === 'error' && isZygoteId(worker))
      this.#sim.world.fail(
        'every-tree-is-accounted-for: the supervisor knows each zygote',
        `${worker}: ${message}`,
      );
  }

  /** After a stop or a drain. */
  checkAtEnd(): void {
    const { host, scenario, world } = this.#sim;
    if (scenario.end !== 'stop' && scenario.end !== 'drain') return;
    for (const run of host.alive)
      if (isZygoteId(run.id) && !isStuck(run, world.nowMs))
        world.fail(
          'every-tree-is-accounted-for: a zygote that nobody wants ends',
          `${run.id} lives at the end`,
        );
  }

  #checkBare({ supervisor: { parts } }: Generation, run: Run): void {
    const held = OF_SESSIONS.filter((name) => run.env[name] !== undefined);
    if (run.spec !== null || held.length > 0 || parts.workerIndex.has(run.id))
      this.#sim.world.fail(
        'workers-get-only-their-own-access: a zygote holds no session',
        `${run.id} has ${held.join() || 'a session'}`,
      );
  }

  /** A zygote that began after the supervisor looked for those of its predecessor is left to the cleanup. */
  #checkKnown({ supervisor: { parts }, life }: Generation, run: Run): void {
    if (parts.zygotes.has(run.id)) return;
    const bornMs = this.#sim.zygoteBornMs(run.id);
    if (run.bornMs >= life.bornMs || (bornMs !== null && bornMs < life.bornMs))
      this.#sim.world.fail(
        'every-tree-is-accounted-for: the supervisor knows each zygote',
        `${run.id} lives, and the supervisor does not know it`,
      );
  }

  #checkRetired({ supervisor: { parts }, life }: Generation, run: Run): void {
    const { world, ledger } = this.#sim;
    if (!parts.zygotes.has(run.id) || parts.zygotes.memoryLimit(run.id) !== null) return;
    const seen = this.#retiredMs.get(run.id);
    if (seen?.life !== life.number) {
      this.#retiredMs.set(run.id, { life: life.number, atMs: world.nowMs });
      return;
    }
    const sinceMs = Math.max(seen.atMs, ledger.anewMs, world.suspendedUntilMs('supervisor'));
    if (world.nowMs - sinceMs > WARM.termMs + WARM.killMs + SLOW_MS && !isStuck(run, world.nowMs))
      world.fail(
        'every-tree-is-accounted-for: a zygote that nobody wants ends',
        `${run.id} lives ${Math.round(world.nowMs - seen.atMs)} ms after it was retired`,
      );
  }
}

function isStuck({ main, children }: Run, nowMs: number): boolean {
  return [main, ...children].some((one) => one?.alive === true && one.stuckUntilMs > nowMs - SLOW_MS);
}
