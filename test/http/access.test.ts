/** Who may do what, at which door. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../../src/adapters/telemetry/pino-log.ts';
import { createHttpListeners } from '../../src/http/listeners.ts';
import type { Ask, Doors } from '../support/api/listeners.ts';
import { openDoors, problemOf, TOKENS } from '../support/api/listeners.ts';
import { viewOf } from '../support/api/memory-api.ts';

const SCOPES = ['read', 'dispatch', 'release', 'admin'] as const;
const ROUTES: readonly (Ask & { readonly scope: (typeof SCOPES)[number]; readonly own: boolean })[] = [
  { method: 'GET', path: '/v1/sessions', scope: 'read', own: false },
  { method: 'GET', path: '/v1/sessions/s-1', scope: 'read', own: true },
  { method: 'GET', path: '/v1/sessions/s-1/live', scope: 'read', own: true },
  { method: 'GET', path: '/v1/sessions/s-1/logs', scope: 'read', own: false },
  { method: 'GET', path: '/v1/capacity', scope: 'read', own: false },
  { method: 'POST', path: '/v1/sessions', body: { room: 'r' }, scope: 'dispatch', own: false },
  {
    method: 'PATCH',
    path: '/v1/sessions/s-1/metadata',
    body: { metadata: {} },
    scope: 'dispatch',
    own: false,
  },
  { method: 'POST', path: '/v1/sessions/s-1/token', scope: 'dispatch', own: false },
  { method: 'POST', path: '/v1/sessions/s-1/keep_alive', scope: 'release', own: true },
  { method: 'POST', path: '/v1/sessions/s-1/release', scope: 'release', own: true },
  {
    method: 'POST',
    path: '/v1/sessions/release',
    body: { all: true, dryRun: true },
    scope: 'release',
    own: false,
  },
];

let doors: Doors;
beforeAll(async () => {
  doors = await openDoors();
  doors.api.sessions.set('s-1', viewOf({ id: 's-1' }));
  doors.api.sessions.set('s-2', viewOf({ id: 's-2' }));
});
afterAll(() => doors.close());

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const tokenWith = (scope: string) => TOKENS.find((one) => one.scopes[0] === scope)?.token ?? '';

describe.each(ROUTES)('$method $path over TCP', ({ scope, own, ...ask }) => {
  it.each(SCOPES)('with a token for %s', async (given) => {
    const got = await doors.tcp({ ...ask, headers: bearer(tokenWith(given)) });
    if (given === scope || given === 'admin') {
      expect(got.status).toBeLessThan(300);
      return;
    }
    expect(got.status).toBe(403);
    expect(problemOf(got)).toMatchObject({ code: 'forbidden', scope });
    expect(problemOf(got).detail).toContain(`no scope "${scope}"`);
  });

  it("with the session's own token", async () => {
    const got = await doors.tcp({ ...ask, headers: bearer('token-of-s-1') });
    if (own) expect(got.status).toBeLessThan(300);
    else expect(got.status).toBe(403);
  });

  it("with another session's token", async () => {
    const got = await doors.tcp({ ...ask, headers: bearer('token-of-s-2') });
    expect(got.status).toBe(403);
  });

  it.each([
    ['none', {}],
    ['an unknown one', bearer('nobody-knows-this-token')],
    ['an empty one', { authorization: 'Bearer ' }],
    ['another way', { authorization: `Basic ${tokenWith('admin')}` }],
    ['a part of one', bearer(tokenWith('admin').slice(0, -1))],
    ['two', bearer(`${tokenWith('admin')} x`)],
  ])('with a token that is none: %s', async (_what, headers) => {
    const got = await doors.tcp({ ...ask, headers });
    expect(got.status).toBe(401);
    expect(got.headers['www-authenticate']).toBe('Bearer');
    expect(problemOf(got).code).toBe('unauthorized');
    expect(got.text).not.toContain('the-token');
  });

  it('over the Unix socket without any', async () => {
    expect((await doors.local(ask)).status).toBeLessThan(300);
  });
});

describe('the doors', () => {
  it('protects the Unix socket by its mode', () => {
    expect(statSync(doors.socketPath).mode & 0o777).toBe(0o600);
  });

  it('leaves health, readiness and the description open', async () => {
    for (const path of ['/healthz', '/readyz', '/openapi.json'])
      expect((await doors.tcp({ path })).status, path).toBe(200);
    // What failed, and where, is for those who may ask.
    expect((await doors.tcp({ path: '/readyz' })).text).not.toContain('error');
  });

  it('asks for the token before it reads the body', async () => {
    const got = await doors.tcp({ method: 'POST', path: '/v1/sessions', body: '{"room":' });
    expect(got.status).toBe(401);
  });

  it('tells the supervisor who asked, and takes no control characters in a stated name', async () => {
    doors.api.asked.length = 0;
    await doors.tcp({
      method: 'POST',
      path: '/v1/sessions/s-2/release',
      headers: bearer(tokenWith('release')),
    });
    await doors.tcp({ method: 'POST', path: '/v1/sessions/s-2/release', headers: bearer('token-of-s-2') });
    await doors.local({
      method: 'POST',
      path: '/v1/sessions/s-2/release',
      headers: { 'x-curfew-actor': 'ann" \t;' },
    });
    await doors.local({ method: 'POST', path: '/v1/sessions/s-2/release' });
    expect(doors.api.asked.map((one) => one.by)).toEqual([
      { kind: 'token', name: 'release-only' },
      { kind: 'token', name: 'session s-2' },
      { kind: 'local', name: 'ann' },
      { kind: 'local', name: 'socket' },
    ]);
  });
});

it('says of a port that is taken how to do without', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-taken-'));
  const second = createHttpListeners({
    api: doors.api,
    log: createLog({ level: 'silent', format: 'text' }),
    tokens: TOKENS,
    listen: { socket: join(dir, 'c.sock'), http: { host: '127.0.0.1', port: doors.port } },
  });
  try {
    await expect(second.listen()).rejects.toMatchObject({
      code: 'invalid_config',
      facts: { hint: expect.stringContaining('listen: { http: off }') },
    });
  } finally {
    await second.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
