import type { z } from 'zod';

/** Branded ids: the compiler refuses a session's id where a worker's id is needed. */
declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

export type SessionId = Brand<string, 'SessionId'>;
export type WorkerId = Brand<string, 'WorkerId'>;
export type InstanceId = Brand<string, 'InstanceId'>;
/** The exclusive right of a session: a room, or a room and an agent. */
export type ClaimKey = Brand<string, 'ClaimKey'>;

/** A LiveKit room. There is one project, `default`, and every key has a place for others. */
export interface RoomKey {
  readonly project: string;
  readonly name: string;
}

export function roomNamed(name: string): RoomKey {
  return { project: 'default', name };
}

/** One instant: `bootMs` on the host's boot-time clock (durations), `wallMs` since 1970 (people). */
export interface Stamp {
  readonly bootMs: number;
  readonly wallMs: number;
}

/** The boot time of a stamp of another boot, on the clock of this boot. Its own boot time says nothing here, so the wall clock converts it. */
export function bootMsByWallClock({ wallMs }: Pick<Stamp, 'wallMs'>, now: Stamp): number {
  return now.bootMs - (now.wallMs - wallMs);
}

/** JSON of a client, which curfew only passes on. */
export type Json = z.infer<ReturnType<typeof z.json>>;
export type Metadata = Readonly<Record<string, Json>>;

export function sessionId(text: string): SessionId {
  return text as SessionId;
}

export function workerId(text: string): WorkerId {
  return text as WorkerId;
}

/** A session's id, which may be the client's own, and the attempt. Always a plain file name. */
const WORKER_NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,149}$/;

/** Whether an external text, such as a mark or a folder's name, can be a worker's id. */
export function isWorkerName(text: string): boolean {
  return WORKER_NAME.test(text);
}

/** Worker ids are derived from the session's id, so that a person finds the worker of a session. */
export function workerIdOf(session: SessionId, attempt: number): WorkerId {
  return `${session}.${attempt}` as WorkerId;
}

export function firstWorkerId(session: SessionId): WorkerId {
  return workerIdOf(session, 1);
}

const WARM_PREFIX = 'warm-';

/** A warm worker has no session yet, so its id is its own. */
export function warmWorkerId(random: string): WorkerId {
  return `${WARM_PREFIX}${random}.1` as WorkerId;
}

export function isWarmId(id: string): boolean {
  return id.startsWith(WARM_PREFIX);
}

const ZYGOTE_PREFIX = 'zygote-';

/** A zygote never has a session, so its id is its own. */
export function zygoteId(random: string): WorkerId {
  return `${ZYGOTE_PREFIX}${random}.1` as WorkerId;
}

export function isZygoteId(id: string): boolean {
  return id.startsWith(ZYGOTE_PREFIX);
}

/** Reads a worker's id that a person typed; null: it cannot be one. */
export function readWorkerId(text: string): WorkerId | null {
  return /^[A-Za-z0-9][A-Za-z0-9._:-]{0,140}\.[1-9]\d{0,5}$/.test(text) ? (text as WorkerId) : null;
}

export function sessionOfWorker(worker: WorkerId): SessionId {
  return worker.slice(0, worker.lastIndexOf('.')) as SessionId;
}

export function instanceId(text: string): InstanceId {
  return text as InstanceId;
}

/** One string per room, safe as a map key. JSON keeps the two parts apart. */
export function roomId(room: RoomKey): string {
  return JSON.stringify([room.project, room.name]);
}

export function claimKey(room: RoomKey, agent: string | null): ClaimKey {
  return JSON.stringify(
    agent === null ? [room.project, room.name] : [room.project, room.name, agent],
  ) as ClaimKey;
}
