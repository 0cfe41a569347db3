/** The recorder over a registry that answers when the test says so. */
import { describe, expect, it } from 'vitest';
import type { SessionId } from '../../src/core/ids.ts';
import type { Session } from '../../src/core/model/session.ts';
import { isIn } from '../../src/core/model/session.ts';
import { CurfewError } from '../../src/lib/errors.ts';
import { DEFAULT_SESSION_LIMITS } from '../../src/lib/limits/session-limits.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Registry } from '../../src/ports/registry.ts';
import { Recorder, recordNeed } from '../../src/runtime/sessions/recorder.ts';
import { agent, at, gone, look, Play, participant, profile, release, says } from '../core/support.ts';
import { recordingLog } from '../support/lib/test-logs.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

/** A request to the registry that waits for the test's answer. */
interface RegistryRequest {
  readonly what: string;
  readonly id: SessionId;
  isAnswered: boolean;
  answer(error?: Error): void;
}

const away = () => new CurfewError('registry_unavailable', 'the registry: no answer in time');

function setUp() {
  const requests: RegistryRequest[] = [];
  const alarms: (() => void)[] = [];
  const forgotten: SessionId[] = [];
  const ask = (what: string, id: SessionId) =>
    new Promise<void>((resolve, reject) => {
      const answer = (error?: Error) => (error === undefined ? resolve() : reject(error));
      requests.push({ what, id, isAnswered: false, answer });
    });
  const registry: Partial<Registry> = {
    create: ({ session }) => ask('create', session.spec.id),
    save: ({ session }) => ask('save', session.spec.id),
    discard: (id) => ask('discard', id),
    probe: () => ask('probe', 'none' as SessionId),
  };
  const clock: Clock = {
    now: () => ({ bootMs: 0, wallMs: 0 }),
    at: (_, callback) => {
      alarms.push(callback);
      return () => alarms.splice(alarms.indexOf(callback), 1);
    },
  };
  const { log, entries } = recordingLog();
  const deps = { registry: registry as Registry, clock, log };
  const recorder = new Recorder(deps, (id) => forgotten.push(id));
  /** Answers the oldest open request of this kind; an error is the registry's refusal. */
  const answer = (what: string, id: string, error?: Error) => {
    const open = requests.find((one) => one.what === what && one.id === id && !one.isAnswered);
    if (open === undefined) throw new Error(`no open request: ${what} ${id}`);
    open.isAnswered = true;
    open.answer(error);
  };
  const asked = () => requests.map(({ what, id }) => `${what} ${id}`);
  /** Fires all alarms. */
  const ring = () => {
    for (const alarm of alarms.splice(0)) alarm();
  };
  return { recorder, answer, asked, forgotten, ring, entries };
}

const ended = sessionOf({ id: 's-1', endedWallMs: 1 });
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('a delayed record', () => {
  it('keeps its session in memory until it is written, also after several failures', async () => {
    const { recorder, answer, forgotten, ring } = setUp();
    const step = recorder.saveStep(ended, () => ended);
    ring();
    await step;
    expect(recorder.isUnsaved(ended.spec.id)).toBe(true);
    answer('save', 's-1', away());
    await settled();
    ring();
    expect(recorder.isUnsaved(ended.spec.id)).toBe(true);
    answer('save', 's-1', away());
    await settled();
    ring();
    answer('save', 's-1');
    await settled();
    expect(recorder.isUnsaved(ended.spec.id)).toBe(false);
    expect(forgotten).toEqual(['s-1']);
  });

  it('that fails after the supervisor has closed is no error for a person', async () => {
    const { recorder, answer, asked, ring, entries } = setUp();
    const step = recorder.saveStep(ended, () => ended);
    ring();
    await step;
    recorder.close();
    answer('save', 's-1', away());
    await settled();
    ring();
    expect([asked(), entries]).toEqual([['save s-1'], []]);
  });

  it('is written before the first record of the next claim holder, so that a crash leaves one holder only', async () => {
    const { recorder, answer, asked, ring } = setUp();
    const step = recorder.saveStep(ended, () => ended);
    ring();
    await step;
    answer('save', 's-1', away());
    await settled();
    void recorder.create(sessionOf({ id: 's-2' }));
    expect(asked()).toEqual(['save s-1', 'probe none', 'save s-1', 'create s-2']);
  });

  it('is discarded when its session was refused for the failure, and the discard is retried until it succeeds', async () => {
    const { recorder, answer, asked, ring } = setUp();
    const created = recorder.create(sessionOf({ id: 's-2' }));
    answer('create', 's-2', away());
    await expect(created).rejects.toThrow('no answer');
    answer('discard', 's-2', away());
    await settled();
    ring();
    expect(asked()).toEqual(['create s-2', 'discard s-2', 'probe none', 'discard s-2']);
  });
});

describe('a registry that failed a write', () => {
  it('is probed automatically, also when no record waits', async () => {
    const { recorder, answer, asked, ring } = setUp();
    const created = recorder.create(sessionOf({ id: 's-4' }));
    answer('create', 's-4', away());
    await expect(created).rejects.toThrow('no answer');
    answer('discard', 's-4');
    await settled();
    expect(recorder.status.writable).toBe(false);
    ring();
    expect(asked()).toEqual(['create s-4', 'discard s-4', 'probe none']);
    answer('probe', 'none', away());
    await settled();
    ring();
    answer('probe', 'none');
    await settled();
    expect(recorder.status).toMatchObject({ writable: true, error: null });
    ring();
    expect(asked()).toHaveLength(4);
  });
});

describe('a conflict in the registry', () => {
  it('counts as an answer, so that the registry stays writable', async () => {
    const { recorder, answer, asked } = setUp();
    const created = recorder.create(sessionOf({ id: 's-3' }));
    answer('create', 's-3', new CurfewError('room_taken', 'it is taken'));
    await expect(created).rejects.toThrow('taken');
    expect(recorder.status.writable).toBe(true);
    expect(asked()).toHaveLength(1);
  });
});

describe('a start while the registry still records its claim for the last holder', () => {
  const taken = () => new CurfewError('room_taken', 'it is taken');

  it('is recorded after the record of the holder, and the registry stays writable', async () => {
    const { recorder, answer, asked } = setUp();
    const next = sessionOf({ id: 's-5' });
    const holder = recorder.saveStep(ended, () => ended);
    answer('save', 's-1', taken());
    await holder;
    const saved = recorder.saveDurably(next);
    answer('save', 's-5', taken());
    await settled();
    expect(asked()).toEqual(['save s-1', 'save s-5', 'save s-1']);
    answer('save', 's-1');
    await settled();
    answer('save', 's-5');
    await saved;
    expect(asked()).toEqual(['save s-1', 'save s-5', 'save s-1', 'save s-5']);
    expect(recorder.status.writable).toBe(true);
  });

  it('fails when the claim is still taken, and the registry stays writable', async () => {
    const { recorder, answer } = setUp();
    const saved = recorder.saveDurably(sessionOf({ id: 's-6' }));
    answer('save', 's-6', taken());
    await settled();
    answer('save', 's-6', taken());
    await expect(saved).rejects.toThrow('taken');
    expect(recorder.status).toMatchObject({ writable: true, error: null });
  });
});

describe('the need for a record', () => {
  const need = (before: Session, after: Session, atMs = 0) => recordNeed(before, after, at(atMs));

  it('is durable when an unkillable worker is gone at last, because that frees its claim', () => {
    const play = Play.live({ livekit: false }).silent().on(10, release).until(60_000);
    expect(play.reason).toBe('unkillable');
    const before = play.session;
    expect(need(before, play.on(70_000, gone()).session)).toBe('durable');
  });

  it('is durable when a session passes its claim on, because the next session of the room has it then', () => {
    const { session } = Play.live({ livekit: false }).on(10, release);
    if (!isIn(session, 'closing')) throw new Error('it is not closing');
    const ladder = { ...session.phase.ladder, claimPassed: true } as const;
    expect(need(session, { ...session, phase: { ...session.phase, ladder } })).toBe('durable');
  });

  it('is soon for a long permission to be silent, and none for a short one', () => {
    const play = Play.live({ livekit: false, idleAsked: true });
    const keep = (atMs: number, forMs: number) => {
      const before = play.session;
      const by = { kind: 'local', name: 'x' } as const;
      return need(before, play.on(atMs, { type: 'keep_alive', forMs, by }).session, atMs);
    };
    expect(keep(10_000, 60_000)).toBe('none');
    expect(keep(20_000, 900_000)).toBe('soon');
    // Many small extensions count as much as one large extension.
    expect(keep(20_500, 900_000)).toBe('soon');
    expect(keep(30_000, 60_000)).toBe('none');
  });

  it('is soon for a silence that is allowed for longer than no_active_stream, and none for a shorter one', () => {
    const play = Play.live({
      livekit: false,
      limits: { ...DEFAULT_SESSION_LIMITS, noActiveStreamMs: 60_000 },
    });
    const keep = (atMs: number, forMs: number) => {
      const before = play.session;
      const by = { kind: 'local', name: 'x' } as const;
      return need(before, play.on(atMs, { type: 'keep_alive', forMs, by }).session, atMs);
    };
    expect(keep(10_000, 50_000)).toBe('none');
    expect(keep(20_000, 90_000)).toBe('soon');
  });

  it('is soon for the first caller that may speak, because a listener keeps no call from then on', () => {
    const ignore = { identities: [], attributes: {}, listeners: true } as const;
    const listener = participant('lea', { listens: true });
    const play = Play.live({ profile: profile({ ignore }) }).on(1000, look(1000, [agent, listener]));
    const before = play.session;
    const next = play.on(2000, look(2000, [agent, listener, participant('ann')])).session;
    expect(need(before, next, 2000)).toBe('soon');
  });

  it('is soon for the first activity, because silence counts from then on', () => {
    const play = Play.live({ livekit: false });
    const before = play.session;
    expect(need(before, play.on(10, says({ type: 'activity', kind: 'task' })).session, 10)).toBe('soon');
  });
});
