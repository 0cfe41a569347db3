/** The registry against real SQLite files. */
import { channel } from 'node:diagnostics_channel';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRegistry } from '../../../src/adapters/registry/registry-client.ts';
import { createLog } from '../../../src/adapters/telemetry/pino-log.ts';
import { sessionId } from '../../../src/core/ids.ts';
import type { Registry, SessionQuery } from '../../../src/ports/registry.ts';
import { sessionOf, writeOf } from '../../support/sessions/session-writes.ts';

const LIST: SessionQuery = { limit: 100 };
let stateDir: string;
const opened: Registry[] = [];

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'curfew-registry-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.close()));
  rmSync(stateDir, { recursive: true, force: true });
});

async function open(dir = stateDir): Promise<Registry> {
  const registry = await openRegistry({ stateDir: dir, log: createLog({ level: 'silent', format: 'text' }) });
  opened.push(registry);
  return registry;
}

const idsOf = (sessions: readonly { readonly spec: { readonly id: string } }[]) =>
  sessions.map((one) => one.spec.id);

describe('a record in the registry', () => {
  it('is read back whole after the registry was opened again', async () => {
    const first = await open();
    const session = sessionOf({
      id: 's-1',
      room: "会議室 '; DROP TABLE sessions; --",
      metadata: { deep: [{ a: null }], text: '\u0000🎧' },
      labels: { 'a.b/c': '"' },
    });
    await first.create(writeOf(session));
    await first.saveWatch(watchOf('kept'));
    await first.close();
    const second = await open();
    expect(await second.get(sessionId('s-1'))).toEqual(session);
    expect(idsOf(await second.open())).toEqual(['s-1']);
    expect(await second.watches()).toEqual([watchOf('kept')]);
  });

  it('is in the file as soon as create resolves, so that a copy of the file holds it', async () => {
    const first = await open();
    await first.create(writeOf(sessionOf({ id: 's-1' })));
    const copy = join(stateDir, 'copy');
    mkdirSync(copy);
    for (const name of ['registry.db', 'registry.db-wal'])
      if (existsSync(join(stateDir, name))) cpSync(join(stateDir, name), join(copy, name));
    const other = await open(copy);
    expect(idsOf(await other.open())).toEqual(['s-1']);
  });

  it('is listed as open while it holds a claim, and is gone after a discard', async () => {
    const registry = await open();
    const unkillable = sessionOf({ id: 's-1', endedWallMs: 1 });
    await registry.create({ session: unkillable, claim: unkillable.spec.claim });
    await registry.create(writeOf(sessionOf({ id: 's-2' })));
    await registry.discard(sessionId('s-2'));
    expect(idsOf(await registry.open())).toEqual(['s-1']);
    await registry.save(writeOf(unkillable), true);
    expect(await registry.open()).toEqual([]);
    expect(await registry.get(sessionId('s-2'))).toBeNull();
    await registry.create(writeOf(sessionOf({ id: 's-3', room: 'room of s-2' })));
  });

  it('lies in files that only the owner can read', async () => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1' })));
    for (const name of ['registry.db', 'registry.db-wal', 'registry.db-shm'])
      expect(statSync(join(stateDir, name)).mode & 0o077, name).toBe(0);
  });

  it('is replaced by a later save, and is pruned by its end time', async () => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1' })));
    await registry.create(writeOf(sessionOf({ id: 's-2' })));
    await registry.save(writeOf(sessionOf({ id: 's-1', endedWallMs: 5000 })), true);
    expect(idsOf(await registry.open())).toEqual(['s-2']);
    expect(await registry.prune(5000)).toBe(0);
    expect(await registry.prune(5001)).toBe(1);
    expect(await registry.get(sessionId('s-1'))).toBeNull();
    expect(idsOf(await registry.open())).toEqual(['s-2']);
  });

  it('of a watched room exists once per room until it is deleted', async () => {
    const registry = await open();
    await registry.saveWatch(watchOf('r'));
    await registry.saveWatch({ ...watchOf('r'), aloneSinceMs: 7 });
    await registry.saveWatch(watchOf('other'));
    expect(await registry.watches()).toHaveLength(2);
    await registry.deleteWatch(watchOf('r'));
    expect(await registry.watches()).toEqual([watchOf('other')]);
  });
});

function watchOf(name: string) {
  return {
    room: { project: 'default', name },
    roomSid: 'RM_1',
    agentIdentity: 'agent',
    made: true,
    since: { bootMs: 1, wallMs: 2 },
    aloneSinceMs: null,
  };
}

describe('the registry', () => {
  it('refuses an id that is already recorded', async () => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1', room: 'a' })));
    await expect(registry.create(writeOf(sessionOf({ id: 's-1', room: 'b' })))).rejects.toMatchObject({
      code: 'id_conflict',
      facts: { id: 's-1' },
    });
    expect((await registry.get(sessionId('s-1')))?.spec.room.name).toBe('a');
  });

  it('refuses a claim that another session holds, until that session releases the claim', async () => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1', room: 'r' })));
    const second = writeOf(sessionOf({ id: 's-2', room: 'r' }));
    await expect(registry.create(second)).rejects.toMatchObject({
      code: 'room_taken',
      facts: { holder: 's-1' },
    });
    expect(await registry.get(sessionId('s-2'))).toBeNull();
    await registry.save(writeOf(sessionOf({ id: 's-1', room: 'r', endedWallMs: 1 })), true);
    await registry.create(second);
    expect(idsOf(await registry.open())).toEqual(['s-2']);
  });

  it('refuses the second of two equal claims in one group, and writes all others', async () => {
    const registry = await open();
    const rooms = ['a', 'b', 'a', 'c', 'b'];
    const outcomes = await Promise.allSettled(
      rooms.map((room, at) => registry.create(writeOf(sessionOf({ id: `s-${at}`, room })))),
    );
    expect(outcomes.map((one) => one.status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
    ]);
    expect(idsOf(await registry.open())).toEqual(['s-0', 's-1', 's-3']);
  });

  it('refuses a query with a bad cursor, while a write beside it succeeds', async () => {
    const registry = await open();
    const [bad, written] = await Promise.allSettled([
      registry.list({ ...LIST, cursor: 'x' }),
      registry.create(writeOf(sessionOf({ id: 's-1' }))),
    ]);
    expect(bad).toMatchObject({ reason: { code: 'invalid_request', facts: { field: 'cursor' } } });
    expect(written.status).toBe('fulfilled');
    for (const cursor of ['', 'c2VxOi0x', Buffer.from('seq:1 OR 1=1').toString('base64url')])
      await expect(registry.list({ ...LIST, cursor }), cursor).rejects.toMatchObject({
        code: 'invalid_request',
      });
  });
});

describe('a list of sessions', () => {
  it('is paged without gap or repeat, also while it grows', async () => {
    const registry = await open();
    const all = Array.from({ length: 25 }, (_, at) => `s-${at}`);
    await Promise.all(all.map((id) => registry.create(writeOf(sessionOf({ id })))));
    const seen: string[] = [];
    let cursor: string | null | undefined;
    while (cursor !== null) {
      const page = await registry.list({ limit: 10, ...(cursor === undefined ? {} : { cursor }) });
      seen.push(...idsOf(page.sessions));
      cursor = page.nextCursor;
      await registry.create(writeOf(sessionOf({ id: `new-${seen.length}` })));
    }
    expect(seen).toEqual(all.toReversed());
  });

  it('has no next page when the last one is full', async () => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1' })));
    await registry.create(writeOf(sessionOf({ id: 's-2' })));
    expect((await registry.list({ limit: 2 })).nextCursor).toBeNull();
    expect((await registry.list({ limit: 1 })).nextCursor).not.toBeNull();
  });

  it.each<[string, Partial<SessionQuery>, string[]]>([
    ['nothing', {}, ['c', 'b', 'a']],
    ['one state', { states: ['released'] }, ['c']],
    ['several states', { states: ['queued', 'released'] }, ['c', 'b', 'a']],
    ['no state at all', { states: [] }, []],
    ['the room', { room: 'lobby' }, ['a']],
    ['a room with a wildcard character, taken literally', { room: '%' }, []],
    ['the agent', { agent: 'sales' }, ['b']],
    ['the user', { user: 'ann' }, ['c', 'a']],
    ['a label', { label: ['tier', 'gold'] }, ['b']],
    ['a label with another value', { label: ['tier', 'silver'] }, []],
    ['two filters', { user: 'ann', states: ['queued'] }, ['a']],
  ])('filtered by %s holds exactly the matching sessions', async (_what, query, expected) => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 'a', room: 'lobby', user: 'ann' })));
    await registry.create(writeOf(sessionOf({ id: 'b', agent: 'sales', labels: { tier: 'gold' } })));
    await registry.create(writeOf(sessionOf({ id: 'c', user: 'ann', endedWallMs: 1 })));
    expect(idsOf((await registry.list({ ...LIST, ...query })).sessions)).toEqual(expected);
  });
});

describe('the registry on a bad disk', () => {
  it('refuses a database of a newer version and changes nothing in it', async () => {
    const path = join(stateDir, 'registry.db');
    const newer = new DatabaseSync(path);
    newer.exec('PRAGMA user_version=99');
    newer.close();
    await expect(open()).rejects.toMatchObject({ code: 'newer_schema', facts: { found: 99 } });
    const after = new DatabaseSync(path);
    expect(after.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: 99 });
    after.close();
  });

  it.each([
    ['deleted', (path: string) => rmSync(path)],
    ['moved', (path: string) => renameSync(path, `${path}.old`)],
  ])('reports that the file was %s, and keeps all records', async (_what, lose) => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1' })));
    const losses: unknown[] = [];
    registry.onLost((lost) => losses.push(lost));
    lose(join(stateDir, 'registry.db'));
    await registry.create(writeOf(sessionOf({ id: 's-2' })));
    expect(losses).toMatchObject([
      { setAside: null, why: expect.stringMatching(/registry\.db was deleted/) },
    ]);
    expect((await registry.open()).map((one) => one.spec.id).sort()).toEqual(['s-1', 's-2']);
  });

  it('fails a probe while the directory is away, and the probe changes nothing', async () => {
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1' })));
    await registry.probe();
    renameSync(stateDir, `${stateDir}.away`);
    await expect(registry.probe()).rejects.toMatchObject({ code: 'registry_unavailable' });
    renameSync(`${stateDir}.away`, stateDir);
    await registry.probe();
    expect(idsOf(await registry.open())).toEqual(['s-1']);
  });

  it('is refused when its directory is missing or holds nonsense', async () => {
    await expect(open(join(stateDir, 'nowhere'))).rejects.toMatchObject({ code: 'registry_unavailable' });
    mkdirSync(join(stateDir, 'folder', 'registry.db'), { recursive: true });
    await expect(open(join(stateDir, 'folder'))).rejects.toMatchObject({ code: 'registry_unavailable' });
  });

  it('is refused when its directory is read-only', async () => {
    chmodSync(stateDir, 0o500);
    // Because: root writes into a read-only directory. In /proc root creates no file either.
    const readOnly = process.getuid?.() === 0 ? '/proc/self' : stateDir;
    await expect(open(readOnly)).rejects.toMatchObject({ code: 'registry_unavailable' });
    chmodSync(stateDir, 0o700);
  });

  it('continues with a new thread after the old thread was lost', async () => {
    const threads: Worker[] = [];
    const notice = (message: unknown) => void threads.push((message as { worker: Worker }).worker);
    channel('worker_threads').subscribe(notice);
    const registry = await open();
    await registry.create(writeOf(sessionOf({ id: 's-1' })));
    const underWay = Promise.allSettled([registry.create(writeOf(sessionOf({ id: 's-2' })))]);
    const [oldThread] = threads;
    await oldThread?.terminate();
    const [lost] = await underWay;
    if (lost.status === 'rejected') expect(lost.reason).toMatchObject({ code: 'registry_unavailable' });
    await registry.create(writeOf(sessionOf({ id: 's-3' })));
    channel('worker_threads').unsubscribe(notice);
    expect(threads).toHaveLength(2);
    expect(idsOf(await registry.open())).toContain('s-1');
    expect(idsOf(await registry.open())).toContain('s-3');
  });

  it('starts one new thread for many concurrent requests after a loss', async () => {
    const threads: Worker[] = [];
    const notice = (message: unknown) => void threads.push((message as { worker: Worker }).worker);
    channel('worker_threads').subscribe(notice);
    const registry = await open();
    const [oldThread] = threads;
    await oldThread?.terminate();
    const many = Array.from({ length: 10 }, (_, at) =>
      registry.create(writeOf(sessionOf({ id: `s-${at}` }))),
    );
    await Promise.all(many);
    channel('worker_threads').unsubscribe(notice);
    expect(threads).toHaveLength(2);
  });

  it('refuses every request after its close', async () => {
    const registry = await open();
    await registry.close();
    await expect(registry.get(sessionId('s-1'))).rejects.toMatchObject({ code: 'registry_unavailable' });
    await registry.close();
  });
});
