/**
 * A session as it lies on disk, in the registry and in the workers' folders. The format is that of version 0.1.0.
 * An upgrade reads what 0.1.0 wrote, and a downgrade reads what this version writes. So names here never follow the model.
 */
import type { Departure, Presence } from '../rooms/presence.ts';
import type { Session, Vitals } from './session.ts';

interface DepartureRecord extends Omit<Departure, 'source'> {
  readonly source: 'participant_left' | 'look';
}

interface PresenceRecord extends Omit<Presence, 'departures' | 'agentGone'> {
  readonly departures: readonly DepartureRecord[];
  readonly agentGone: { readonly sinceMs: number; readonly looks: number } | null;
}

interface VitalsRecord extends Omit<Vitals, 'pollAskedMs'> {
  readonly lookAskedMs: number | null;
}

export interface SessionRecord extends Omit<Session, 'presence' | 'vitals'> {
  readonly presence: PresenceRecord;
  readonly vitals: VitalsRecord;
}

/** `spec` stays the same object, so that its text can be kept. */
export function toRecord(session: Session): SessionRecord {
  const { presence, vitals, ...rest } = session;
  const { pollAskedMs: lookAskedMs, ...otherVitals } = vitals;
  return {
    ...rest,
    presence: presenceRecord(presence),
    vitals: { ...otherVitals, lookAskedMs },
  };
}

/** Throws for a record that lacks a part. */
export function fromRecord(record: SessionRecord): Session {
  const { presence, vitals, ...rest } = record;
  const { lookAskedMs: pollAskedMs, ...otherVitals } = vitals;
  return { ...rest, presence: presenceOf(presence), vitals: { ...otherVitals, pollAskedMs } };
}

function presenceRecord({ departures, agentGone, ...rest }: Presence): PresenceRecord {
  return {
    ...rest,
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
