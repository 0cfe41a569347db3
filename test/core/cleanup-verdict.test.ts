/** The verdicts of a cleanup: which process is ended, which is left, and why. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WorkerId } from '../../src/core/ids.ts';
import { instanceId, workerIdOf } from '../../src/core/ids.ts';
import type { Reason } from '../../src/core/model/reasons.ts';
import type { Session } from '../../src/core/model/session.ts';
import type { Worker } from '../../src/core/model/worker.ts';
import { matchesPattern } from '../../src/core/name-pattern.ts';
import type {
  CleanupRules,
  InstanceFate,
  ListedProcess,
  WorkerTree,
} from '../../src/core/workers/cleanup-verdict.ts';
import { judge } from '../../src/core/workers/cleanup-verdict.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = 100 * HOUR_MS;
const at = (agoMs: number) => ({ bootMs: NOW_MS - agoMs, wallMs: 0 });
const RULES: CleanupRules = {
  nowMs: NOW_MS,
  graceMs: 60_000,
  supervised: false,
  spared: new Set(),
  strangersOlderThanMs: null,
  abandonedDir: null,
};

function member(part: Partial<ListedProcess> = {}): ListedProcess {
  return {
    pid: 100,
    startTicks: 7,
    evidence: 'mark',
    leader: null,
    ageMs: HOUR_MS,
    command: 'agent',
    rssBytes: 0,
    own: true,
    livekit: null,
    ...part,
  };
}

function worker(session: Session, attempt = 1): Worker {
  const id = workerIdOf(session.spec.id, attempt);
  return {
    stage: 'launching',
    id,
    attempt,
    spawnedAt: at(HOUR_MS),
    readyByMs: null,
    channel: 'none',
  };
}

function live(id: string, { agoMs = HOUR_MS, attempt = 1, room = id, heartbeatAgoMs = 0 } = {}): Session {
  const session = sessionOf({ id, room });
  return {
    ...session,
    vitals: { ...session.vitals, heartbeatMs: heartbeatAgoMs === 0 ? null : NOW_MS - heartbeatAgoMs },
    startedAt: at(agoMs),
    liveAt: at(agoMs),
    phase: {
      name: 'live',
      work: { kind: 'running', worker: worker(session, attempt) },
      inference: null,
    },
  };
}

function ended(id: string, reason: Reason): Session {
  const session = sessionOf({ id, endedWallMs: 1 });
  if (session.phase.name !== 'ended') throw new Error('not ended');
  return { ...session, phase: { ...session.phase, ending: { ...session.phase.ending, reason } } };
}

function closing(id: string, stepAgoMs: number): Session {
  const session = sessionOf({ id });
  return {
    ...session,
    startedAt: at(HOUR_MS),
    liveAt: at(HOUR_MS),
    phase: {
      name: 'closing',
      ending: { reason: 'requested', cause: 'release', at: at(HOUR_MS), by: null, detail: null },
      worker: worker(session),
      ladder: {
        process: { step: 'kill', deadlineMs: NOW_MS - stepAgoMs },
        room: { step: 'over', deadlineMs: 0 },
        records: [],
        unkillable: false,
        wrapUp: false,
        successor: false,
        roomEnd: null,
      },
    },
  };
}

function tree(session: Session | null, { attempt = 1, ageMs = HOUR_MS } = {}): WorkerTree {
  const workerId = session === null ? ('lost.1' as WorkerId) : workerIdOf(session.spec.id, attempt);
  return { workerId, session, warm: null, members: [member({ ageMs })] };
}

const said = (trees: WorkerTree[], rules: Partial<CleanupRules> = {}) =>
  judge({ trees, strangers: [], foreign: [] }, { ...RULES, ...rules }).map(
    ({ kind, action }) => `${kind} ${action}`,
  );

describe('a warm worker without a session', () => {
  const warm = (kind: WorkerTree['warm'], ageMs = HOUR_MS) => ({ ...tree(null, { ageMs }), warm: kind });

  it('gets no verdict while a pool holds it', () => {
    expect(said([warm('pooled')])).toEqual([]);
  });

  it('is ended when its living supervisor does not hold it', () => {
    expect(said([warm('stray')], { supervised: true })).toEqual(['orphan kill']);
    expect(said([warm('stray', 1000)], { supervised: true })).toEqual(['orphan leave']);
  });

  it('is left for the next start when its supervisor does not live', () => {
    expect(said([warm('stray')], { supervised: false })).toEqual(['orphan leave']);
  });
});

describe('a worker of ours', () => {
  it.each([
    ['whose session lives', [tree(live('a'))], []],
    ['whose session ended', [tree(ended('a', 'callers_left'))], ['orphan kill']],
    ['whose session nothing could end', [tree(ended('a', 'unkillable'))], ['stuck kill']],
    ['that no record explains', [tree(null)], ['orphan leave']],
    [
      'whose session ended, but that is young',
      [tree(ended('a', 'crashed'), { ageMs: 59_999 })],
      ['orphan leave'],
    ],
    ['in a teardown within its bounds', [tree(closing('a', -1000))], []],
    ['in a teardown just over its bounds', [tree(closing('a', 60_000))], []],
    ['in a teardown that nobody is at', [tree(closing('a', 60_001))], ['stuck kill']],
    ['in the last second of its maximum', [tree(live('a', { agoMs: 2 * HOUR_MS - 1000 }))], []],
    ['past its maximum, in its ladder', [tree(live('a', { agoMs: 2 * HOUR_MS + 30_000 }))], []],
    ['past its maximum and ladder', [tree(live('a', { agoMs: 3 * HOUR_MS }))], ['overdue kill']],
    [
      'replaced by another, which lives',
      [tree(live('a', { attempt: 2 })), tree(live('a', { attempt: 2 }), { attempt: 2 })],
      ['doubled kill'],
    ],
    ['replaced by another, which does not live', [tree(live('a', { attempt: 2 }))], ['orphan kill']],
    ['of an attempt that its session does not know yet', [tree(live('a'), { attempt: 2 })], ['orphan leave']],
    [
      'in a room that has two sessions',
      [tree(live('a', { room: 'r' })), tree(live('b', { room: 'r' }))],
      ['doubled leave', 'doubled leave'],
    ],
  ])('%s', (_name, trees, verdicts) => {
    expect(said(trees)).toEqual(verdicts);
  });

  it('of a living supervisor is left while its session is open', () => {
    const supervised = { supervised: true };
    expect(said([tree(live('a', { agoMs: 3 * HOUR_MS }))], supervised)).toEqual(['overdue leave']);
    expect(said([tree(live('a', { heartbeatAgoMs: HOUR_MS }))], supervised)).toEqual(['stuck leave']);
    expect(said([tree(live('a', { heartbeatAgoMs: 5_000 }))], supervised)).toEqual([]);
    expect(said([tree(ended('a', 'requested'))], supervised)).toEqual(['orphan kill']);
    expect(said([tree(closing('a', 70_000))], supervised)).toEqual(['stuck kill']);
  });

  it('of a living supervisor is silent beyond its limit only after the limit of the launcher, where the launcher is attached', () => {
    const session = live('a', { heartbeatAgoMs: 100_000 });
    const attached: Session = {
      ...session,
      spec: {
        ...session.spec,
        profile: { ...session.spec.profile, autoAttach: { heartbeatStaleMs: 60_000, armsIdle: false } },
      },
      vitals: { ...session.vitals, attachedBy: 'launcher' },
    };
    expect(said([tree(session)], { supervised: true })).toEqual(['stuck leave']);
    expect(said([tree(attached)], { supervised: true })).toEqual([]);
  });

  it('is left, with the reason, when the asking command runs in it', () => {
    const trees = [tree(ended('a', 'requested')), tree(live('b'))];
    const judged = (spared: number) =>
      judge({ trees, strangers: [], foreign: [] }, { ...RULES, supervised: true, spared: new Set([spared]) });
    expect(judged(100)).toMatchObject([
      { action: 'leave', why: expect.stringContaining('this command runs in it') },
    ]);
    expect(judged(101)).toMatchObject([{ action: 'kill' }]);
  });

  it('that was silent while no supervisor lived is not stuck', () => {
    expect(said([tree(live('a', { heartbeatAgoMs: HOUR_MS }))])).toEqual([]);
  });
});

describe('an unmanaged process', () => {
  const judged = (part: Partial<ListedProcess>, olderThanMs: number | null, isProtected = false) =>
    judge(
      { trees: [], strangers: [{ members: [member(part)], isProtected }], foreign: [] },
      { ...RULES, strangersOlderThanMs: olderThanMs },
    ).map((one) => one.action)[0];

  it('is ended only if a person asked and it is old enough, and never if it is of another user or this command', () => {
    expect(judged({}, null)).toBe('leave');
    expect(judged({}, HOUR_MS)).toBe('kill');
    expect(judged({}, HOUR_MS + 1)).toBe('leave');
    expect(judged({ ageMs: 59_000 }, 0)).toBe('leave');
    expect(judged({ own: false }, 0)).toBe('leave');
    expect(judged({}, 0, true)).toBe('leave');
  });
});

describe('a pattern', () => {
  it.each([
    ['python voice_agent.py --room a', 'voice_agent.py', true],
    ['python voice_agent.py --room a', 'python*agent.py', true],
    ['python voice_agent.py --room a', 'agent.py*python', false],
    ['python voice_agent.py', 'Voice', false],
    ['a', '*', true],
  ])('%s ~ %s: %s', (line, pattern, matches) => {
    expect(matchesPattern(line, pattern)).toBe(matches);
  });

  it('matches any text as a person reads it', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.array(fc.string()), (parts, fill) => {
        const line = parts.flatMap((part, index) => [part, fill[index] ?? '']).join('');
        return (
          matchesPattern(line, parts.map((part) => part.replaceAll('*', '')).join('*')) ||
          parts.some((one) => one.includes('*'))
        );
      }),
    );
  });
});

describe('a worker of another instance', () => {
  const judged = (fate: InstanceFate, rules: Partial<CleanupRules> = {}, part: Partial<ListedProcess> = {}) =>
    judge(
      {
        trees: [],
        strangers: [],
        foreign: [
          {
            instanceId: instanceId('other'),
            workerId: workerIdOf(sessionOf({ id: 's-1' }).spec.id, 1),
            fate,
            members: [member(part)],
          },
        ],
      },
      { ...RULES, ...rules },
    ).map(({ kind, action }) => `${kind} ${action}`);
  const gone = { kind: 'gone', stateDir: '/tmp/curfew-run-1' } as const;
  const allowed = { abandonedDir: gone.stateDir };

  it('gets no verdict while its supervisor lives, also if a person asks for the end', () => {
    expect(judged({ kind: 'supervised' }, allowed)).toEqual([]);
  });

  it('is shown when its supervisor is gone, and ended only if a person asks for it', () => {
    expect(judged(gone)).toEqual(['abandoned leave']);
    expect(judged(gone, { abandonedDir: '/tmp/curfew-run-2' })).toEqual(['abandoned leave']);
    expect(judged(gone, allowed)).toEqual(['abandoned kill']);
  });

  it.each([
    ['its supervisor is not known to be gone', { kind: 'unknown', stateDir: null, why: 'x' }, allowed, {}],
    ['another user runs it', gone, allowed, { own: false }],
    ['it is younger than the grace', gone, allowed, { ageMs: 1000 }],
    ['the asking command runs in it', gone, { ...allowed, spared: new Set([100]) }, {}],
  ] as const)('is left if %s', (_why, fate, rules, part) => {
    expect(judged(fate, rules, part)).toEqual(['abandoned leave']);
  });
});
