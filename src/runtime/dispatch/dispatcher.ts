/** Takes a dispatch in: known id, admission, record, start. Nothing is half accepted. */

import type { DispatchRequest } from '../../api/session-schemas.ts';
import type { Answer } from '../../core/admission/admission.ts';
import { quotasOf } from '../../core/admission/quotas.ts';
import type { SessionId, Stamp, WorkerId } from '../../core/ids.ts';
import { firstWorkerId, sessionId } from '../../core/ids.ts';
import type { JobOrigin } from '../../core/model/job-options.ts';
import type { Session } from '../../core/model/session.ts';
import { workerOf } from '../../core/model/session.ts';
import type { Next } from '../../core/model/updates.ts';
import { newSession, stay } from '../../core/model/updates.ts';
import { decide } from '../../core/session/decide.ts';
import { CurfewError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoints.ts';
import { ADMISSION } from '../../lib/limits/session-limits.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import type { Warm } from '../workers/warm-handoff.ts';
import { hashBody, makeSpec } from './session-spec.ts';

interface Dispatched {
  readonly session: Session;
  readonly created: boolean;
}

/** How a call came. */
export interface Origin {
  readonly job: JobOrigin | null;
  /** Whether it may wait for a slot; a call that comes by itself may not. */
  readonly mayQueue: boolean;
  /** LiveKit's assignment is waited for this long before the start goes on without; null: none will come. */
  readonly assignedWithinMs: number | null;
}

/** By a program or a person. */
const ASKED: Origin = { job: null, mayQueue: true, assignedWithinMs: null };

export class Dispatcher {
  readonly #sessions: SessionHost;
  readonly #checkAccepting: () => void;
  /** Dispatches under way by the client's id: a repeat that comes meanwhile waits for the first. */
  readonly #pending = new Map<string, { bodyHash: string; result: Promise<Dispatched> }>();

  /** `checkAccepting` throws when nothing new is taken; a repeat of what was taken before is answered all the same. */
  constructor(sessions: SessionHost, checkAccepting: () => void) {
    this.#sessions = sessions;
    this.#checkAccepting = checkAccepting;
  }

  async dispatch(request: DispatchRequest, origin: Origin = ASKED): Promise<Dispatched> {
    const { id } = request;
    if (id === undefined) return this.#create(request, origin);
    const bodyHash = hashBody(request);
    const pending = this.#pending.get(id);
    if (pending !== undefined) return repeat(await pending.result, bodyHash);
    const known = this.#sessions.state(sessionId(id));
    if (known !== null) return repeat({ session: known, created: false }, bodyHash);
    const result = this.#findOrCreate(request, { bodyHash, origin });
    this.#pending.set(id, { bodyHash, result });
    try {
      return await result;
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Until a dispatch with this id that is under way has its answer. */
  async settled(id: string): Promise<void> {
    await this.#pending.get(id)?.result.catch(() => undefined);
  }

  async #findOrCreate(
    request: DispatchRequest,
    { bodyHash, origin }: { bodyHash: string; origin: Origin },
  ): Promise<Dispatched> {
    const recorded = await this.#sessions.deps.registry.get(sessionId(request.id ?? ''));
    return recorded === null
      ? this.#create(request, origin)
      : repeat({ session: recorded, created: false }, bodyHash);
  }

  async #create(request: DispatchRequest, { job, mayQueue, assignedWithinMs }: Origin): Promise<Dispatched> {
    this.#checkAccepting();
    const { roomTokens, deps, admission, recorder, pool } = this.#sessions;
    const spec = makeSpec(request, { deps, now: deps.clock.now(), job, isAsked: mayQueue });
    const { id: sessionId, claim } = spec;
    const warm = pool.take(spec.profile, sessionId);
    const asked = { sessionId, claim, quotas: quotasOf(spec), mayQueue, isWarm: warm !== null };
    const answer = admission.request(asked);
    if (warm !== null && answer.kind !== 'granted') pool.giveBack(warm.id, sessionId);
    // What was granted may begin at once: the moment of the answer, not that of the question.
    const next = begin(newSession(spec, request.metadata), {
      answer,
      now: deps.clock.now(),
      assignedWithinMs,
      warm,
    });
    // One that waits may not start for hours.
    if (answer.kind === 'granted') roomTokens.prepare(next.state);
    failpoint('dispatch.before-record');
    try {
      await recorder.create(next.state);
    } catch (error) {
      roomTokens.forget(spec.id);
      admission.withdraw(spec.id);
      admission.update(spec.id, null);
      if (warm !== null) pool.giveBack(warm.id, sessionId);
      this.#sessions.dropEarly(spec.id);
      throw error;
    }
    failpoint('dispatch.recorded');
    const isLost = warm !== null && answer.kind === 'granted' && !pool.keeps(warm.id, sessionId);
    if (warm !== null && workerOf(next.state)?.id === warm.id) pool.given(warm.id);
    this.#sessions.add(next.state, next.effects);
    if (isLost) this.#tellLost(sessionId, warm.id);
    return { session: next.state, created: true };
  }

  /** It died while the session was recorded, when only the pool could hear of it; what it left is told to both. */
  #tellLost(id: SessionId, workerId: WorkerId): void {
    const { deps, pool } = this.#sessions;
    const exit = { code: null, signal: null, at: deps.clock.now() };
    this.#sessions.post(id, { type: 'exited', workerId, exit });
    if (!pool.has(workerId)) this.#sessions.post(id, { type: 'tree', workerId, left: 0 });
  }
}

/** With the first record comes the intent to start, where it may start now. */
function begin(
  session: Session,
  {
    answer,
    now,
    assignedWithinMs,
    warm,
  }: { answer: Answer; now: Stamp; assignedWithinMs: number | null; warm: Warm | null },
): Next {
  switch (answer.kind) {
    case 'taken':
      throw new CurfewError(
        'room_taken',
        `room "${session.spec.room.name}" already has session "${answer.holder}"`,
        { holder: answer.holder },
      );
    case 'full':
      throw atCapacity(answer);
    case 'queued':
      return stay(session);
    case 'granted':
      return decide(
        session,
        {
          type: 'granted',
          startAtMs: answer.startAtMs,
          ...(assignedWithinMs === null ? {} : { assignedByMs: now.bootMs + assignedWithinMs }),
          workerId: warm?.id ?? firstWorkerId(session.spec.id),
          ...(warm === null ? {} : { warm: warm.process }),
        },
        now,
      );
  }
}

function atCapacity({ quota, limit, used, holders }: Extract<Answer, { kind: 'full' }>): CurfewError {
  const detail = `limit "${quota}" is reached: ${used} of ${limit} in use`;
  return new CurfewError('at_capacity', detail, {
    limit: quota,
    max: limit,
    used,
    holders,
    retryAfterSeconds: ADMISSION.retryAfterSeconds,
  });
}

function repeat({ session }: Dispatched, bodyHash: string): Dispatched {
  if (session.spec.bodyHash === bodyHash) return { session, created: false };
  throw new CurfewError('id_conflict', `id "${session.spec.id}" was used for a dispatch with another body`, {
    id: session.spec.id,
  });
}
