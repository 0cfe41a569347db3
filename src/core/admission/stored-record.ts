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

const stamp = z.looseObject({ bootMs: z.number(), wallMs: z.number() });
const identity = z.looseObject({ bootId: z.string(), pid: z.number(), startTicks: z.number() });
const process = z.looseObject({ main: identity.nullable(), shim: identity });

/** Complete, because adoption and every signal depend on it. */
const worker = z.looseObject({
  id: z.string(),
  attempt: z.number(),
  spawnedAt: stamp,
  readyByMs: z.number().nullable(),
  process: process.nullable(),
  channel: z.enum(['none', 'open', 'lost']),
  exit: z.looseObject({ code: z.number().nullable(), signal: z.string().nullable(), at: stamp }).nullable(),
  treeGone: z.boolean(),
});

const work = z.discriminatedUnion('kind', [
  z.looseObject({ kind: z.literal('running'), worker }),
  z.looseObject({
    kind: z.literal('replacing'),
    old: z.looseObject({ worker }).nullable(),
    unsure: z.looseObject({ worker }).nullish(),
  }),
]);

const grant = z.looseObject({ workerId: z.string(), warm: process.nullish() });

/** Checks the parts that a takeover relies on. curfew itself wrote the rest. */
const sessionSchema = z.looseObject({
  spec: z.looseObject({ id: z.string(), claim: z.string(), room }),
  phase: z.discriminatedUnion('name', [
    z.looseObject({ name: z.literal('queued'), grant: grant.nullable() }),
    z.looseObject({ name: z.literal('starting'), worker }),
    z.looseObject({ name: z.literal('live'), work }),
    z.looseObject({ name: z.literal('closing'), worker: worker.nullable() }),
    z.looseObject({ name: z.literal('ended'), worker: worker.nullable() }),
  ]),
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
