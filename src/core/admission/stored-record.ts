/** Reads stored records. A damaged record must not prevent the takeover of the others. */
import { z } from 'zod';
import type { Session } from '../model/session.ts';
import { publicState } from '../model/session.ts';
import type { SessionRecord } from '../model/session-record.ts';
import { fromRecord } from '../model/session-record.ts';
import type { RoomWatch } from '../rooms/kept-room.ts';
import { deadlines } from '../session/deadlines.ts';
import { allocationOf } from './allocation.ts';

const room = z.object({ project: z.string(), name: z.string() });

/** Checks only what tells a record from other data. curfew itself wrote the rest. */
const sessionSchema = z.looseObject({
  spec: z.looseObject({ id: z.string(), claim: z.string(), room }),
  phase: z.looseObject({ name: z.string() }),
});

const watchSchema = z.looseObject({ room, roomSid: z.string(), since: z.object({ bootMs: z.number() }) });

/** null: it is not a record, or a part that a takeover needs is missing. */
export function asSession(value: unknown): Session | null {
  if (!sessionSchema.safeParse(value).success) return null;
  try {
    const session = fromRecord(value as SessionRecord);
    // These functions read most of a session, and throw when a part is missing.
    return publicState(session) && allocationOf(session) !== undefined && deadlines(session) ? session : null;
  } catch {
    return null;
  }
}

export function asWatch(value: unknown): RoomWatch | null {
  return watchSchema.safeParse(value).success ? (value as RoomWatch) : null;
}
