/**
 * The ten promises of curfew, each with the checks of the simulation and the tests with real processes that hold it.
 * A check fails with `ID: CHECK` in front of its message. test/docs/promises.test.ts compares this table with the tree.
 */

export interface Entry {
  readonly says: string;
  /** Checks of the simulation, in test/sim. */
  readonly checks: readonly string[];
  /** File → titles of tests that run real processes. `…` stands for a part that a title computes. */
  readonly tests: Readonly<Record<string, readonly string[]>>;
  /** A part of the promise without any test yet. */
  readonly missing?: string;
}

export const PROMISES = {
  'one-live-worker-per-claim': {
    says: 'At most one worker of a claim can be in its room at any time, also after a restart or a crash in the middle of a start. An older one is finishing: LiveKit removed its agent, and only its callbacks run.',
    checks: [
      'a worker starts only when no other worker of its claim can be in the room',
      'only one agent of a claim is in its room',
      'a session is admitted only when its claim is free',
      'a start is on record before its process runs',
      'a claim is on record before its process runs',
      'a worker has one main process',
    ],
    tests: {
      'test/e2e/call.test.ts': [
        '100 dispatches at once start one worker for one room, and 100 workers for 100 rooms',
      ],
      'test/e2e/failpoints.test.ts': [
        'a supervisor that died at %s leaves no doubled and no lost worker',
        'a supervisor that died at %s and again at %s leaves no doubled and no lost worker',
      ],
      'test/e2e/restart.test.ts': ['a dispatch during a restart starts its worker once or not at all'],
      'test/e2e/chaos.test.ts': [
        'chaos leaks no process, doubles no worker, kills no bystander, and every reason is true',
      ],
    },
    missing: 'Several hosts that share claims do not exist yet.',
  },
  'every-tree-is-accounted-for': {
    says: 'curfew knows each process tree that it started, or ends it soon. It never ends a process, an agent or a room that is at work for another session or belongs to another program. Before each signal it checks the identity and the mark of the process.',
    checks: [
      'each tree belongs to a known session',
      'each tree is the current worker of its session',
      'each warm tree is in the pool or has a session',
      'an assigned worker has left the pool',
      'the supervisor knows each zygote',
      'a zygote that nobody wants ends',
      'a zygote or warm worker of an old profile ends',
      'no signal reaches a worker at work',
      'a cleanup leaves a worker at work alone',
      'no agent at work is removed from its room',
      'no room with a session at work is closed',
      'no process is left at the end',
      'TERM reaches the main process before the rest of its tree',
    ],
    tests: {
      'test/e2e/cleanup.test.ts': [
        'a cleanup without a supervisor ends an overdue worker, and the next supervisor names the reason',
        'a cleanup leaves a live session alone, and an unknown plan is refused',
        'a cleanup leaves the workers of another instance on the same host alone',
      ],
      'test/e2e/call.test.ts': [
        'a redial during a teardown is accepted, and that teardown leaves the new session alone',
      ],
      'test/e2e/chaos.test.ts': [
        'chaos leaks no process, doubles no worker, kills no bystander, and every reason is true',
      ],
      'test/systemd/cleanup.test.ts': [
        'curfew-cleanup.timer ends an overdue worker without a supervisor, and leaves the others',
      ],
    },
    missing:
      'The simulation reuses no pid, so only test/process and test/adapters show that identity and mark are checked before a signal.',
  },
  'every-wait-has-a-bound': {
    says: 'curfew waits for nothing without a time limit: a start, a teardown, a stop and a session all come to an end.',
    checks: [
      'a start ends within its bound',
      'a teardown ends within the sum of its bounds',
      'a stop ends within its bound',
      'a session ends at its maximum duration',
      'next sessions stay within their number and the rest of the maximum duration',
      'a released session begins its teardown',
      'errors in a row end a session at their limit',
      'a call whose callers have left ends',
      'every event of a session is handled',
      'every rejection is handled',
      'a run becomes quiet',
      'the warm pool waits for a zygote for a bounded time',
      'a removed agent that comes back is removed again',
      'every session has ended at the end',
    ],
    tests: {
      'test/e2e/workers.test.ts': [
        'the hostile worker %s ends within its ladder and leaves no process',
        'a worker that never closes is killed after each earlier step had its full time',
        'a worker that never becomes ready ends its session as start_timeout',
        'a session ends at its maximum duration',
      ],
      'test/e2e/limits.test.ts': ['a queued session ends as start_timeout after the queue timeout'],
    },
  },
  'unknown-is-not-gone': {
    says: 'No session ends because the supervisor died or was upgraded, the disk is full, or LiveKit does not answer. What curfew cannot explain stays alive.',
    checks: [
      'an absence is believed only when LiveKit shows it',
      'an accepted session is on record',
      'an accepted session is never lost',
    ],
    tests: {
      'test/e2e/restart.test.ts': [
        'a restarted supervisor adopts its workers with their pids and deadlines, ten times in a row',
        'a restarted supervisor leaves a worker without any record alone, and names it',
      ],
      'test/e2e/outage.test.ts': [
        'a call goes on while LiveKit is stopped for 10 s, and readyz says since when',
        'a caller keeps its session after 60 s without LiveKit, and a lost one has its grace from then on',
      ],
      'test/e2e/storage.test.ts': [
        'calls go on when the database is %s, and a restart finds them in the new one',
        'calls go on while the disk is full, new ones are refused, and the record is complete afterwards',
      ],
      'test/e2e/cleanup.test.ts': [
        'a cleanup without a supervisor and without a database ends nothing',
        'a cleanup leaves the sessions of a supervisor that hangs alone',
      ],
      'test/systemd/life.test.ts': [
        'a restart keeps each worker, its session and its /tmp, and is over only after the adoption',
      ],
    },
    missing: 'curfew uses no Redis yet.',
  },
  'reports-are-true': {
    says: 'curfew reports a session as live exactly as long as it is. A dry run of a cleanup names the same processes that the cleanup ends.',
    checks: [
      'a live session has a live worker',
      'an ended session has no live worker',
      'an ended session never lives again',
      'a dispatch with an id answers with that id',
      'a refusal has a documented code',
      'the supervisor remembers no session at the end',
    ],
    tests: {
      'test/e2e/cleanup.test.ts': [
        'a cleanup without a supervisor ends exactly the orphan of its plan, and reports the outcome',
      ],
      'test/e2e/restart.test.ts': [
        'a restarted supervisor reports the true exit of a worker that died meanwhile',
        'a session of a worker that died without a supervisor has the time of that death as its end',
      ],
      'test/e2e/workers.test.ts': [
        'a repeated id gives the same session for the same body, also after its end, and else a conflict',
      ],
    },
    missing: 'The simulation does not compare a dry run of a cleanup with the real one.',
  },
  'slots-and-claims-come-back': {
    says: 'A session holds its slots and its claim until its process tree is gone and its teardown is over, and no longer. A release works also at the limit.',
    checks: [
      'a claim is held until its worker is gone',
      'a slot is held until its tree is gone',
      'no limit is exceeded',
      'no slot belongs to an unknown or ended session',
      'every claim is free at the end',
      'every slot is free at the end',
      'the queue is empty at the end',
    ],
    tests: {
      'test/e2e/limits.test.ts': [
        'a slot is free only when the whole process tree of its session is gone',
        'a dispatch at the limit of its user is refused, and one of another user is not',
        'the queue serves its sessions in order, and a released one leaves it',
      ],
      'test/e2e/call.test.ts': ['a call ends after its caller hung up, and its room can be used again'],
    },
    missing: 'No test with real processes releases a session while every slot is in use.',
  },
  'workers-get-only-their-own-access': {
    says: "A worker has the access that its profile gives it and no other. No secret is in a log, an argument or an answer, and curfew's log names no room and no person.",
    checks: [
      'a worker gets tokens for its own room only',
      'a zygote holds no session',
      'the log names no room, person or secret',
    ],
    tests: {
      'test/e2e/workers.test.ts': ['a worker gets its own tokens and no secret of the supervisor'],
      'test/e2e/call.test.ts': ['a call ends after its caller hung up, and its room can be used again'],
    },
  },
  'livekit-agents-run-unchanged': {
    says: "An agent that LiveKit's own runner can run behaves the same under curfew: each job is answered, and each job has a process of its own.",
    checks: [
      'every offered job is answered',
      'a warm worker serves one job',
      'a zygote never fails a start',
      'a warm worker waits for its zygote',
      'a replacement takes a ready warm worker',
      'a new zygote renews the warm workers',
      'a renewal leaves as many warm workers ready',
      'a worker is forked from a zygote of its own profile',
      'a session gets a warm worker of its own profile',
      'an exception is replaced once, and no crash in a dialled call',
      'the welcome to the job of an agent names the job and takes its reports',
      'a rejected job ends its session',
      'a rejected job is offered to no other agent',
      'LiveKit hears the rejection of an agent that was asked',
      'a caller that returns gets a new session',
      'a next session begins only for a caller that returned to an open end',
      'a caller that is back has an agent that answers',
      'callbacks outside the room have the time of a wrap-up',
      'a profile without replacement has one run of its agent in a call',
    ],
    tests: {
      'test/e2e/livekit-agents.test.ts': [
        'an unchanged … agent keeps its call when the supervisor dies, and is replaced when it dies',
      ],
      'test/e2e/examples.test.ts': [
        'the … example answers its caller, uses its tool, and ends soon after the hang-up',
      ],
      'test/e2e/endings.test.ts': [
        'writes its notes to the end in each way a call can end, and the room does not wait for them',
      ],
      'test/e2e/jobs-many.test.ts': ['LiveKit shows each of … calls as success, with … at a time'],
    },
    missing: "One more call still costs more memory than under LiveKit's own runner.",
  },
  'no-mass-end': {
    says: 'Many sessions that seem to end at once are held, because one wrong answer of LiveKit could explain them all. An answer that is suddenly empty is unknown.',
    checks: ['inferred endings stay within the budget of the host'],
    tests: {
      'test/e2e/mass-end.test.ts': [
        'of … calls … lost ones end, … lost at once are held and named, and a person can release them',
      ],
    },
    missing: 'Empty lists of LiveKit come in the simulation and in test/core only.',
  },
  'every-ending-has-its-evidence': {
    says: 'An ended session shows its first cause, the fact that decided it, the actor, and each step with its time.',
    checks: ['the first cause of an ending stays', 'the reason of an ending is true'],
    tests: {
      'test/e2e/call.test.ts': ['a call ends after its caller hung up, and its room can be used again'],
      'test/e2e/workers.test.ts': [
        'a worker that ends with `%s` gives its session the matching reason and exit',
        'a session keeps its first cause when its worker dies during the teardown',
        'a worker that never closes is killed after each earlier step had its full time',
      ],
      'test/e2e/drain.test.ts': [
        'the audit file has each change by a person with targets and outcome, also without a supervisor',
      ],
    },
  },
} as const satisfies Readonly<Record<string, Entry>>;

export type PromiseId = keyof typeof PROMISES;

/** A promise and one of its checks: `ID: CHECK`. The compiler refuses a check that names no promise. */
export type CheckName = {
  readonly [Id in PromiseId]: `${Id}: ${(typeof PROMISES)[Id]['checks'][number]}`;
}[PromiseId];
