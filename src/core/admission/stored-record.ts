/** Whether what was stored is a record of ours: a damaged one must not keep the others from being taken over. */
import { z } from 'zod';
import type { Session } from '../model/session.ts';
import { publicState } from '../model/session.ts';
import type { SessionRecord } from '../model/session-record.ts';
import { fromRecord } from '../model/session-record.ts';
import type { RoomWatch } from '../rooms/kept-room.ts';
import { deadlines } from '../session/deadlines.ts';
import { allocationOf } from './allocation.ts';

const room = z.object({ project: z.string(), name: z.string() });

/** As deep as is needed to tell it from something else; the rest is curfew's own writing. */
const sessionSchema = z.looseObject({
  spec: z.looseObject({ id: z.string(), claim: z.string(), room }),
  phase: z.looseObject({ name: z.string() }),
});

const watchSchema = z.looseObject({ room, roomSid: z.string(), since: z.object({ bootMs: z.number() }) });

/** Null: it is none, or lacks what a takeover needs first. */
export function asSession(value: unknown): Session | null {
  if (!sessionSchema.safeParse(value).success) return null;
  try {
    const session = fromRecord(value as SessionRecord);
    // These read most of a session; of one that lacks a part they throw.
    return publicState(session) && allocationOf(session) !== undefined && deadlines(session) ? session : null;
  } catch {
    return null;
  }
}

export function asWatch(value: unknown): RoomWatch | null {
  return watchSchema.safeParse(value).success ? (value as RoomWatch) : null;
}
