/**
 * A session as it lies on disk, in the registry and in the workers' folders. The format is that of version 0.1.0.
 * An upgrade reads what 0.1.0 wrote, and a downgrade reads what this version writes. So names here never follow the model.
 */
import type { Json, Stamp, WorkerId } from '../ids.ts';
import type { MemoryMeasure } from '../memory-sample.ts';
import type { Departure, Presence } from '../rooms/presence.ts';
import type { Ending, Phase, PhaseOf, Session, TimesIn, Vitals, Work } from './session.ts';
import type { ExitInfo, Worker, WorkerProcess } from './worker.ts';
import { channelOf, exitOf, hasFailed, isTreeGone, isWarm, processOf } from './worker.ts';

interface WorkerRecord {
  readonly id: WorkerId;
  readonly attempt: number;
  readonly spawnedAt: Stamp;
  readonly readyByMs: number | null;
  readonly process: WorkerProcess | null;
  readonly channel: 'none' | 'open' | 'lost';
  readonly exit: ExitInfo | null;
  readonly treeGone: boolean;
  readonly warm?: true;
  readonly failed?: true;
}

type Replacing = Extract<Work, { kind: 'replacing' }>;
type Old = NonNullable<Replacing['old']>;
type Unsure = NonNullable<Replacing['unsure']>;
type Recorded<T extends { readonly worker: Worker }> = Omit<T, 'worker'> & { readonly worker: WorkerRecord };

type WorkRecord =
  | { readonly kind: 'running'; readonly worker: WorkerRecord }
  | (Omit<Replacing, 'old' | 'unsure'> & {
      readonly old: Recorded<Old> | null;
      readonly unsure?: Recorded<Unsure> | null;
    });

type PhaseRecord =
  | PhaseOf<'queued'>
  | { readonly name: 'starting'; readonly startedAt: Stamp; readonly worker: WorkerRecord }
  | (Omit<PhaseOf<'live'>, 'work'> & Omit<TimesIn['live'], 'endedAt'> & { readonly work: WorkRecord })
  | (Omit<PhaseOf<'closing'>, 'worker'> &
      Omit<TimesIn['closing'], 'endedAt'> & { readonly worker: WorkerRecord | null })
  | (Omit<PhaseOf<'ended'>, 'worker'> & TimesIn['ended'] & { readonly worker: WorkerRecord | null });

interface PresenceRecord extends Omit<Presence, 'departures' | 'agentGone'> {
  readonly departures: readonly (Omit<Departure, 'source'> & {
    readonly source: 'participant_left' | 'look';
  })[];
  readonly agentGone: { readonly sinceMs: number; readonly looks: number } | null;
}

interface VitalsRecord extends Omit<Vitals, 'pollAskedMs' | 'resources'> {
  /** Without `measure`: the sum of resident memory, as 0.1.0 sampled it. */
  readonly resources: {
    readonly rssBytes: number;
    readonly measure?: MemoryMeasure;
    readonly cpuPercent: number;
  } | null;
  readonly lookAskedMs: number | null;
}

export interface SessionRecord
  extends Omit<Session, 'phase' | 'startedAt' | 'liveAt' | 'endedAt' | 'presence' | 'vitals'> {
  readonly phase: PhaseRecord;
  readonly presence: PresenceRecord;
  readonly vitals: VitalsRecord;
}

/** Because: it runs with every change of a session, and a spread is faster than a rest. */
export function toRecord(session: Session): SessionRecord {
  const { errors, restarts, replaced, dialled, warmWorker, warmLater, presence, config, vitals } = session;
  return {
    spec: specRecord(session.spec),
    phase: phaseRecord(session),
    errors,
    restarts,
    ...(replaced !== undefined && { replaced }),
    ...(dialled === true && { dialled }),
    warmWorker,
    ...(warmLater !== undefined && { warmLater }),
    presence: presenceRecord(presence),
    config,
    vitals: vitalsRecord(vitals),
  };
}

/**
 * Leaves the only secret in LiveKit's message about a job out: the room's password for TURN.
 * `env` of the profile stays, because a restart needs the pinned profile. So secrets belong into `env_file`.
 */
function specRecord(spec: Session['spec']): Session['spec'] {
  const { job } = spec;
  const room = job?.message?.room;
  if (job == null || room == null || typeof room !== 'object' || !('turnPassword' in room)) return spec;
  const { turnPassword: _secret, ...rest } = room as { readonly [key: string]: Json };
  return { ...spec, job: { ...job, message: { ...job.message, room: rest } } };
}

/** Throws for a record that lacks a part. */
export function fromRecord(record: SessionRecord): Session {
  const { phase, presence, vitals, ...rest } = record;
  const { lookAskedMs: pollAskedMs, resources, ...otherVitals } = vitals;
  return {
    ...rest,
    phase: phaseOf(phase),
    startedAt: 'startedAt' in phase ? phase.startedAt : null,
    liveAt: 'liveAt' in phase ? phase.liveAt : null,
    endedAt: 'endedAt' in phase ? phase.endedAt : null,
    presence: presenceOf(presence),
    vitals: { ...otherVitals, pollAskedMs, resources: resourcesOf(resources) },
  };
}

function vitalsRecord(vitals: Vitals): VitalsRecord {
  return {
    heartbeatMs: vitals.heartbeatMs,
    dumpAskedMs: vitals.dumpAskedMs,
    idleAtMs: vitals.idleAtMs,
    warnedMaxDuration: vitals.warnedMaxDuration,
    lookAskedMs: vitals.pollAskedMs,
    heldBefore: vitals.heldBefore,
    resources: vitals.resources && resourcesRecord(vitals.resources),
    overMemorySinceMs: vitals.overMemorySinceMs,
    // 0.1.0 has none of these and ignores them.
    attachedBy: vitals.attachedBy,
    activityMs: vitals.activityMs,
    usedMs: vitals.usedMs,
    toolsSinceMs: vitals.toolsSinceMs,
    agentSessions: vitals.agentSessions,
    loopBlockedMs: vitals.loopBlockedMs,
  };
}

function resourcesRecord({
  memory: { bytes, measure },
  cpuPercent,
}: NonNullable<Vitals['resources']>): VitalsRecord['resources'] {
  return { rssBytes: bytes, ...(measure !== 'rss' && { measure }), cpuPercent };
}

function resourcesOf(record: VitalsRecord['resources']): Vitals['resources'] {
  if (record === null) return null;
  const { rssBytes: bytes, measure = 'rss', cpuPercent } = record;
  return { memory: { bytes, measure }, cpuPercent };
}

/** The times lie in the phases there. */
function phaseRecord({ phase, startedAt, liveAt, endedAt }: Session): PhaseRecord {
  switch (phase.name) {
    case 'queued':
      return phase;
    case 'starting':
      return { name: 'starting', startedAt: known(startedAt), worker: workerRecord(phase.worker) };
    case 'live': {
      const times = { startedAt: known(startedAt), liveAt: known(liveAt) };
      return { ...phase, ...times, work: workRecord(phase.work) };
    }
    case 'closing': {
      const ladder = { ...phase.ladder, process: stepRecord(phase.ladder.process) };
      const ending = endingRecord(phase.ending);
      const worker = phase.worker && workerRecord(phase.worker);
      return { ...phase, ladder, startedAt, liveAt, ending, worker };
    }
    case 'ended': {
      const times = { startedAt, liveAt, endedAt: known(endedAt) };
      const ending = endingRecord(phase.ending);
      return { ...phase, ...times, ending, worker: phase.worker && workerRecord(phase.worker) };
    }
  }
}

/** 0.1.0 does not know the reason `declined`. Its cause stays and brings the reason back. */
function endingRecord(ending: Ending): Ending {
  return ending.reason === 'declined' ? { ...ending, reason: 'completed' } : ending;
}

function endingIn(ending: Ending): Ending {
  return ending.cause === 'declined' && ending.reason === 'completed'
    ? { ...ending, reason: 'declined' }
    : ending;
}

function known(at: Stamp | null): Stamp {
  if (at === null) throw new Error('a time is missing that every session of this phase has');
  return at;
}

function phaseOf(record: PhaseRecord): Phase {
  switch (record.name) {
    case 'queued':
      return record;
    case 'starting':
      return { name: 'starting', worker: workerIn(record.worker) };
    case 'live': {
      const { startedAt: _started, liveAt: _live, ...phase } = record;
      return { ...phase, work: workIn(record.work) };
    }
    case 'closing': {
      const { startedAt: _started, liveAt: _live, ...phase } = record;
      const ladder = { ...phase.ladder, process: stepIn(phase.ladder.process) };
      const worker = record.worker && workerIn(record.worker);
      return { ...phase, ladder, ending: endingIn(record.ending), worker };
    }
    case 'ended': {
      const { startedAt: _started, liveAt: _live, endedAt: _ended, ...phase } = record;
      return { ...phase, ending: endingIn(record.ending), worker: record.worker && workerIn(record.worker) };
    }
  }
}

/** 0.1.0 does not know the second part of TERM, so that `rest` marks it. */
function stepRecord<T extends { readonly step: string }>(at: T): T {
  return at.step === 'term_rest' ? { ...at, step: 'term', rest: true } : at;
}

function stepIn<T extends { readonly step: string; readonly rest?: true }>({
  rest,
  ...at
}: T): Omit<T, 'rest'> {
  return rest === true ? { ...at, step: 'term_rest' } : at;
}

function workRecord(work: Work): WorkRecord {
  if (work.kind === 'running') return { kind: 'running', worker: workerRecord(work.worker) };
  const { old, unsure, ...rest } = work;
  return {
    ...rest,
    old: old && { ...stepRecord(old), worker: workerRecord(old.worker) },
    ...(unsure !== undefined && { unsure: unsure && { ...unsure, worker: workerRecord(unsure.worker) } }),
  };
}

function workIn(record: WorkRecord): Work {
  if (record.kind === 'running') return { kind: 'running', worker: workerIn(record.worker) };
  const { old, unsure, ...rest } = record;
  return {
    ...rest,
    old: old && { ...stepIn(old), worker: workerIn(old.worker) },
    ...(unsure !== undefined && { unsure: unsure && { ...unsure, worker: workerIn(unsure.worker) } }),
  };
}

/** 0.1.0 never reads the channel of a worker without a tree. */
function workerRecord(worker: Worker): WorkerRecord {
  const { id, attempt, spawnedAt, readyByMs } = worker;
  return {
    id,
    attempt,
    spawnedAt,
    readyByMs,
    process: processOf(worker),
    channel: channelOf(worker),
    exit: exitOf(worker),
    treeGone: isTreeGone(worker),
    ...(isWarm(worker) && { warm: true }),
    ...(hasFailed(worker) && { failed: true }),
  };
}

function workerIn(record: WorkerRecord): Worker {
  const { id, attempt, spawnedAt, readyByMs, process, channel, exit } = record;
  const start = { id, attempt, spawnedAt, readyByMs };
  const warm = record.warm !== true ? null : record.failed === true ? 'failed' : 'sound';
  if (record.treeGone) return { stage: 'gone', ...start, process, exit, warm };
  if (exit !== null) return { stage: 'exited', ...start, process, exit, channel, warm };
  return process === null
    ? { stage: 'launching', ...start, channel }
    : { stage: 'running', ...start, process, channel, warm };
}

function presenceRecord(presence: Presence): PresenceRecord {
  const { departures, agentGone } = presence;
  return {
    ...presence,
    departures: departures.map(({ source, ...departure }) => ({
      ...departure,
      source: source === 'snapshot' ? 'look' : source,
    })),
    agentGone: agentGone === null ? null : { sinceMs: agentGone.sinceMs, looks: agentGone.polls },
  };
}

function presenceOf({ departures, agentGone, ...rest }: PresenceRecord): Presence {
  return {
    ...rest,
    departures: departures.map(({ source, ...departure }) => ({
      ...departure,
      source: source === 'look' ? 'snapshot' : source,
    })),
    agentGone: agentGone === null ? null : { sinceMs: agentGone.sinceMs, polls: agentGone.looks },
  };
}
