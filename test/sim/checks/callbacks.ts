/** The shutdown callbacks of a LiveKit agent that is out of its room have the time of a wrap-up. */
import type { Session } from '../../../src/core/model/session.ts';
import { workerOf } from '../../../src/core/model/session.ts';
import { restOfTermMs } from '../../../src/core/teardown/steps.ts';
import type { Sim } from '../sim.ts';
import type { Agent } from '../world/agent.ts';
import type { Run } from '../world/host.ts';
import type { Case } from './ledger.ts';

/** A snapshot waits so long in a mailbox at most. */
const MAILBOX_MS = 2_000;
const SLACK_MS = 1;

/** `state`: the session to whose worker curfew sends the signal now. */
export function checkCallbacks(sim: Sim, { one, run, state }: { one: Case; run: Run; state: Session }): void {
  const { world, agents } = sim;
  const agent = agents.get(run.id);
  const { closingMs } = one;
  if (agent === undefined || closingMs === null || !isJobRunning(sim, run)) return;
  if (state.phase.name !== 'closing' || isShort(sim, one, state)) return;
  const { wrapUpMs, acloseMs, termMs } = run.profile.ladder;
  // Without this knowledge the step that is under way ends at its own bound.
  const termedMs = run.main?.termedMs ?? null;
  const boundMs = termedMs === null ? closingMs + acloseMs : termedMs + (termMs - restOfTermMs(termMs)) / 2;
  const seenMs = seenOutMs(sim, one, agent);
  if (seenMs + MAILBOX_MS > boundMs || world.nowMs - closingMs >= wrapUpMs - SLACK_MS) return;
  world.fail(
    'livekit-agents-run-unchanged: callbacks outside the room have the time of a wrap-up',
    `${run.id} is signalled ${Math.round(world.nowMs - closingMs)} ms after the end, and its callbacks run`,
  );
}

/** The job was asked to end, and its main process waits for it. */
function isJobRunning({ agents }: Sim, run: Run): boolean {
  const agent = agents.get(run.id);
  return (
    agent?.isLiveKit === true &&
    agent.askedMs !== null &&
    agent.outMs !== null &&
    !agent.hasReported &&
    !agent.hung &&
    !run.doomed &&
    run.main?.alive === true
  );
}

/** The wrap-up is shorter on purpose, or curfew cannot know that the agent is out. */
function isShort(sim: Sim, one: Case, { phase }: Session): boolean {
  const { generation, ledger, callers } = sim;
  const worker = workerOf(one.wanted);
  // A main process that curfew does not know gets its SIGTERM with all others.
  const isMainKnown = worker?.stage === 'running' && worker.process.main !== null;
  const closingMs = one.closingMs ?? 0;
  return (
    phase.name !== 'closing' ||
    phase.ending.reason === 'shutdown' ||
    phase.ladder.successor ||
    !isMainKnown ||
    worker.attempt !== 1 ||
    one.hurriedMs !== null ||
    one.excused ||
    generation?.life.stopping === true ||
    ledger.countedMs > closingMs ||
    callers.hinderedSince(one.id, closingMs - 30_000)
  );
}

/** When the supervisor had seen the agent in the room and then the room without it. */
function seenOutMs({ generation }: Sim, { spec }: Case, { joinedMs, outMs }: Agent): number {
  const leftMs = outMs ?? Number.POSITIVE_INFINITY;
  const seen = generation?.rooms.delivered(spec.room.name).filter(({ blind }) => !blind) ?? [];
  const wasIn = seen.some(({ trueMs }) => trueMs >= joinedMs && trueMs < leftMs);
  const out = seen.find(({ trueMs }) => trueMs >= leftMs);
  return (wasIn ? out?.deliveredMs : undefined) ?? Number.POSITIVE_INFINITY;
}
