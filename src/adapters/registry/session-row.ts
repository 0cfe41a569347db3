/** Converts a session into its columns before it is sent to the registry's thread: text crosses faster than objects. */
import type { ClaimKey, SessionId } from '../../core/ids.ts';
import type { Session } from '../../core/model/session.ts';
import { publicState } from '../../core/model/session.ts';
import { toRecord } from '../../core/model/session-record.ts';
import type { DurableWrite } from '../../ports/registry.ts';

export interface SessionRow {
  readonly id: SessionId;
  readonly project: string;
  readonly room: string;
  readonly agent: string;
  readonly user: string | null;
  readonly state: string;
  readonly createdWallMs: number;
  readonly endedWallMs: number | null;
  /** JSON. */
  readonly labels: string;
  /** The whole session as JSON. */
  readonly body: string;
  readonly claim: ClaimKey | null;
}

export function rowOf({ session, claim }: DurableWrite): SessionRow {
  const { spec, endedAt } = session;
  return {
    id: spec.id,
    project: spec.room.project,
    room: spec.room.name,
    agent: spec.profile.agent,
    user: spec.user,
    state: publicState(session),
    createdWallMs: spec.createdAt.wallMs,
    endedWallMs: endedAt?.wallMs ?? null,
    labels: JSON.stringify(spec.labels),
    body: bodyOf(session),
    claim,
  };
}

const specs = new WeakMap<Session['spec'], string>();

/** The spec is half of a session and never changes, so its JSON is made once. */
function bodyOf(session: Session): string {
  const { spec, ...rest } = toRecord(session);
  const known = specs.get(session.spec) ?? JSON.stringify(spec);
  specs.set(session.spec, known);
  return `{"spec":${known},${JSON.stringify(rest).slice(1)}`;
}
