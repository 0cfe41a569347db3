/** Lists sessions: the pages of the registry, with the newer state from memory. */
import type { ListQuery, ReleaseMany } from '../../api/session-schemas.ts';
import type { SessionId } from '../../core/ids.ts';
import type { PublicState, Session } from '../../core/model/session.ts';
import { publicState } from '../../core/model/session.ts';
import { CurfewError } from '../../lib/errors.ts';
import type { Registry, SessionQuery } from '../../ports/registry.ts';

const OPEN: readonly PublicState[] = ['queued', 'starting', 'live', 'closing'];
const STATES: readonly string[] = [...OPEN, 'released', 'failed'];

export async function listSessions(
  registry: Registry,
  inMemory: { state(id: SessionId): Session | null },
  query: ListQuery,
): Promise<{ sessions: Session[]; nextCursor: string | null }> {
  const asked = toQuery(query);
  const page = await registry.list(asked);
  const sessions = page.sessions.map((one) => inMemory.state(one.spec.id) ?? one);
  const wanted =
    asked.states === undefined
      ? sessions
      : sessions.filter((one) => asked.states?.includes(publicState(one)));
  return { sessions: wanted, nextCursor: page.nextCursor };
}

function toQuery({ state, room, agent, user, label, limit, cursor }: ListQuery): SessionQuery {
  return {
    limit,
    ...(state === undefined ? {} : { states: readStates(state) }),
    ...(room === undefined ? {} : { room }),
    ...(agent === undefined ? {} : { agent }),
    ...(user === undefined ? {} : { user }),
    ...(label === undefined ? {} : { label: readLabel(label) }),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

function readStates(text: string): string[] {
  const names = text.split(',').flatMap((name): readonly string[] => (name === 'open' ? OPEN : [name]));
  const unknown = names.find((name) => !STATES.includes(name));
  if (unknown === undefined) return names;
  throw new CurfewError(
    'invalid_request',
    `state: "${unknown}" is not a state; known: open, ${STATES.join(', ')}`,
    { field: 'state' },
  );
}

function readLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new CurfewError('invalid_request', `label: "${text}" is not of the form key=value`, {
    field: 'label',
  });
}

/** Whether the filter excludes no session. */
export function isEmptyFilter({ room, agent, user, held }: ReleaseMany['filter']): boolean {
  return room === undefined && agent === undefined && user === undefined && held !== true;
}

export function matchesFilter(session: Session, filter: ReleaseMany['filter']): boolean {
  const { spec, phase } = session;
  const held = phase.name === 'live' && phase.inference?.heldUntilMs != null;
  return (
    (filter.room === undefined || filter.room === spec.room.name) &&
    (filter.agent === undefined || filter.agent === spec.profile.agent) &&
    (filter.user === undefined || filter.user === spec.user) &&
    (filter.held !== true || held)
  );
}
