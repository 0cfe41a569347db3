/** An agent's profile, which a session keeps from its admission to its end. Milliseconds and bytes. */

import type { LadderBounds, SessionLimits } from '../../lib/limits/session-limits.ts';
import type { IgnoreRule } from '../rooms/presence.ts';

/** `none` is level 0 (knows nothing of curfew), `curfew` level 1 (control socket), `livekit` an unchanged LiveKit agent. */
export type WorkerProtocol = 'none' | 'livekit' | 'curfew';

/** `auto`: where LiveKit's dispatch or a room pattern brought the session, and no call was dialled. `always`: after each dispatch. */
export type RejoinRule = 'auto' | 'always' | 'off';

export type RoomOnEnd = 'auto' | 'close' | 'keep';

/** The launcher's attachment informs. It ends a call only by what LiveKit's own runner would end, or by what the profile asks for. */
export interface AutoAttach {
  /** In place of `heartbeatStaleMs`. */
  readonly heartbeatStaleMs: number;
  /** Whether activity arms `idle_timeout`: the profile sets one. */
  readonly armsIdle: boolean;
}

/**
 * The access of a LiveKit agent. `full`: LiveKit's real address and keys, as under LiveKit's own runner.
 * `room`: keys of its own, with which curfew passes on calls for the rooms of its session.
 */
export type LiveKitAccess = 'full' | 'room';

/** LiveKit's address and keys. */
export interface LiveKitKeys {
  readonly url: string;
  readonly apiKey: string;
  readonly apiSecret: string;
}

export type PreforkMode = 'auto' | 'off';

export interface Profile {
  readonly agent: string;
  readonly version: string | null;
  readonly protocol: WorkerProtocol;
  readonly command: readonly [string, ...string[]];
  readonly cwd: string | null;
  readonly env: Readonly<Record<string, string>>;
  readonly passEnv: readonly string[];
  /** true: the worker gets the supervisor's whole environment, without curfew's own variables. Absent: false, as in 0.1.0. */
  readonly passAll?: boolean;
  /** A file of variables, read at each start of a worker. null or absent: none. */
  readonly envFile?: string | null;
  /** Absent: `room`, as in 0.1.0. */
  readonly livekitAccess?: LiveKitAccess;
  readonly limits: SessionLimits;
  readonly ladder: LadderBounds;
  readonly agentAbsentMs: number;
  readonly heartbeatStaleMs: number;
  /** The rules for a LiveKit agent that curfew's launcher attached; null or absent: the launcher attaches nothing. */
  readonly autoAttach?: AutoAttach | null;
  /** LiveKit's own dispatch finds the agent under this name. Empty: LiveKit's default agent, for every new room. null: LiveKit does not find it. */
  readonly agentName: string | null;
  /** New rooms with a matching name get a session; `*` matches any text. null: no rooms. */
  readonly rooms: string | null;
  /** Rooms beside a session's own, such as `{room}-human-agent`. curfew takes no call there, and their callers keep the session in use. */
  readonly sideRooms: string | null;
  readonly roomOnEnd: RoomOnEnd;
  readonly onRefused: 'close' | 'keep';
  /** `room`: one worker per room; `room+agent`: one of this agent's beside others. */
  readonly claim: 'room' | 'room+agent';
  /** Whether a crashed worker is replaced while a caller is there. */
  readonly replace: boolean;
  /** Also where the call was dialled out. Absent: no. */
  readonly replaceDialled?: true;
  /** How many workers are kept started and connected, without a room. */
  readonly warm: number;
  readonly memoryBytes: number | null;
  readonly cpuPercent: number | null;
  /** Whether a caller that returns after the session gets a new one. Absent: no, as in 0.1.0. */
  readonly rejoin?: RejoinRule;
  /** Absent: nobody is ignored. Profiles of 0.1.0 lack it. */
  readonly ignore?: IgnoreRule;
  /** Whether workers are forked from a zygote, where one is ready. Absent: `off`, as in 0.1.0. */
  readonly prefork?: PreforkMode;
  /** A zygote older than this is renewed. Absent: see `ZYGOTE.maxAgeMs`. */
  readonly preforkMaxAgeMs?: number;
  /** `worker`: each worker has a TMPDIR of its own. Absent in a record of 0.1.0, which means `shared`. */
  readonly tmp?: 'worker' | 'shared';
}

/** A profile of 0.1.0 grants the room alone. */
export function accessOf({ livekitAccess = 'room' }: Pick<Profile, 'livekitAccess'>): LiveKitAccess {
  return livekitAccess;
}
