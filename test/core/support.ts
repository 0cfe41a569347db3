/** A virtual clock and small builders: a rule's test is a list of events with their times. */

import type { Stamp } from '../../src/core/ids.ts';
import { claimKey, sessionId, workerId } from '../../src/core/ids.ts';
import type { WorkerMessage } from '../../src/core/model/control-protocol.ts';
import type { Effect } from '../../src/core/model/effects.ts';
import type { SessionEvent } from '../../src/core/model/events.ts';
import type { Profile } from '../../src/core/model/profile.ts';
import type { Session, SessionSpec } from '../../src/core/model/session.ts';
import { workerOf } from '../../src/core/model/session.ts';
import { newSession } from '../../src/core/model/updates.ts';
import type { WorkerProcess } from '../../src/core/model/worker.ts';
import { channelOf, exitOf } from '../../src/core/model/worker.ts';
import type {
  DisconnectReason,
  Participant,
  RoomSnapshot,
  RoomWebhook,
} from '../../src/core/rooms/presence.ts';
import { nextTickMs } from '../../src/core/session/deadlines.ts';
import { decide } from '../../src/core/session/decide.ts';
import { DEFAULT_LADDER, DEFAULT_SESSION_LIMITS } from '../../src/lib/limits/session-limits.ts';

export const AGENT = 'agent-of-room';
export const WORKER = workerId('s1.1');
export const ROOM_SID = 'RM_1';
const BEAT_MS = 5000;
const WALL_MS = Date.UTC(2026, 10, 21);

export function at(bootMs: number): Stamp {
  return { bootMs, wallMs: WALL_MS + bootMs };
}

export function profile(more: Partial<Profile> = {}): Profile {
  return {
    agent: 'default',
    version: null,
    protocol: 'curfew',
    command: ['agent'],
    cwd: null,
    env: {},
    passEnv: [],
    limits: DEFAULT_SESSION_LIMITS,
    ladder: DEFAULT_LADDER,
    agentAbsentMs: 15_000,
    heartbeatStaleMs: 30_000,
    agentName: null,
    rooms: null,
    sideRooms: null,
    roomOnEnd: 'auto',
    onRefused: 'close',
    claim: 'room',
    replace: false,
    warm: 0,
    memoryBytes: null,
    cpuPercent: null,
    ...more,
  };
}

export function spec(more: Partial<SessionSpec> = {}): SessionSpec {
  const room = { project: 'default', name: 'room' };
  return {
    id: sessionId('s1'),
    clientId: false,
    bodyHash: 'hash',
    room,
    user: null,
    profile: profile(),
    limits: DEFAULT_SESSION_LIMITS,
    idleAsked: false,
    labels: {},
    createdAt: at(0),
    claim: claimKey(room, null),
    agentIdentity: AGENT,
    livekit: true,
    job: null,
    ...more,
  };
}

export const PROCESS: WorkerProcess = {
  main: { bootId: 'b', pid: 11, startTicks: 2 },
  shim: { bootId: 'b', pid: 10, startTicks: 1 },
};

export function participant(identity: string, more: Partial<Participant> = {}): Participant {
  return {
    identity,
    sid: `PA_${identity}`,
    kind: 'standard',
    state: 'active',
    hidden: false,
    recorder: false,
    agentGrant: false,
    sipCallStatus: null,
    audioTracks: 1,
    joinedAtWallMs: WALL_MS,
    ...more,
  };
}

export const agent = participant(AGENT, { kind: 'agent' });

/** A snapshot of the room with these participants. */
export function look(
  asOfMs: number,
  who: readonly Participant[],
  more: Partial<RoomSnapshot> = {},
): SessionEvent {
  return {
    type: 'room_snapshot',
    observation: {
      asOf: at(asOfMs),
      roomSid: ROOM_SID,
      roomCreatedWallMs: WALL_MS + 1,
      participants: who,
      ...more,
    },
  };
}

export function left(
  atMs: number,
  who: Participant,
  reason: DisconnectReason,
  roomSid = ROOM_SID,
): SessionEvent {
  return roomEvent({ kind: 'left', roomSid, participant: who, reason, at: at(atMs) });
}

export function joined(atMs: number, who: Participant, roomSid = ROOM_SID): SessionEvent {
  return roomEvent({ kind: 'joined', roomSid, participant: who, at: at(atMs) });
}

export function roomEvent(event: RoomWebhook): SessionEvent {
  return { type: 'room_event', event };
}

export function says(message: WorkerMessage, worker = WORKER): SessionEvent {
  return { type: 'message', workerId: worker, message };
}

export function exited(code: number | null, signal: string | null = null, worker = WORKER): SessionEvent {
  return { type: 'exited', workerId: worker, exit: { code, signal, at: at(0) } };
}

export const gone = (worker = WORKER): SessionEvent => ({ type: 'tree', workerId: worker, left: 0 });
export const release: SessionEvent = {
  type: 'release',
  reason: 'requested',
  by: { kind: 'token', name: 'ops' },
  detail: null,
};
export const shutdown: SessionEvent = { ...release, reason: 'shutdown' };

/** A session on the virtual clock. Between events it gets its ticks, as from the runtime's timers. */
export class Play {
  session: Session;
  nowMs = 0;
  /** Whether its worker sends heartbeats. */
  beats = true;
  #beatMs = 0;
  readonly effects: { readonly atMs: number; readonly effect: Effect }[] = [];

  constructor(session: Session) {
    this.session = session;
  }

  static queued(more: Partial<SessionSpec> = {}): Play {
    return new Play(newSession(spec(more), { lang: 'de' }));
  }

  /** Started at 0, its process running. */
  static starting(more: Partial<SessionSpec> = {}): Play {
    return Play.queued(more)
      .on(0, { type: 'granted', startAtMs: 0, workerId: WORKER })
      .on(0, { type: 'spawned', workerId: WORKER, process: PROCESS });
  }

  /** Live at 0 with an open channel. */
  static live(more: Partial<SessionSpec> = {}): Play {
    return Play.starting(more)
      .on(0, { type: 'channel', workerId: WORKER, open: true })
      .on(0, says({ type: 'ready' }));
  }

  on(atMs: number, event: SessionEvent): this {
    this.until(atMs);
    this.#decide(event);
    return this;
  }

  /** Lets time pass: every deadline gets its tick, and a worker that beats does so every 5 s. */
  until(atMs: number): this {
    for (;;) {
      const due = nextTickMs(this.session, this.nowMs) ?? Number.POSITIVE_INFINITY;
      const beat = this.#hears() ? this.#beatMs + BEAT_MS : Number.POSITIVE_INFINITY;
      const next = Math.max(this.nowMs, Math.min(due, beat));
      if (next > atMs) break;
      this.nowMs = next;
      if (beat <= due) {
        this.#beatMs = next;
        this.#decide(says({ type: 'heartbeat' }, this.worker?.id));
        continue;
      }
      const before = this.session;
      this.#decide({ type: 'tick' });
      // A deadline that stays where it is waits for an event, not for time.
      if (before === this.session && (nextTickMs(this.session, next) ?? Number.POSITIVE_INFINITY) <= next)
        break;
    }
    this.nowMs = Math.max(this.nowMs, atMs);
    return this;
  }

  #hears(): boolean {
    return (
      this.beats && channelOf(this.worker) === 'open' && exitOf(this.worker) === null && this.phase === 'live'
    );
  }

  #decide(event: SessionEvent): void {
    const { state, effects } = decide(this.session, event, at(this.nowMs));
    this.session = state;
    for (const effect of effects) this.effects.push({ atMs: this.nowMs, effect });
    for (const effect of effects)
      if (effect.do === 'ask_budget' && this.budget !== null)
        this.#decide({ type: 'budget', granted: this.budget });
  }

  /** The answer of the mass-end budget; null: none yet. */
  budget: boolean | null = true;

  silent(): this {
    this.beats = false;
    return this;
  }

  answering(budget: boolean | null): this {
    this.budget = budget;
    return this;
  }

  get phase(): Session['phase']['name'] {
    return this.session.phase.name;
  }

  get reason(): string | null {
    const { phase } = this.session;
    return phase.name === 'closing' || phase.name === 'ended' ? phase.ending.reason : null;
  }

  get ending() {
    const { phase } = this.session;
    return phase.name === 'closing' || phase.name === 'ended' ? phase.ending : null;
  }

  get ladder(): string[] {
    const { phase } = this.session;
    const records =
      phase.name === 'closing' ? phase.ladder.records : phase.name === 'ended' ? phase.records : [];
    return records.map((one) => `${one.step}:${one.outcome ?? '…'}`);
  }

  get worker() {
    return workerOf(this.session);
  }

  did(what: Effect['do']): { readonly atMs: number; readonly effect: Effect }[] {
    return this.effects.filter((one) => one.effect.do === what);
  }
}
