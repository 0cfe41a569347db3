/** LiveKit agents that reject their job: curfew asks each once, and ends the session as `declined`. */
import type { WorkerId } from '../../../src/core/ids.ts';
import { sessionId } from '../../../src/core/ids.ts';
import { isReplacing, reservedWorker, workerOf } from '../../../src/core/model/session.ts';
import type { JobAnswer } from '../../../src/ports/jobs.ts';
import type { Sim } from '../sim.ts';

export class Rejections {
  readonly #sim: Sim;
  /** Sessions with an agent that rejected the job, also where curfew did not hear of it. */
  readonly #rejected = new Set<string>();
  /** When the supervisor heard of the rejection, and whether LiveKit must ask no other agent. */
  readonly #heard = new Map<
    string,
    { readonly atMs: number; readonly isFinal: boolean; readonly isOffer: boolean }
  >();

  constructor(sim: Sim) {
    this.#sim = sim;
  }

  has(session: string): boolean {
    return this.#rejected.has(session);
  }

  /** null: the supervisor has heard of no rejection. */
  heardMs(session: string): number | null {
    return this.#heard.get(session)?.atMs ?? null;
  }

  /** curfew asks an agent whether it accepts its job. */
  offered(worker: WorkerId, session: string): void {
    if (this.#heard.has(session))
      this.#sim.world.fail(
        'livekit-agents-run-unchanged: a rejected job is offered to no other agent',
        `${worker} is offered the job of ${session} again`,
      );
  }

  /** The answer of a worker that the session has no more, or replaces, changes nothing. */
  heard(worker: WorkerId, session: string, isFinal: boolean): void {
    this.#rejected.add(session);
    const state = this.#sim.generation?.supervisor.sessions.state(sessionId(session)) ?? null;
    const current = state === null ? null : (workerOf(state) ?? reservedWorker(state));
    const isAwaited =
      current?.id === worker &&
      (state === null || !isReplacing(state)) &&
      (state?.phase.name === 'queued' || (state !== null && workerOf(state)?.readyByMs !== null));
    const isOffer = state?.phase.name === 'queued';
    if (isAwaited) this.#heard.set(session, { atMs: this.#sim.world.nowMs, isFinal, isOffer });
  }

  /** curfew answers LiveKit's own offer of a job. */
  answeredJob(job: string, answer: JobAnswer): void {
    const rejection = this.#heard.get(job);
    // LiveKit has had its answer before an agent that was asked after the assignment rejects.
    if (rejection === undefined || !rejection.isOffer) return;
    // Another offer under this id may be refused for a reason of its own.
    const isOther = !answer.accepted && answer.why !== 'the agent rejected it';
    if (!isOther && (answer.accepted || rejection.isFinal !== (answer.isFinal === true)))
      this.#sim.world.fail(
        'livekit-agents-run-unchanged: LiveKit hears the rejection of an agent that was asked',
        `${job}: ${JSON.stringify(answer)}`,
      );
  }

  /** Another session has this id: curfew refused the earlier one, or a crash erased it. */
  forget(session: string): void {
    this.#rejected.delete(session);
    this.#heard.delete(session);
  }

  /** A rejection without a record is lost with the supervisor. The next one asks the agent again. */
  died(): void {
    for (const session of this.#heard.keys()) {
      const { name } = this.#sim.ledger.of(session)?.committed?.phase ?? {};
      if (name !== 'closing' && name !== 'ended') this.#heard.delete(session);
    }
  }
}
