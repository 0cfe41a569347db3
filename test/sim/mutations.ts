/** Rules of the core and the runtime. One change of the source text breaks each, and the simulation must find it. */

export interface Mutation {
  readonly rule: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    rule: 'a claim has one session',
    file: 'src/core/admission/admission.ts',
    from: 'if (taken !== null) return',
    to: 'if (taken === asked.sessionId) return',
  },
  {
    rule: 'a start waits for its durable record',
    file: 'src/runtime/sessions/commit.ts',
    from: 'await host.recorder.saveDurably(after);',
    to: 'void host.recorder.saveDurably(after).catch(() => undefined);',
  },
  {
    rule: 'the maximum duration counts from the first start',
    file: 'src/core/session/replacing.ts',
    from: 'return stay({ ...next, restarts',
    to: 'return stay({ ...next, startedAt: now, restarts',
  },
  {
    rule: 'a snapshot made after the deadline decides an absence',
    file: 'src/core/session/deadlines.ts',
    from: 'find((one) => asOfMs >= one.atMs)',
    to: 'find((one) => asOfMs >= one.atMs - 15_000)',
  },
  {
    rule: 'a teardown ends with KILL',
    file: 'src/core/teardown/steps.ts',
    from: "onTimeout: 'kill'",
    to: "onTimeout: 'over'",
  },
  {
    rule: 'a session holds its claim until its teardown is over',
    file: 'src/core/admission/allocation.ts',
    from: 'return { ...base, claim: claimOf(session), closing: true, quotas: closingQuotas(session) };',
    to: 'return { ...base, claim: null, closing: true, quotas: closingQuotas(session) };',
  },
  {
    rule: 'a claim passes on only when the agent is out and its callbacks run',
    file: 'src/core/teardown/finishing.ts',
    from: 'return isFinishing(session) ? withLadder(session, { claimPassed: true }) : session;',
    to: 'return withLadder(session, { claimPassed: true });',
  },
  {
    rule: 'a recorded start runs or fails, and never both',
    file: 'src/runtime/sessions/recovery.ts',
    from: 'const found = await search(parts, worker.id, known);',
    to: "const found: Found = known === null ? { kind: 'absent' } : await search(parts, worker.id, known);",
  },
  {
    rule: 'a replacement starts when the whole old tree is gone',
    file: 'src/core/session/replacing.ts',
    from: 'const old = isTreeGone(worker) ? null',
    to: 'const old = isTreeGone(worker) || exitOf(worker) !== null ? null',
  },
  {
    rule: 'errors in a row have a limit',
    file: 'src/core/session/apply-event.ts',
    from: 'consecutive: consecutive + 1',
    to: 'consecutive: Math.min(consecutive + 1, 0)',
  },
  {
    rule: 'the budget for inferred endings prevents a mass end',
    file: 'src/core/admission/mass-end-breaker.ts',
    from: '? { budget: { granted }, granted: false }',
    to: '? { budget: { granted }, granted: true }',
  },
  {
    rule: 'an ended session ignores later events',
    file: 'src/core/session/ended.ts',
    from: '  tick: factsOnly,',
    to: "  tick: (session) => stay({ ...session, phase: { name: 'queued', grant: null } }),",
  },
  {
    rule: 'a gap restarts the deadlines of absence and silence',
    file: 'src/core/session/apply-event.ts',
    from: 'return gap(session, now);',
    to: 'return session;',
  },
  {
    rule: 'a warm worker leaves the pool when its session begins',
    file: 'src/runtime/workers/warm-handoff.ts',
    from: 'worker.id !== workerOf(before)?.id',
    to: 'worker.id === reservedWorker(before)?.id',
  },
  {
    rule: 'a restarted supervisor adopts a reserved warm worker with its session',
    file: 'src/runtime/sessions/recovery.ts',
    from: 'return search(parts, reserved.id, reserved.process);',
    to: "return { kind: 'absent' };",
  },
  {
    rule: 'TERM goes to the main process first',
    file: 'src/core/teardown/process-track.ts',
    from: "return signal !== 'all' && worker?.stage",
    to: "return signal === 'all' && worker?.stage",
  },
  {
    rule: 'the rest of a tree has no TERM while its main process may end it in order',
    file: 'src/core/teardown/steps.ts',
    from: 'boundMs: ({ termMs }) => termMs - restOfTermMs(termMs),',
    to: 'boundMs: () => 100,',
  },
  {
    rule: 'a main process that exits with 0 before its job has crashed',
    file: 'src/core/model/endings.ts',
    from: "if (profile.protocol !== 'livekit' || ending.reason !== 'completed') return ending;",
    to: "if (profile.protocol !== 'curfew' || ending.reason !== 'completed') return ending;",
  },
  {
    rule: 'a replacement that cannot be recorded ends no live call',
    file: 'src/core/session/live.ts',
    from: 'return isUnrecorded === true',
    to: 'return isUnrecorded === null',
  },
  {
    rule: 'an exception is replaced once',
    file: 'src/core/session/replacing.ts',
    from: "return (session.replaced ?? []).some(({ why }) => why.cause === 'exception')",
    to: "return (session.replaced ?? []).some(({ why }) => why.cause === 'never')",
  },
  {
    rule: 'no crash in a dialled call is replaced',
    file: 'src/core/teardown/dialled.ts',
    from: 'return dialled === true || presence.outboundSeen === true;',
    to: 'return presence.outboundSeen === true;',
  },
  {
    rule: 'a dialled phone is on record before a crash can be replaced',
    file: 'src/core/model/session-record.ts',
    from: '...(dialled === true && { dialled }),',
    to: '',
  },
  {
    rule: 'a warm LiveKit agent gets the welcome of its session',
    file: 'src/core/session/start.ts',
    from: "return isWarm(phase.worker) && spec.profile.protocol === 'livekit' ? welcome(session) : [];",
    to: "return isWarm(phase.worker) && spec.profile.protocol === 'none' ? welcome(session) : [];",
  },
  {
    rule: 'a removed agent that comes back is removed again',
    file: 'src/runtime/sessions/transition-runner.ts',
    from: 'this.#parts.roomRouter?.removed.note(after);',
    to: 'void after;',
  },
  {
    rule: 'a restarted supervisor watches for the removed agents of the earlier one',
    file: 'src/runtime/rooms/room-router.ts',
    from: 'void this.removed.restore();',
    to: '',
  },
  {
    rule: 'a rejected job ends its session',
    file: 'src/core/session/handshake.ts',
    from: "if (answer.kind === 'rejected')",
    to: "if (answer.kind === 'rejected') return stay(session);\n  if (answer.kind === ('never' as string))",
  },
  {
    rule: 'only a rejection ends a session as declined',
    file: 'src/core/session/queued.ts',
    from: "if (answer.kind === 'accepted') return stay(",
    to: "if (answer.kind !== 'accepted') return stay(session);\n  if (answer.kind === ('never' as string)) return stay(",
  },
  {
    rule: 'LiveKit hears that the agent wants no other agent to be asked',
    file: 'src/runtime/dispatch/job-source.ts',
    from: "const isFinal = answer?.kind === 'rejected' && answer.isFinal;",
    to: 'const isFinal = false;',
  },
  {
    rule: 'the room of a session whose callers left is watched for their return',
    file: 'src/core/teardown/start-teardown.ts',
    from: 'stay(next, watchForReturn(next, now))',
    to: 'stay(next, [])',
  },
  {
    rule: 'a session that ended for another reason than its callers has no next one',
    file: 'src/core/teardown/rejoin-rule.ts',
    from: "reason === 'callers_left' ||",
    to: "reason === 'crashed' || reason === 'callers_left' ||",
  },
  {
    rule: 'a next session has the rest of the maximum duration',
    file: 'src/runtime/dispatch/rejoin-source.ts',
    from: 'const maxDurationMs = Math.min(before.spec.limits.maxDurationMs, restMs);',
    to: 'const { maxDurationMs } = before.spec.limits;',
  },
  {
    rule: 'a drain brings no next session',
    file: 'src/runtime/dispatch/dispatcher.ts',
    from: 'async rejoin(before: Session, returned: Returned): Promise<Session> {\n    this.#checkAccepting();',
    to: 'async rejoin(before: Session, returned: Returned): Promise<Session> {',
  },
  {
    rule: 'a call that was dialled out, or that a person dispatched, has no next session by itself',
    file: 'src/core/teardown/rejoin-rule.ts',
    from: 'session.spec.unasked === true && !wasDialled(session)',
    to: 'true',
  },
];
