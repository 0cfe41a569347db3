/** What the recorder owes the sessions, over a registry that answers when the test says so. */
import { describe, expect, it } from 'vitest';
import type { SessionId } from '../../src/core/ids.ts';
import type { Session } from '../../src/core/model/session.ts';
import { CurfewError } from '../../src/lib/errors.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Registry } from '../../src/ports/registry.ts';
import { Recorder, recordNeed } from '../../src/runtime/sessions/recorder.ts';
import { at, gone, Play, release, says } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';
import { sessionOf } from '../support/sessions/session-writes.ts';

interface Asked {
  readonly what: string;
  readonly id: SessionId;
  answer(error?: Error): void;
}

const away = () => new CurfewError('registry_unavailable', 'the registry: no answer in time');

function setUp() {
  const asked: Asked[] = [];
  const alarms: (() => void)[] = [];
  const forgotten: SessionId[] = [];
  const ask = (what: string, id: SessionId) =>
    new Promise<void>((resolve, reject) =>
      asked.push({ what, id, answer: (error) => (error === undefined ? resolve() : reject(error)) }),
    );
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
  const deps = { registry: registry as Registry, clock, log: SILENT };
  const recorder = new Recorder(deps, (id) => forgotten.push(id));
  /** Everything that waits for the clock happens. */
  const ring = () => {
    for (const alarm of alarms.splice(0)) alarm();
  };
  return { recorder, asked, forgotten, ring };
}

const ended = sessionOf({ id: 's-1', endedWallMs: 1 });
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('a record that is late', () => {
  it('keeps its session in memory until it is made, however often it fails', async () => {
    const { recorder, asked, forgotten, ring } = setUp();
    const step = recorder.saveStep(ended, () => ended);
    ring();
    await step;
    expect(recorder.isUnsaved(ended.spec.id)).toBe(true);
    asked[0]?.answer(away());
    await settled();
    ring();
    expect(recorder.isUnsaved(ended.spec.id)).toBe(true);
    asked[1]?.answer(away());
    await settled();
    ring();
    asked[2]?.answer();
    await settled();
    expect(recorder.isUnsaved(ended.spec.id)).toBe(false);
    expect(forgotten).toEqual(['s-1']);
  });

  it('comes before the first record of who takes its place: a crash between them would let both live', async () => {
    const { recorder, asked, ring } = setUp();
    const step = recorder.saveStep(ended, () => ended);
    ring();
    await step;
    asked[0]?.answer(away());
    await settled();
    void recorder.create(sessionOf({ id: 's-2' }));
    expect(asked.slice(1).map(({ what, id }) => `${what} ${id}`)).toEqual([
      'probe none',
      'save s-1',
      'create s-2',
    ]);
  });

  it('is discarded when its session was refused for it, again and again until that is done', async () => {
    const { recorder, asked, ring } = setUp();
    const created = recorder.create(sessionOf({ id: 's-2' }));
    asked[0]?.answer(away());
    await expect(created).rejects.toThrow('no answer');
    asked[1]?.answer(away());
    await settled();
    ring();
    expect(asked.map(({ what }) => what)).toEqual(['create', 'discard', 'probe', 'discard']);
  });
});

describe('a registry that could not be written', () => {
  it('is tried again by itself, also when nothing waits for it', async () => {
    const { recorder, asked, ring } = setUp();
    const created = recorder.create(sessionOf({ id: 's-4' }));
    asked[0]?.answer(away());
    await expect(created).rejects.toThrow('no answer');
    asked[1]?.answer();
    await settled();
    expect(recorder.status.writable).toBe(false);
    ring();
    expect(asked.map(({ what }) => what)).toEqual(['create', 'discard', 'probe']);
    asked[2]?.answer(away());
    await settled();
    ring();
    asked[3]?.answer();
    await settled();
    expect(recorder.status).toMatchObject({ writable: true, error: null });
    ring();
    expect(asked).toHaveLength(4);
  });
});

describe('a conflict', () => {
  it('is an answer: the registry works', async () => {
    const { recorder, asked } = setUp();
    const created = recorder.create(sessionOf({ id: 's-3' }));
    asked[0]?.answer(new CurfewError('room_taken', 'it is taken'));
    await expect(created).rejects.toThrow('taken');
    expect(recorder.status.writable).toBe(true);
    expect(asked).toHaveLength(1);
  });
});

describe('a start whose claim is recorded for the last holder', () => {
  const taken = () => new CurfewError('room_taken', 'it is taken');

  it('is recorded when the holder is, and the registry works', async () => {
    const { recorder, asked } = setUp();
    const next = sessionOf({ id: 's-5' });
    const holder = recorder.saveStep(ended, () => ended);
    asked[0]?.answer(taken());
    await holder;
    const saved = recorder.saveDurably(next);
    asked[1]?.answer(taken());
    await settled();
    expect(asked.slice(2)).toMatchObject([{ what: 'save', id: 's-1' }]);
    asked[2]?.answer();
    await settled();
    asked[3]?.answer();
    await saved;
    expect(asked.map(({ id }) => id)).toEqual(['s-1', 's-5', 's-1', 's-5']);
    expect(recorder.status.writable).toBe(true);
  });

  it('is given up when it is still taken, and the registry works all the same', async () => {
    const { recorder, asked } = setUp();
    const saved = recorder.saveDurably(sessionOf({ id: 's-6' }));
    asked[0]?.answer(taken());
    await settled();
    asked[1]?.answer(taken());
    await expect(saved).rejects.toThrow('taken');
    expect(recorder.status).toMatchObject({ writable: true, error: null });
  });
});

describe('what is recorded at once', () => {
  const need = (before: Session, after: Session, atMs = 0) => recordNeed(before, after, at(atMs));

  it('a worker that nothing killed is gone: its claim is free', () => {
    const play = Play.live({ livekit: false }).silent().on(10, release).until(60_000);
    expect(play.reason).toBe('unkillable');
    const before = play.session;
    expect(need(before, play.on(70_000, gone()).session)).toBe('durable');
  });

  it('a silence that is allowed for long, and not each word', () => {
    const play = Play.live({ livekit: false, idleAsked: true });
    const keep = (atMs: number, forMs: number) => {
      const before = play.session;
      const by = { kind: 'local', name: 'x' } as const;
      return need(before, play.on(atMs, { type: 'keep_alive', forMs, by }).session, atMs);
    };
    expect(keep(10_000, 60_000)).toBe('none');
    expect(keep(20_000, 900_000)).toBe('soon');
    // Many small steps are as long as a big one.
    expect(keep(20_500, 900_000)).toBe('soon');
    expect(keep(30_000, 60_000)).toBe('none');
  });

  it('the first word, for from then on silence counts', () => {
    const play = Play.live({ livekit: false });
    const before = play.session;
    expect(need(before, play.on(10, says({ type: 'activity', kind: 'task' })).session, 10)).toBe('soon');
  });
});
