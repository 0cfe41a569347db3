/** Warm workers of agents with zygotes are forked. A new zygote renews them, and as many as before are ready meanwhile. */
import type { WorkerId } from '../../../src/core/ids.ts';
import { isWarmId, isZygoteId } from '../../../src/core/ids.ts';
import type { Profile } from '../../../src/core/model/profile.ts';
import type { SessionRecord } from '../../../src/core/model/session-record.ts';
import { isForked } from '../../../src/core/workers/zygote-rules.ts';
import { BACKOFF } from '../../../src/lib/limits/session-limits.ts';
import { ZYGOTE } from '../../../src/lib/limits/worker-limits.ts';
import type { SpawnRequest } from '../../../src/ports/workers.ts';
import type { CheckName } from '../../promises.ts';
import type { Generation, Sim } from '../sim.ts';
import type { Run } from '../world/host.ts';

const SLOW_MS = 15_000;

/** Since when a state of an agent that must not last has lasted. */
interface Spell {
  readonly key: string;
  readonly atMs: number;
}

export class WarmForks {
  readonly #sim: Sim;
  readonly #ready = new Map<string, number>();
  readonly #spells = new Map<string, Spell>();
  /** The agents of the warm workers that the pool retired in this event, although their profile is the present one. */
  readonly #retired = new Set<string>();
  #life = 0;

  constructor(sim: Sim) {
    this.#sim = sim;
  }

  spawning(request: SpawnRequest): void {
    const { workerId, profile, fork } = request;
    const { generation, world } = this.#sim;
    this.#checkReplacement(request);
    if (!isWarmId(workerId) || !isForked(profile) || generation === null) return;
    const { serving, awaitedMs } = generation.supervisor.parts.zygotes.sourceOf(profile);
    if (fork === undefined && (serving !== null || awaitedMs > world.bootMs))
      world.fail(
        'livekit-agents-run-unchanged: a warm worker waits for its zygote',
        `${workerId} starts cold, and a zygote is ${serving === null ? 'starting' : 'ready'}`,
      );
  }

  /** The token of other workers takes a while, and a warm worker may be ready by then. */
  #checkReplacement({ workerId, profile, record }: SpawnRequest): void {
    const { generation, world, profiles } = this.#sim;
    const { session } = record as { session?: SessionRecord };
    if (session?.phase.name !== 'live' || profile.protocol !== 'livekit' || profile.warm === 0) return;
    const { agent, version } = profile;
    const isNow = profiles.some((one) => one.agent === agent && one.version === version);
    const view = generation?.supervisor.parts.pool.views().find((one) => one.agent === agent);
    if (isNow && view !== undefined && view.ready > 0)
      world.fail(
        'livekit-agents-run-unchanged: a replacement takes a ready warm worker',
        `${workerId} starts, and ${view.ready} are ready`,
      );
  }

  signalled(id: WorkerId): void {
    const run = this.#sim.host.runs.get(id);
    if (run !== undefined && isPresent(run, this.#sim)) this.#retired.add(run.profile.agent);
  }

  check(serving: Generation): void {
    if (this.#life !== serving.life.number) {
      this.#life = serving.life.number;
      this.#ready.clear();
      this.#spells.clear();
    }
    for (const profile of this.#sim.profiles) if (isForked(profile)) this.#checkAgent(serving, profile);
    for (const run of this.#sim.host.alive) this.#checkProfile(serving, run);
    this.#retired.clear();
  }

  #checkAgent(serving: Generation, profile: Profile): void {
    const { agent, warm } = profile;
    const { pool, zygotes } = serving.supervisor.parts;
    const view = pool.views().find((one) => one.agent === agent);
    if (view === undefined) return;
    const before = this.#ready.get(agent) ?? 0;
    this.#ready.set(agent, view.ready);
    const isOpen = this.#sim.returns.drainedMs === null && !serving.life.stopping;
    if (isOpen && this.#retired.has(agent) && view.ready < Math.min(warm, before))
      this.#sim.world.fail(
        'livekit-agents-run-unchanged: a renewal leaves as many warm workers ready',
        `${view.ready} of ${warm} for ${agent}, before ${before}`,
      );
    const { serving: zygote } = zygotes.sourceOf(profile);
    const key = `${zygote} ${view.crashes} ${view.notBeforeMs}`;
    const isStill = isOpen && view.starting === 0;
    const old = [...this.#sim.host.alive].find((run) => zygote !== null && this.#isOld(serving, run, zygote));
    this.#watch(`${agent} old`, isStill && old !== undefined ? key : null, {
      boundMs: BACKOFF.maxMs + SLOW_MS,
      rule: 'livekit-agents-run-unchanged: a new zygote renews the warm workers',
      what: `${old?.id} of ${old?.forkedBy} stays beside ${zygote}`,
    });
    this.#watch(`${agent} few`, isStill && view.ready < warm ? `${view.crashes}` : null, {
      boundMs: ZYGOTE.awaitedMs + BACKOFF.maxMs + SLOW_MS,
      rule: 'every-wait-has-a-bound: the warm pool waits for a zygote for a bounded time',
      what: `${view.ready} of ${warm} for ${agent}, and none starts`,
    });
  }

  /** The pool has it, no session does, and another zygote forked it. */
  #isOld({ supervisor: { parts } }: Generation, run: Run, zygote: WorkerId): boolean {
    return (
      isWarmId(run.id) &&
      run.spec === null &&
      run.main?.alive === true &&
      run.forkedBy !== zygote &&
      parts.pool.profileOf(run.id)?.agent === parts.zygotes.profileOf(zygote)?.agent &&
      parts.workerIndex.of(run.id) === null
    );
  }

  #watch(
    name: string,
    key: string | null,
    { boundMs, rule, what }: { boundMs: number; rule: CheckName; what: string },
  ): void {
    const { world, ledger } = this.#sim;
    const spell = this.#spells.get(name);
    if (key === null) this.#spells.delete(name);
    else if (spell?.key !== key) this.#spells.set(name, { key, atMs: world.nowMs });
    else {
      const sinceMs = Math.max(spell.atMs, ledger.anewMs, world.suspendedUntilMs('supervisor'));
      if (world.nowMs - sinceMs > boundMs) world.fail(rule, what);
    }
  }

  #checkProfile({ supervisor: { parts } }: Generation, run: Run): void {
    const { world, host } = this.#sim;
    const { id, spec, profile, forkedBy } = run;
    const zygote = forkedBy === null ? undefined : host.runs.get(forkedBy);
    if (zygote !== undefined && zygote.profile.version !== profile.version)
      world.fail(
        'livekit-agents-run-unchanged: a worker is forked from a zygote of its own profile',
        `${id} of version ${profile.version} from ${forkedBy} of ${zygote.profile.version}`,
      );
    if (isWarmId(id) && spec !== null && spec.profile.version !== profile.version)
      world.fail(
        'livekit-agents-run-unchanged: a session gets a warm worker of its own profile',
        `${id} of version ${profile.version} for ${spec.id} of ${spec.profile.version}`,
      );
    const isKept =
      (isWarmId(id) && parts.pool.profileOf(id) !== null && parts.workerIndex.of(id) === null) ||
      (isZygoteId(id) && parts.zygotes.profileOf(id) !== null);
    if (isKept && !isPresent(run, this.#sim))
      world.fail(
        'every-tree-is-accounted-for: a zygote or warm worker of an old profile ends',
        `${id} of version ${profile.version} is kept`,
      );
  }
}

function isPresent({ profile }: Run, sim: Sim): boolean {
  return sim.profiles.some(({ agent, version }) => agent === profile.agent && version === profile.version);
}
