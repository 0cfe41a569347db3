/** Marks the participants that a profile does not count as callers. Their attributes are dropped, so no record holds them. */
import { matchesWhole } from '../name-pattern.ts';
import type { IgnoreRule, Participant, RoomSnapshot } from './presence.ts';

export function markIgnored(participant: Participant, rule: IgnoreRule | undefined): Participant {
  const { attributes = {}, ignored: _old, ...facts } = participant;
  return rule !== undefined && isIgnored(facts.identity, attributes, rule)
    ? { ...facts, ignored: true }
    : facts;
}

/** A snapshot as a watch with this rule sees it, after the session. */
export function seenBy(snapshot: RoomSnapshot, rule: IgnoreRule | undefined): RoomSnapshot {
  const participants = snapshot.participants.map((one) => markIgnored(one, rule));
  return { ...snapshot, participants: markListeners(participants, rule) };
}

/** The same rule with listeners as callers. */
export function countingListeners({ identities, attributes }: IgnoreRule): IgnoreRule {
  return { identities, attributes };
}

/** For a room in which somebody may speak or write, now or earlier. In another room the listeners are all that the agent serves. */
export function markListeners(
  participants: readonly Participant[],
  rule: IgnoreRule | undefined,
): readonly Participant[] {
  if (rule?.listeners !== true) return participants;
  return participants.map((one) => (one.listens === true ? { ...one, ignored: true } : one));
}

function isIgnored(
  identity: string,
  attributes: Readonly<Record<string, string>>,
  rule: IgnoreRule,
): boolean {
  if (rule.identities.some((pattern) => matchesWhole(identity, pattern))) return true;
  return Object.entries(rule.attributes).some(([name, pattern]) => {
    const value = Object.hasOwn(attributes, name) ? attributes[name] : undefined;
    return value !== undefined && matchesWhole(value, pattern);
  });
}
