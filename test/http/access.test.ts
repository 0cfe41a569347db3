/** Which token may use which route, on the Unix socket and over TCP. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '../../src/adapters/telemetry/pino-log.ts';
import { createHttpListeners } from '../../src/http/listeners.ts';
import { requireAccess } from '../../src/http/make-app.ts';
import type { TestListeners, TestRequest } from '../support/api/listeners.ts';
import { openListeners, problemOf, TOKENS, tokenWith } from '../support/api/listeners.ts';
import { viewOf } from '../support/api/memory-api.ts';

const SCOPES = ['read', 'dispatch', 'release', 'admin'] as const;
const ROUTES: readonly (TestRequest & { readonly scope: (typeof SCOPES)[number]; readonly own: boolean })[] =
  [
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
    { method: 'POST', path: '/v1/reload', scope: 'admin', own: false },
    { method: 'POST', path: '/v1/sweep', body: {}, scope: 'admin', own: false },
    { method: 'POST', path: '/v1/drain', body: {}, scope: 'admin', own: false },
    { method: 'POST', path: '/v1/undrain', scope: 'admin', own: false },
    {
      method: 'POST',
      path: '/v1/sessions/release',
      body: { all: true, dryRun: true },
      scope: 'release',
      own: false,
    },
  ];

let listeners: TestListeners;
beforeAll(async () => {
  listeners = await openListeners();
  listeners.api.sessions.set('s-1', viewOf({ id: 's-1' }));
  listeners.api.sessions.set('s-2', viewOf({ id: 's-2' }));
});
afterAll(() => listeners.close());

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe.each(ROUTES)('the route $method $path', ({ scope, own, ...request }) => {
  const isAllowed = (given: string) => given === scope || given === 'admin';

  it.each(
    SCOPES.map((given) => [given, isAllowed(given) ? 'allowed' : 'refused'] as const),
  )('over TCP with the scope %s is %s', async (given) => {
    const got = await listeners.tcp({ ...request, headers: bearer(tokenWith(given)) });
    if (isAllowed(given)) {
      expect(got.status).toBeLessThan(300);
      return;
    }
    expect(got.status).toBe(403);
    expect(problemOf(got)).toMatchObject({ code: 'forbidden', scope });
    expect(problemOf(got).detail).toContain(`no scope "${scope}"`);
  });

  it(`over TCP with the session's own token is ${own ? 'allowed' : 'refused'}`, async () => {
    const got = await listeners.tcp({ ...request, headers: bearer('token-of-s-1') });
    if (own) expect(got.status).toBeLessThan(300);
    else expect(got.status).toBe(403);
  });

  it("over TCP with another session's token is refused", async () => {
    const got = await listeners.tcp({ ...request, headers: bearer('token-of-s-2') });
    expect(got.status).toBe(403);
  });

  it.each([
    ['no token', {}],
    ['an unknown token', bearer('nobody-knows-this-token')],
    ['an empty token', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: `Basic ${tokenWith('admin')}` }],
    ['a part of a token', bearer(tokenWith('admin').slice(0, -1))],
    ['two tokens', bearer(`${tokenWith('admin')} x`)],
  ])('over TCP is refused without a valid token: %s', async (_what, headers) => {
    const got = await listeners.tcp({ ...request, headers });
    expect(got.status).toBe(401);
    expect(got.headers['www-authenticate']).toBe('Bearer');
    expect(problemOf(got).code).toBe('unauthorized');
    expect(got.text).not.toContain('the-token');
  });

  it('over the Unix socket is allowed without a token', async () => {
    expect((await listeners.local(request)).status).toBeLessThan(300);
  });
});

describe('the HTTP listeners', () => {
  it('protect the Unix socket by its file mode', () => {
    expect(statSync(listeners.socketPath).mode & 0o777).toBe(0o600);
  });

  it('answer health, readiness and the API description without a token', async () => {
    for (const path of ['/healthz', '/readyz', '/openapi.json'])
      expect((await listeners.tcp({ path })).status, path).toBe(200);
    // Error details need a token.
    expect((await listeners.tcp({ path: '/readyz' })).text).not.toContain('error');
  });

  it('check the token before they read the body', async () => {
    const got = await listeners.tcp({ method: 'POST', path: '/v1/sessions', body: '{"room":' });
    expect(got.status).toBe(401);
  });

  it('pass the actor on to the supervisor, without control characters in a stated name', async () => {
    listeners.api.requests.length = 0;
    await listeners.tcp({
      method: 'POST',
      path: '/v1/sessions/s-2/release',
      headers: bearer(tokenWith('release')),
    });
    await listeners.tcp({
      method: 'POST',
      path: '/v1/sessions/s-2/release',
      headers: bearer('token-of-s-2'),
    });
    await listeners.local({
      method: 'POST',
      path: '/v1/sessions/s-2/release',
      headers: { 'x-curfew-actor': 'ann" \t;' },
    });
    await listeners.local({ method: 'POST', path: '/v1/sessions/s-2/release' });
    expect(listeners.api.requests.map((one) => one.by)).toEqual([
      { kind: 'token', name: 'release-only' },
      { kind: 'token', name: 'session s-2' },
      { kind: 'local', name: 'ann' },
      { kind: 'local', name: 'socket' },
    ]);
  });
});

it('the error for a port in use names the key that turns TCP off', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-taken-'));
  const second = createHttpListeners({
    api: listeners.api,
    log: createLog({ level: 'silent', format: 'text' }),
    tokens: TOKENS,
    listen: { socket: join(dir, 'c.sock'), http: { host: '127.0.0.1', port: listeners.port } },
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

describe('a route that does not declare its rights', () => {
  it('stops the start of the API, so that no route is open by mistake', () => {
    expect(() => requireAccess({ method: 'GET', url: '/v1/forgotten' })).toThrow('GET /v1/forgotten');
    expect(() =>
      requireAccess({ method: 'GET', url: '/healthz', config: { access: 'public' } }),
    ).not.toThrow();
  });
});
