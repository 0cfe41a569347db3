/** An ended session: nothing changes for the public. A worker that outlived its session is followed to its end. */
import type { Stamp, WorkerId } from '../ids.ts';
import type { Effect } from '../model/effects.ts';
import type { SessionIn, StepRecord } from '../model/session.ts';
import type { Next } from '../model/updates.ts';
import { endingOf, enterPhase, stay } from '../model/updates.ts';
import type { Worker } from '../model/worker.ts';
import { isTreeGone } from '../model/worker.ts';
import { endWatch } from '../teardown/rejoin-rule.ts';
import { applyEvent } from './apply-event.ts';
import type { HandlerTable } from './handler-table.ts';
import { factsOnly } from './handler-table.ts';

type Ended = SessionIn<'ended'>;

export const ENDED: HandlerTable<'ended'> = {
  spawned: (session, event, now) =>
    stay(applyEvent(session, event, now), killLateSpawn(session.phase, event.workerId)),
  spawn_failed: (session, event, now) => stay(applyEvent(session, event, now)),
  tree: (session, event, now) => stay(applyEvent(session, event, now)),
  queued: factsOnly,
  warm_taken: factsOnly,
  record_failed: factsOnly,
  granted: factsOnly,
  assigned: factsOnly,
  job_terminated: factsOnly,
  job_withdrawn: factsOnly,
  attached: factsOnly,
  answered: factsOnly,
  expired: factsOnly,
  tick: factsOnly,
  not_started: factsOnly,
  assign_failed: factsOnly,
  channel: factsOnly,
  message: factsOnly,
  exited: factsOnly,
  host_lost: factsOnly,
  room_snapshot: factsOnly,
  side_room_snapshot: factsOnly,
  room_webhook: factsOnly,
  livekit: factsOnly,
  release: (session, event) => stay(session, endWatch(session, event.reason)),
  claim_wanted: factsOnly,
  keep_alive: factsOnly,
  metadata: factsOnly,
  budget: factsOnly,
  room_step: factsOnly,
  gap: factsOnly,
  resources: factsOnly,
};

/** Race: the spawn succeeded after the teardown had stopped waiting for it. */
export function killLateSpawn({ worker }: { readonly worker: Worker | null }, born: WorkerId): Effect[] {
  return worker?.id === born && !isTreeGone(worker)
    ? [{ do: 'signal', workerId: born, signal: 'SIGKILL' }]
    : [];
}

/** Without its first record nothing was accepted and nothing was started, so nothing is torn down. */
export function endUnrecorded(
  session: SessionIn<'queued' | 'starting'>,
  detail: string,
  now: Stamp,
): Next<Ended> {
  const ending = endingOf('crashed', now, { cause: 'record_failed', detail });
  return stay(
    enterPhase<'ended'>(
      session,
      { name: 'ended', ending, worker: null, records: [], roomEnd: null },
      { startedAt: null, liveAt: null, endedAt: now },
    ),
  );
}

/** After a reboot no process is left to tear down. A session that was closing already keeps its first cause. */
export function loseHost(
  session: SessionIn<'queued' | 'starting' | 'live' | 'closing'>,
  now: Stamp,
): Next<Ended> {
  const { phase } = session;
  const lost = endingOf('node_lost', now, { cause: 'reboot', detail: 'the host was rebooted' });
  const records: readonly StepRecord[] = phase.name === 'closing' ? phase.ladder.records : [];
  const { startedAt, liveAt } = session;
  return stay(
    enterPhase<'ended'>(
      session,
      {
        name: 'ended',
        ending: phase.name === 'closing' ? phase.ending : lost,
        worker: null,
        records,
        roomEnd: null,
      },
      { startedAt, liveAt, endedAt: now },
    ),
  );
}
