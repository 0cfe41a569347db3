/** The capacity of this host: slots in use and their holders, the queue, and every obstacle to new calls. */
import type { CapacityView, DrainView, ReadyView } from '../../api/host-schemas.ts';
import { isUnkillable } from '../../core/admission/allocation.ts';
import type { Session } from '../../core/model/session.ts';
import { publicState, workerOf } from '../../core/model/session.ts';
import { processOf } from '../../core/model/worker.ts';
import type { Rooms } from '../../ports/rooms.ts';
import type { Forwarding } from '../../ports/workers.ts';
import type { SupervisorParts } from '../supervisor-parts.ts';
import { heldView } from './session-view.ts';

export function capacityView(
  {
    deps,
    sessions,
    admission,
    recorder,
    pool,
    zygotes,
    workers,
    roomRouter,
  }: Pick<
    SupervisorParts,
    'deps' | 'sessions' | 'admission' | 'recorder' | 'pool' | 'zygotes' | 'workers' | 'roomRouter'
  >,
  { accepting, draining }: { accepting: boolean; draining: DrainView | null },
): CapacityView {
  const all = sessions.all();
  return {
    host: deps.host,
    accepting: accepting && draining === null,
    draining,
    quotas: admission.quotas(),
    queue: admission.queue(),
    load: admission.load(),
    sessions: countStates(all),
    unkillable: all
      .filter(isUnkillable)
      .map((one) => ({ session: one.spec.id, pid: processOf(workerOf(one))?.main?.pid ?? null })),
    held: heldOf({ deps, all }),
    livekit: livekitView(deps.rooms),
    jobs: (deps.jobs?.status() ?? []).map((one) => ({
      ...one,
      since: new Date(one.since.wallMs).toISOString(),
    })),
    warm: pool.views().map(({ notBeforeMs, ...one }) => {
      const inMs = Math.ceil(notBeforeMs - deps.clock.now().bootMs);
      return { ...one, startsAgainInMs: inMs > 0 ? inMs : null };
    }),
    zygotes: zygotes.views(),
    removedAgents: roomRouter?.removed.counts ?? null,
    registry: recorder.status,
    forwarding: forwardingView(workers.forwarding()),
  };
}

export function readyView(
  { deps, recorder }: Pick<SupervisorParts, 'deps' | 'recorder'>,
  accepting: boolean,
): ReadyView {
  // A host without LiveKit stays ready: live calls continue and new ones start. The answer shows LiveKit's state.
  return {
    ready: accepting && recorder.status.writable,
    accepting,
    livekit: livekitView(deps.rooms),
    registry: recorder.status,
  };
}

function countStates(all: readonly Session[]): CapacityView['sessions'] {
  const counts = { queued: 0, starting: 0, live: 0, closing: 0, released: 0, failed: 0 };
  for (const one of all) counts[publicState(one)] += 1;
  return counts;
}

function heldOf({
  deps,
  all,
}: {
  deps: SupervisorParts['deps'];
  all: readonly Session[];
}): CapacityView['held'] {
  const now = deps.clock.now();
  return all.flatMap((one) => {
    const held = heldView(one, now);
    return held === null ? [] : [{ session: one.spec.id, ...held }];
  });
}

function forwardingView(forwarding: Forwarding | null): CapacityView['forwarding'] {
  return forwarding && { ...forwarding, workers: [...forwarding.workers] };
}

function livekitView(rooms: Rooms | null): CapacityView['livekit'] {
  const status = rooms?.status() ?? null;
  if (status === null) return { configured: rooms !== null, reachable: null, since: null, error: null };
  return {
    configured: true,
    reachable: status.reachable,
    since: new Date(status.since.wallMs).toISOString(),
    error: status.lastError,
  };
}
