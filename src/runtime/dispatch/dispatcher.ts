/** Accepts or refuses a dispatch: known id, admission, first record, start. A refused dispatch leaves nothing behind. */

import type { DispatchRequest } from '../../api/session-schemas.ts';
import type { Answer } from '../../core/admission/admission.ts';
import { hostUseText, isHostQuota } from '../../core/admission/host-load.ts';
import { quotasOf } from '../../core/admission/quotas.ts';
import type { Metadata, SessionId } from '../../core/ids.ts';
import { firstWorkerId, sessionId } from '../../core/ids.ts';
import type { SessionEvent } from '../../core/model/events.ts';
import type { JobOrigin } from '../../core/model/job-options.ts';
import type { Session, SessionSpec, Warm } from '../../core/model/session.ts';
import { newSession } from '../../core/model/updates.ts';
import { CurfewError } from '../../lib/errors.ts';
import { ADMISSION } from '../../lib/limits/session-limits.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';
import type { Returned } from './session-spec.ts';
import { hashBody, makeSpec, rejoinSpec } from './session-spec.ts';

interface Dispatched {
  readonly session: Session;
  readonly created: boolean;
}

/** The way by which a call arrived. */
export interface Origin {
  readonly job: JobOrigin | null;
  /** Whether the call may wait for a slot. A call from LiveKit's dispatch or a room pattern may not. */
  readonly mayQueue: boolean;
  /** How long the start waits for LiveKit's assignment before it continues without it; null: no assignment will come. */
  readonly assignedWithinMs: number | null;
}

/** A dispatch by a program or a person. */
const REQUESTED: Origin = { job: null, mayQueue: true, assignedWithinMs: null };

type DispatcherParts = Pick<
  SupervisorParts,
  'deps' | 'sessions' | 'transitions' | 'admission' | 'pool' | 'roomTokens'
>;

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #checkAccepting: () => void;
  /** Dispatches in progress, by the client's id. A repeat during that time waits for the first. */
  readonly #pending = new Map<string, { bodyHash: string; result: Promise<Dispatched> }>();

  /** `checkAccepting` throws when no new session is accepted. A repeat of an accepted dispatch still gets its answer. */
  constructor(parts: DispatcherParts, checkAccepting: () => void) {
    this.#parts = parts;
    this.#checkAccepting = checkAccepting;
  }

  async dispatch(request: DispatchRequest, origin: Origin = REQUESTED): Promise<Dispatched> {
    const { id } = request;
    if (id === undefined) return this.#create(request, origin);
    const bodyHash = hashBody(request);
    const pending = this.#pending.get(id);
    if (pending !== undefined) return repeat(await pending.result, bodyHash);
    const known = this.#parts.sessions.state(sessionId(id));
    if (known !== null) return repeat({ session: known, created: false }, bodyHash);
    const result = this.#findOrCreate(request, { bodyHash, origin });
    this.#pending.set(id, { bodyHash, result });
    try {
      return await result;
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Resolves when a dispatch in progress with this id has its answer. */
  async settled(id: string): Promise<void> {
    await this.#pending.get(id)?.result.catch(() => undefined);
  }

  async #findOrCreate(
    request: DispatchRequest,
    { bodyHash, origin }: { bodyHash: string; origin: Origin },
  ): Promise<Dispatched> {
    const recorded = await this.#parts.deps.registry.get(sessionId(request.id ?? ''));
    return recorded === null
      ? this.#create(request, origin)
      : repeat({ session: recorded, created: false }, bodyHash);
  }

  /** A caller has returned to the room of this session. Rejects when no session can begin. */
  async rejoin(before: Session, returned: Returned): Promise<Session> {
    this.#checkAccepting();
    const { deps } = this.#parts;
    const spec = rejoinSpec(before, { ...returned, deps, now: deps.clock.now() });
    const { metadata } = before.config;
    return (await this.#admit(spec, { metadata, mayQueue: false, assignedWithinMs: null })).session;
  }

  async #create(request: DispatchRequest, { job, mayQueue, assignedWithinMs }: Origin): Promise<Dispatched> {
    this.#checkAccepting();
    const { deps } = this.#parts;
    const spec = makeSpec(request, { deps, now: deps.clock.now(), job, isRequested: mayQueue });
    return this.#admit(spec, { metadata: request.metadata, mayQueue, assignedWithinMs });
  }

  async #admit(
    spec: SessionSpec,
    { metadata, mayQueue, assignedWithinMs }: Omit<Origin, 'job'> & { readonly metadata: Metadata },
  ): Promise<Dispatched> {
    const { roomTokens, deps, admission, pool, transitions: steps } = this.#parts;
    const { id: sessionId, claim } = spec;
    const warm = pool.take(spec.profile, sessionId);
    const answer = admission.request({
      sessionId,
      claim,
      quotas: quotasOf(spec),
      mayQueue,
      isWarm: warm !== null,
    });
    if (warm !== null && answer.kind !== 'granted') pool.giveBack(warm.id, sessionId);
    if (answer.kind === 'taken') throw roomTaken(spec.room.name, answer.holder);
    if (answer.kind === 'full') throw atCapacity(answer);
    const session = newSession(spec, metadata);
    // Because: the token of a session that waits in the queue could expire before the session starts.
    if (answer.kind === 'granted') roomTokens.prepare(session);
    const first = firstEvent(session, { answer, nowMs: deps.clock.now().bootMs, assignedWithinMs, warm });
    return { session: await steps.create(session, first), created: true };
  }
}

/** Admission's answer, as the session's first event. */
function firstEvent(
  { spec }: Session,
  {
    answer,
    nowMs,
    assignedWithinMs,
    warm,
  }: {
    answer: Extract<Answer, { kind: 'queued' | 'granted' }>;
    nowMs: number;
    assignedWithinMs: number | null;
    warm: Warm | null;
  },
): SessionEvent {
  if (answer.kind === 'queued') return { type: 'queued' };
  return {
    type: 'granted',
    startAtMs: answer.startAtMs,
    ...(assignedWithinMs === null ? {} : { assignedByMs: nowMs + assignedWithinMs }),
    workerId: warm?.id ?? firstWorkerId(spec.id),
    ...(warm === null ? {} : { warm: warm.process }),
  };
}

function roomTaken(room: string, holder: SessionId): CurfewError {
  return new CurfewError('room_taken', `room "${room}" already has session "${holder}"`, { holder });
}

function atCapacity({ quota, limit, used, holders }: Extract<Answer, { kind: 'full' }>): CurfewError {
  const detail = isHostQuota(quota)
    ? `limit "${quota}" is reached: ${hostUseText(quota, { limit, used })}`
    : `limit "${quota}" is reached: ${used} of ${limit} in use`;
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
