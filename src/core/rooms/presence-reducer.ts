/** Folds snapshots and webhooks into the presence of a room. Only this file sets the clocks of absence. */
import { PRESENCE } from '../../lib/limits/room-limits.ts';
import type { SessionLimits } from '../../lib/limits/session-limits.ts';
import type { Stamp } from '../ids.ts';
import { markIgnored, markListeners } from './ignored.ts';
import type {
  Departure,
  DisconnectReason,
  Participant,
  PendingWebhook,
  Presence,
  PresenceContext,
  RoomSnapshot,
  RoomWebhook,
} from './presence.ts';
import { isCallersKind, NO_PRESENCE, onSide, sideOf } from './presence.ts';

/** How many webhooks, departures and old rooms a session keeps. */
const MAX_KEPT = 64;

/** A hang-up is final. A removed participant, or one of a closed room, does not come back either. */
const FINAL: readonly DisconnectReason[] = [
  'client_initiated',
  'user_unavailable',
  'user_rejected',
  'participant_removed',
  'room_deleted',
  'room_closed',
];

function isFinal(reason: DisconnectReason): boolean {
  return FINAL.includes(reason);
}

/** Takes in a snapshot. A snapshot that is older than the last one, or than the session, changes nothing. */
export function applySnapshot(
  presence: Presence,
  polled: RoomSnapshot,
  context: PresenceContext,
  now: Stamp,
): Presence {
  const snapshot = {
    ...polled,
    participants: polled.participants.map((one) => markIgnored(one, context.ignore)),
  };
  const sinceMs = (presence.asOf ?? context.createdAt).bootMs;
  if (snapshot.asOf.bootMs < sinceMs) return presence;
  const known = isOfOlderRoom(presence, snapshot) ? forgotten(presence) : presence;
  const hints = known.hints.filter((one) => one.atMs > snapshot.asOf.bootMs);
  const participants = withHints(snapshot.participants, hints);
  const missing = known.participants.filter(
    (one) =>
      isCallersKind(one, context.agentIdentity) &&
      !participants.some((other) => other.identity === one.identity),
  );
  const next: Presence = {
    ...known,
    asOf: snapshot.asOf,
    source: 'poll',
    hints,
    roomThere: snapshot.roomSid !== null,
    ...roomOf(known, snapshot, context),
    departures: missing.reduce((gone, one) => noteMissing(gone, one, now), known.departures),
    participants,
  };
  return countAll(known, next, context, { now, isSnapshot: true });
}

/** Race: late webhooks of an older room came before the first snapshot. They are all that is known until then. */
function isOfOlderRoom({ asOf, roomSid }: Presence, snapshot: RoomSnapshot): boolean {
  return asOf === null && roomSid !== null && snapshot.roomSid !== null && snapshot.roomSid !== roomSid;
}

function forgotten({ reachable, floorMs }: Presence): Presence {
  return { ...NO_PRESENCE, reachable, floorMs };
}

function withHints(polled: readonly Participant[], hints: readonly PendingWebhook[]): Participant[] {
  return hints.reduce(applyPending, [...polled]);
}

function applyPending(participants: Participant[], pending: PendingWebhook): Participant[] {
  const { participant } = pending;
  // Race: a late `left` of an older connection must not remove the newer one. So compare sids.
  if (!pending.joined) return participants.filter((one) => one.sid !== participant.sid);
  return [...participants.filter((one) => one.identity !== participant.identity), participant];
}

function roomOf(presence: Presence, snapshot: RoomSnapshot, context: PresenceContext) {
  const { roomSid } = snapshot;
  const changed = presence.roomSid !== null && roomSid !== null && roomSid !== presence.roomSid;
  return {
    roomSid: roomSid ?? presence.roomSid,
    oldSids:
      changed && presence.roomSid !== null
        ? [...presence.oldSids, presence.roomSid].slice(-MAX_KEPT)
        : presence.oldSids,
    roomOrigin: presence.roomOrigin === 'unknown' ? originOf(snapshot, context) : presence.roomOrigin,
  };
}

/** A room that was not there when the session was created was made for the session. */
function originOf(snapshot: RoomSnapshot, context: PresenceContext): Presence['roomOrigin'] {
  if (snapshot.roomSid === null || snapshot.roomCreatedWallMs === null) return 'session';
  return snapshot.roomCreatedWallMs >= context.createdAt.wallMs ? 'session' : 'other';
}

function noteMissing(known: readonly Departure[], one: Participant, now: Stamp): readonly Departure[] {
  if (known.some((departure) => departure.sid === one.sid)) return known;
  const departure: Departure = {
    identity: one.identity,
    sid: one.sid,
    kind: 'lost',
    reason: 'unknown',
    source: 'snapshot',
    at: now,
    ...phoneMark(one),
  };
  return [...known, departure].slice(-MAX_KEPT);
}

function phoneMark({ kind }: Participant): Pick<Departure, 'phone'> {
  return kind === 'sip' ? { phone: true } : {};
}

/** Takes in a webhook. The sid tells events of an older room of the same name. */
export function applyWebhook(presence: Presence, event: RoomWebhook, context: PresenceContext): Presence {
  const { roomSid } = event;
  if (presence.oldSids.includes(roomSid)) return presence;
  if (presence.roomSid !== null && presence.roomSid !== roomSid) return presence;
  switch (event.kind) {
    case 'changed':
      return presence;
    case 'finished':
      return presence.roomSid === null ? presence : { ...presence, finished: { roomSid, at: event.at } };
    case 'joined':
      return hintJoined(
        { ...presence, roomSid, roomThere: true },
        markIgnored(event.participant, context.ignore),
        event.at,
        context,
      );
    case 'left':
      return hintLeft(
        presence,
        { ...event, participant: markIgnored(event.participant, context.ignore) },
        context,
      );
  }
}

function hintJoined(
  presence: Presence,
  participant: Participant,
  at: Stamp,
  context: PresenceContext,
): Presence {
  const entry: PendingWebhook = { atMs: at.bootMs, joined: true, participant };
  const next: Presence = {
    ...presence,
    source: 'webhook',
    hints: [...presence.hints, entry].slice(-MAX_KEPT),
    participants: applyPending([...presence.participants], entry),
    agentLeft: participant.identity === context.agentIdentity ? null : presence.agentLeft,
  };
  return countAll(presence, next, context, { now: at, isSnapshot: false });
}

/** Sets the clocks of absence for `next`, and notes callers that are back since `before`. */
function countAll(
  before: Presence,
  next: Presence,
  context: PresenceContext,
  when: { now: Stamp; isSnapshot: boolean },
): Presence {
  const seen = withoutListeners(next, context);
  return recount(noteReturn(before, seen, { context, now: when.now }), context, when);
}

/** Once a caller was there that may speak or write, participants that only listen keep no call. */
function withoutListeners(presence: Presence, { agentIdentity, ignore }: PresenceContext): Presence {
  const isSpeaker = (one: Participant) => one.listens !== true && sideOf(one, agentIdentity) === 'caller';
  if (presence.speakerSeen !== true && !presence.participants.some(isSpeaker)) return presence;
  return { ...presence, speakerSeen: true, participants: markListeners(presence.participants, ignore) };
}

/** Callers are back, and each of them is on a new connection. A page that loads again between two polls has another sid. */
function noteReturn(
  before: Presence,
  after: Presence,
  { context, now }: { context: PresenceContext; now: Stamp },
): Presence {
  const sidsOf = (presence: Presence, side: 'caller' | 'ringing') =>
    onSide(presence, context.agentIdentity, side).map(({ sid }) => sid);
  const [talking, ringing] = [sidsOf(before, 'caller'), sidsOf(before, 'ringing')];
  const present = sidsOf(after, 'caller');
  // The caller of a next session was seen before its begin, so the first sight of the caller is no return.
  const hasLeft = (before.callersSeen && before.goneSinceMs !== null) || before.departures.length > 0;
  // An AgentSession also closes itself when a phone that still rang has left.
  const wereSeen = talking.length + ringing.length > 0 || hasLeft;
  // The first caller can be a phone that picks up. That is no return.
  const isFirstPickUp = present.some((sid) => ringing.includes(sid)) && !hasLeft && !context.isMute;
  const isBack =
    wereSeen && present.length > 0 && !isFirstPickUp && !present.some((sid) => talking.includes(sid));
  // While a supervisor is away, a caller may come, leave and come back. Then it hears of the close before it sees a caller.
  const isFirst = context.isMute && !before.callersSeen && before.returnedMs === undefined;
  return isBack || (isFirst && present.length > 0) ? { ...after, returnedMs: now.bootMs } : after;
}

function hintLeft(
  presence: Presence,
  event: Extract<RoomWebhook, { kind: 'left' }>,
  context: PresenceContext,
): Presence {
  const { participant, reason, at } = event;
  const newer = presence.participants.find(
    (one) => one.identity === participant.identity && one.sid !== participant.sid,
  );
  if (newer !== undefined) return presence;
  const entry: PendingWebhook = { atMs: at.bootMs, joined: false, participant };
  const kind = isFinal(reason) ? 'left' : 'lost';
  const departure: Departure = {
    identity: participant.identity,
    sid: participant.sid,
    kind,
    reason,
    source: 'participant_left',
    at,
    ...phoneMark(participant),
  };
  // The last webhook can lack the participant's attributes. So use the known ones.
  const was = presence.participants.find((one) => one.sid === participant.sid) ?? participant;
  const mattered = isCallersKind(was, context.agentIdentity);
  const others = presence.departures.filter((one) => one.sid !== participant.sid);
  const missed = presence.departures.find((one) => one.sid === participant.sid && one.source === 'snapshot');
  // LiveKit sometimes answers with an empty list. A later participant_left proves that poll wrong, so count absence from the webhook.
  const wasThere = missed !== undefined && at.wallMs + PRESENCE.webhookGrainMs > missed.at.wallMs;
  const ours =
    participant.identity === context.agentIdentity &&
    reason === 'client_initiated' &&
    isOfThisSession(presence, participant, context);
  const next: Presence = {
    ...presence,
    source: 'webhook',
    hints: [...presence.hints, entry].slice(-MAX_KEPT),
    departures: mattered ? [...others, departure].slice(-MAX_KEPT) : others,
    participants: applyPending([...presence.participants], entry),
    goneSinceMs: wasThere && presence.goneSinceMs !== null ? at.bootMs : presence.goneSinceMs,
    agentLeft: ours ? { at } : presence.agentLeft,
  };
  return recount(next, context, { now: at, isSnapshot: false });
}

/** All sessions of a room use one agent identity. Race: LiveKit can report minutes late that the agent of the last session left. */
function isOfThisSession(
  { participants }: Presence,
  { sid, joinedAtWallMs }: Participant,
  { createdAt }: PresenceContext,
): boolean {
  return participants.some((one) => one.sid === sid) || joinedAtWallMs >= createdAt.wallMs;
}

/** Sets the clocks of absence from the present participants. */
function recount(
  presence: Presence,
  context: PresenceContext,
  when: { now: Stamp; isSnapshot: boolean },
): Presence {
  const sides = presence.participants.map((one) => ({ one, side: sideOf(one, context.agentIdentity) }));
  const callers = sides.filter(({ side }) => side === 'caller');
  const ringing = sides.filter(({ side }) => side === 'ringing');
  const ownAgent = sides.some(({ side }) => side === 'own_agent');
  const anyAgent = ownAgent || sides.some(({ side }) => side === 'agent');
  const callersSeen = presence.callersSeen || callers.length > 0;
  const phoneSeen = presence.phoneSeen || ringing.length > 0 || callers.some(({ one }) => one.kind === 'sip');
  const agentSeen = presence.agentSeen || ownAgent;
  const someone = callers.length > 0 || (!callersSeen && ringing.length > 0);
  const missed = callersSeen || (phoneSeen && ringing.length === 0);
  const silent = callers.length > 0 && callers.every(({ one }) => one.audioTracks === 0);
  // A worker can join under its own identity. Until our identity was seen once, any agent counts.
  const agentThere = agentSeen ? ownAgent : anyAgent;
  return {
    ...presence,
    ...(presence.participants.some((one) => one.outbound === true) && { outboundSeen: true }),
    callersSeen,
    phoneSeen,
    agentSeen,
    departures: presence.departures.filter(
      (gone) => !callers.some(({ one }) => one.identity === gone.identity),
    ),
    goneSinceMs: !someone && missed ? (presence.goneSinceMs ?? when.now.bootMs) : null,
    silentSinceMs: silent ? (presence.silentSinceMs ?? when.now.bootMs) : null,
    agentGone: callers.length > 0 && !agentThere ? countAgentGone(presence.agentGone, when) : null,
    agentLeft: ownAgent ? null : presence.agentLeft,
  };
}

function countAgentGone(
  before: Presence['agentGone'],
  when: { now: Stamp; isSnapshot: boolean },
): Presence['agentGone'] {
  const polls = (before?.polls ?? 0) + (when.isSnapshot ? 1 : 0);
  return { sinceMs: before?.sinceMs ?? when.now.bootMs, polls };
}

/** LiveKit answers again. Absent callers get the grace of a lost connection from now. */
export function reachableAgain(presence: Presence, context: PresenceContext, now: Stamp): Presence {
  return restartAbsence({ ...presence, reachable: true }, now, now.bootMs + context.callersLostMs);
}

/** Absence counts from `now` again. `floorMs` is the earliest end for the absence of a first caller. */
export function restartAbsence(presence: Presence, now: Stamp, floorMs: number): Presence {
  const { bootMs } = now;
  return {
    ...presence,
    floorMs,
    restartedMs: bootMs,
    goneSinceMs: presence.goneSinceMs === null ? null : bootMs,
    departures: presence.departures.map((one) => ({ ...one, kind: 'lost' as const, at: now })),
    silentSinceMs: presence.silentSinceMs === null ? null : bootMs,
    agentGone: null,
  };
}

type Graces = Pick<SessionLimits, 'callersLeftMs' | 'phonesLeftMs'>;

/** The grace after the hang-up of a phone. Without a grace by kind all callers have the same. */
export function phoneGraceMs({ callersLeftMs, phonesLeftMs = callersLeftMs }: Graces): number {
  return phonesLeftMs;
}

/** The end of the grace after hang-ups. Each caller can return within the grace of its kind. */
export function graceEndMs({ departures, goneSinceMs }: Presence, last: Departure, limits: Graces): number {
  const graceMs = (one: Departure) => (one.phone === true ? phoneGraceMs(limits) : limits.callersLeftMs);
  const ends = departures.filter((one) => one.kind === 'left').map((one) => one.at.bootMs + graceMs(one));
  return Math.max((goneSinceMs ?? 0) + graceMs(last), ...ends);
}

/**
 * The departure that decides the grace. A lost connection within its grace outweighs hang-ups. null: nobody departed when the room
 * became empty of callers, so the last one lost only its permission to speak.
 */
export function decidingDeparture(presence: Presence, lostMs: number): Departure | null {
  const since = presence.goneSinceMs;
  const recent = presence.departures.filter((one) => since === null || one.at.bootMs > since - lostMs);
  const last = presence.departures.findLast(
    (one) => since === null || one.at.bootMs >= since - PRESENCE.webhookGrainMs,
  );
  return recent.findLast((one) => one.kind === 'lost') ?? last ?? null;
}
