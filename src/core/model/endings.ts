/** Endings, each with its cause and detail. */
import type { Stamp } from '../ids.ts';
import type { ClosedAgentSession } from './control-protocol.ts';
import type { SessionEvent } from './events.ts';
import type { Ending, Session, SessionSpec } from './session.ts';
import { workerOf } from './session.ts';
import { endingOf } from './updates.ts';
import type { ExitInfo } from './worker.ts';
import { channelOf } from './worker.ts';

/** The ending of an exit, at the time of the exit. It is the maximum duration, the memory limit, completed (0), lost (unknown) or a crash. */
export function exitEnding(exit: ExitInfo, overAtMs: number): Ending {
  const { at } = exit;
  // No supervisor was there to end the worker at its maximum duration, which was over first.
  if (at.bootMs >= overAtMs) return endingOf('max_duration', at, { cause: 'deadline:max_duration' });
  if (exit.oomKilled === true && exit.code !== 0)
    return endingOf('memory_limit', at, {
      cause: 'oom_kill',
      detail: 'the kernel ended it at its memory limit',
    });
  const because = { cause: 'exit', detail: `the worker ${exitText(exit)}${outsideText(exit)}` };
  if (exit.code === 0) return endingOf('completed', at, because);
  return endingOf(exit.signal === null && exit.code === null ? 'worker_lost' : 'crashed', at, because);
}

/** Signals that another process sends. Others, such as SIGSEGV, are the worker's own fault. */
const SENT_BY_OTHERS: readonly string[] = ['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGHUP', 'SIGQUIT'];

/** curfew signals a worker only in a teardown or a replacement, whose exit ends nothing. */
function outsideText({ signal }: Pick<ExitInfo, 'signal'>): string {
  if (signal === null || !SENT_BY_OTHERS.includes(signal)) return '';
  // Only a cgroup counts what the kernel kills, and the kernel's log is not for everybody.
  const kernel = signal === 'SIGKILL' ? "; the kernel's OOM killer is one possible sender" : '';
  return `, which curfew did not send${kernel}`;
}

/** The process of a LiveKit agent's job ended early. curfew signals it only in a teardown or a replacement, too. */
export function jobExitText(exit: Pick<ExitInfo, 'code' | 'signal'>, isByFramework: boolean): string {
  const sender = isByFramework
    ? ", which the framework itself sent; the worker's log says why"
    : outsideText(exit);
  return `the process of the job ${exitText(exit)}${sender}`;
}

/** How a process ended, as the rest of a sentence that begins with its name. */
export function exitText({ code, signal }: Pick<ExitInfo, 'code' | 'signal'>): string {
  if (signal !== null) return `was ended by ${signal}`;
  return code === null ? 'is gone, its exit status is unknown' : `exited with code ${code}`;
}

export function errorLimit(session: Session, now: Stamp): Ending {
  const detail = `${session.errors.consecutive} errors in a row, the last: ${session.errors.last}`;
  return endingOf('error_limit', now, { cause: 'error', detail });
}

export function unresponsive(session: Session, now: Stamp): Ending {
  const silentMs = now.bootMs - (session.vitals.heartbeatMs ?? now.bootMs);
  return endingOf('unresponsive', now, {
    cause: 'deadline:unresponsive',
    detail: `no heartbeat for ${Math.round(silentMs)} ms; its stacks are in its log if it could write them`,
  });
}

export function releaseEnding(
  { reason, detail, by }: Extract<SessionEvent, { type: 'release' }>,
  now: Stamp,
): Ending {
  return endingOf(reason, now, { cause: 'release', detail, by });
}

/** The worker says that its job is done. */
export function closedEnding(
  { detail }: { readonly detail?: string | null | undefined },
  now: Stamp,
): Ending {
  return endingOf('completed', now, {
    cause: 'closed',
    detail: detail ?? 'the worker reported the end of its job',
  });
}

/** The worker says that it can do its job no longer. */
export function failedEnding(detail: string | null, now: Stamp): Ending {
  return endingOf('crashed', now, { cause: 'failed', detail });
}

/** The job's own code raised an exception. */
export function raisedEnding(detail: string, now: Stamp): Ending {
  return endingOf('crashed', now, { cause: 'exception', detail });
}

/** The main process of a LiveKit agent never ends before its job. So an exit with 0 says nothing of the job. */
export function endingByExit({ profile }: SessionSpec, exit: ExitInfo, overAtMs: number): Ending {
  const ending = exitEnding(exit, overAtMs);
  if (profile.protocol !== 'livekit' || ending.reason !== 'completed') return ending;
  const detail = `the main process ${exitText(exit)} before the end of its job`;
  return endingOf('crashed', exit.at, { cause: 'exit', detail });
}

/** An error of a provider closed the last AgentSession of the job. */
export function agentSessionEnding({ provider, message }: ClosedAgentSession, now: Stamp): Ending {
  const whose = provider ?? 'the agent';
  const detail = `${whose}: ${message ?? 'an error closed the AgentSession'}`;
  return { ...endingOf('crashed', now, { cause: 'agent_session_failed', detail }), provider: whose };
}

/** Under `protocol: livekit` a start can fail without any connection to curfew. Its causes lie outside of curfew. */
function unconnected(session: Session, causes: string): string {
  const isUnconnected =
    session.spec.profile.protocol === 'livekit' && channelOf(workerOf(session)) === 'none';
  return isUnconnected ? `: the agent has not connected to curfew. ${causes}` : '';
}

/** An exit before `ready`. */
export function startExitEnding(session: Session, exit: ExitInfo): Ending {
  const ending = endingByExit(session.spec, exit, Number.POSITIVE_INFINITY);
  if (ending.cause !== 'exit') return ending;
  const hint = 'Its log may say why: `curfew logs`. See docs/how-to/agent-does-not-start.md';
  return { ...ending, detail: `${ending.detail ?? ''}${unconnected(session, hint)}` };
}

export function startTimeoutEnding(session: Session, now: Stamp): Ending {
  const hint =
    "A busy host or slow imports need a longer start_timeout. Else check python -I and -E, wrappers that clear PYTHONPATH or NODE_OPTIONS, and LiveKit keys in the agent's code. See docs/how-to/agent-does-not-start.md";
  const detail = `not ready after ${session.spec.limits.startTimeoutMs} ms${unconnected(session, hint)}`;
  return endingOf('start_timeout', now, { cause: 'deadline:start_timeout', detail });
}

/** The agent rejected its job. */
export function declinedEnding(now: Stamp): Ending {
  return endingOf('declined', now, { cause: 'declined', detail: 'the agent rejected the job' });
}
