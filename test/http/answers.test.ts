/** The shape of responses: problems, headers, and the API's own description. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { problemSchema } from '../../src/api/host-schemas.ts';
import { ERRORS } from '../../src/lib/errors.ts';
import { HTTP } from '../../src/lib/limits/api-limits.ts';
import { LIVEKIT_BOUNDS } from '../../src/lib/limits/livekit-limits.ts';
import type { TestListeners, TestRequest } from '../support/api/listeners.ts';
import { openListeners, problemOf } from '../support/api/listeners.ts';
import { endedView, viewOf } from '../support/api/memory-api.ts';
import { until } from '../support/lib/wait.ts';

let listeners: TestListeners;
beforeAll(async () => {
  listeners = await openListeners();
  listeners.api.sessions.set('s-1', viewOf({ id: 's-1' }));
});
afterAll(() => listeners.close());

const dispatch = (body: object, query = '') =>
  listeners.local({ method: 'POST', path: `/v1/sessions${query}`, body });

describe('the problem response', () => {
  const refused: readonly [string, number, keyof typeof ERRORS, TestRequest][] = [
    ['an unknown path', 404, 'not_found', { path: '/v2/sessions' }],
    ['an unknown session', 404, 'not_found', { path: '/v1/sessions/s-9' }],
    ['a bad field', 400, 'invalid_request', { method: 'POST', path: '/v1/sessions', body: {} }],
    ['a full host', 429, 'at_capacity', { method: 'POST', path: '/v1/sessions', body: { room: 'full' } }],
    ['a fault inside', 500, 'internal', { method: 'POST', path: '/v1/sessions', body: { room: 'broken' } }],
    [
      'a webhook without a signature',
      401,
      'bad_signature',
      { method: 'POST', path: '/webhooks/livekit', body: {} },
    ],
    ['a method that is not there', 405, 'method_not_allowed', { method: 'DELETE', path: '/v1/sessions' }],
    [
      'an empty release of many',
      400,
      'invalid_request',
      { method: 'POST', path: '/v1/sessions/release', body: {} },
    ],
    ['a bad query', 400, 'invalid_request', { path: '/v1/sessions?limit=0' }],
    ['an unknown query', 400, 'invalid_request', { path: '/v1/sessions?stat=open' }],
    ['a broken escape in the path', 400, 'invalid_request', { path: '/v1/sessions/%zz' }],
  ];

  it.each(refused)('for %s has the status %i and the error %s', async (_what, status, code, request) => {
    const got = await listeners.local(request);
    expect(got.status).toBe(status);
    expect(got.headers['content-type']).toMatch(/^application\/problem\+json/);
    const problem = problemSchema.parse(got.json);
    const { title, hint } = ERRORS[code];
    expect(problem).toMatchObject({ type: `urn:curfew:error:${code}`, code, status, title, hint });
    expect(problem.detail).not.toBe('');
  });

  it('for an internal error shows only the id of the request', async () => {
    const got = await dispatch({ room: 'broken' });
    expect(got.text).not.toContain('secret');
    expect(problemOf(got).request).toBeTypeOf('string');
    expect(problemOf(got).detail).toContain(String(problemOf(got).request));
  });

  it('for a reached limit names the limit and the time for a retry', async () => {
    const got = await dispatch({ room: 'full' });
    expect(got.headers['retry-after']).toBe('5');
    expect(problemOf(got)).toMatchObject({ limit: 50, used: 50, retryAfterSeconds: 5 });
  });

  it.each([
    ['PUT', '/v1/sessions', 'GET, POST'],
    ['DELETE', '/v1/sessions/s-1', 'GET'],
    ['GET', '/v1/sessions/s-1/release', 'POST'],
    ['POST', '/v1/sessions/s-1/metadata?x=1', 'PATCH'],
    ['POST', '/healthz', 'GET'],
    ['GET', '/webhooks/livekit', 'POST'],
  ] as const)('for %s %s names the allowed methods: %s', async (method, path, allowed) => {
    const got = await listeners.local({ method, path });
    expect(got.status).toBe(405);
    expect(got.headers.allow).toBe(allowed);
  });
});

describe('the response of the API', () => {
  it('to a dispatch and its repeat has the location of the session', async () => {
    const first = await dispatch({ room: 'r', id: 'call:7' });
    const again = await dispatch({ room: 'r', id: 'call:7' });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(first.headers.location).toBe('/v1/sessions/call:7');
    expect(again.headers.location).toBe('/v1/sessions/call:7');
    expect((await listeners.local({ path: String(first.headers.location) })).json).toEqual(first.json);
  });

  it('to /readyz is 503 while the supervisor is not ready', async () => {
    listeners.api.isReady = false;
    const got = await listeners.local({ path: '/readyz' });
    listeners.api.isReady = true;
    expect(got.status).toBe(503);
    expect(got.json).toMatchObject({ ready: false });
    expect((await listeners.local({ path: '/readyz' })).status).toBe(200);
    expect((await listeners.local({ path: '/healthz' })).json).toEqual({ ok: true });
  });

  it('to a release is 200 when the session has ended', async () => {
    const got = await listeners.local({
      method: 'POST',
      path: '/v1/sessions/s-1/release?wait=ended',
      body: { detail: 'd' },
    });
    expect(got.status).toBe(200);
    expect(got.json).toMatchObject({ state: 'released' });
  });

  it.each<[string, (path: string) => void]>([
    ['a FIFO', (path) => execFileSync('mkfifo', [path])],
    ['a link to another file', (path) => symlinkSync('/etc/hostname', path)],
    ['a folder', (path) => mkdirSync(path)],
  ])('to a request for logs is empty when a worker put %s in place of its log', async (_name, make) => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
    make(join(dir, 'log'));
    listeners.api.logs.push(join(dir, 'log'));
    listeners.api.sessions.set('s-3', endedView(viewOf({ id: 's-3' })));
    const got = await listeners
      .local({ path: '/v1/sessions/s-3/logs' })
      .finally(() => listeners.api.logs.splice(0));
    rmSync(dir, { recursive: true });
    expect([got.status, got.text]).toEqual([200, '']);
  });

  it('to a request for logs is all logs byte for byte, cut from the end, with a line between workers', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-logs-'));
    const log = (worker: string, text: string) => {
      mkdirSync(join(dir, worker));
      writeFileSync(join(dir, worker, 'log'), text);
    };
    log('s-3.1', '{"a":1}\n\u001b[31m');
    log('s-3.3', 'päng\n');
    listeners.api.logs.push(...['s-3.1', 's-3.2', 's-3.3'].map((worker) => join(dir, worker, 'log')));
    listeners.api.sessions.set('s-3', endedView(viewOf({ id: 's-3' })));
    const whole = await listeners.local({ path: '/v1/sessions/s-3/logs' });
    const tail = await listeners.local({ path: '/v1/sessions/s-3/logs?tailBytes=8' });
    const followed = await listeners.local({ path: '/v1/sessions/s-3/logs?follow=1' });
    rmSync(dir, { recursive: true });
    expect(whole.text).toBe('{"a":1}\n\u001b[31m\n--- s-3.3 ---\npäng\n');
    expect(tail.text).toBe('1m\n--- s-3.3 ---\npäng\n');
    expect(followed.text).toBe(whole.text);
    expect(whole.headers).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
    });
  });

  it('to a webhook is 204, and the signed bytes reach the supervisor unchanged', async () => {
    listeners.api.requests.length = 0;
    const rawBody = ' { "b":1,  "a" : "ü", "a": 2 }\n';
    for (const type of ['application/webhook+json', 'application/json']) {
      const headers = { 'content-type': type, authorization: 'signed' };
      const got = await listeners.tcp({ method: 'POST', path: '/webhooks/livekit', body: rawBody, headers });
      expect(got.status).toBe(204);
    }
    expect(listeners.api.requests.map((one) => one.with)).toEqual([
      { rawBody, authorization: 'signed' },
      { rawBody, authorization: 'signed' },
    ]);
  });
});

describe('a webhook', () => {
  const send = (chars: number) =>
    listeners.tcp({
      method: 'POST',
      path: '/webhooks/livekit',
      body: JSON.stringify({ metadata: 'x'.repeat(chars) }),
      headers: { 'content-type': 'application/webhook+json', authorization: 'signed' },
    });

  it('with the largest metadata of a room and of a participant is accepted', async () => {
    const got = await send(2 * LIVEKIT_BOUNDS.metadataBytes + LIVEKIT_BOUNDS.attributesBytes);
    expect(got.status).toBe(204);
  });

  it('of more than 2 MiB is refused, and the problem names the bound', async () => {
    const got = await send(HTTP.webhookBytes);
    expect(got.status).toBe(413);
    expect(problemOf(got)).toMatchObject({
      code: 'too_large',
      detail: `the body has more than ${HTTP.webhookBytes} bytes`,
    });
  });
});

describe('the OpenAPI description', () => {
  interface Operation {
    readonly summary?: string;
    readonly responses: Record<string, { readonly content?: Record<string, unknown> }>;
  }
  let paths: Record<string, Record<string, Operation>>;
  beforeAll(async () => {
    const got = await listeners.local({ path: '/openapi.json' });
    paths = got.json.paths as typeof paths;
  });

  it('lists every route', () => {
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.sort()).toEqual([
      'GET /healthz',
      'GET /metrics/agents/{agent}',
      'GET /readyz',
      'GET /v1/capacity',
      'GET /v1/sessions',
      'GET /v1/sessions/{id}',
      'GET /v1/sessions/{id}/live',
      'GET /v1/sessions/{id}/logs',
      'PATCH /v1/sessions/{id}/metadata',
      'POST /v1/drain',
      'POST /v1/reload',
      'POST /v1/sessions',
      'POST /v1/sessions/release',
      'POST /v1/sessions/{id}/keep_alive',
      'POST /v1/sessions/{id}/release',
      'POST /v1/sessions/{id}/token',
      'POST /v1/sweep',
      'POST /v1/undrain',
      'POST /webhooks/livekit',
    ]);
  });

  it('has a summary and the possible errors of each route', () => {
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { summary, responses }] of Object.entries(methods)) {
        expect(summary, `${method} ${path}`).toBeTypeOf('string');
        if (path.startsWith('/v1/sessions'))
          expect(Object.keys(responses), `${method} ${path}`).toEqual(
            expect.arrayContaining(['400', '401', '403', '404', '409', '503']),
          );
      }
    }
    expect(Object.keys(paths['/v1/sessions']?.post?.responses ?? {})).toContain('429');
    expect(Object.keys(paths['/webhooks/livekit']?.post?.responses ?? {})).toEqual(
      expect.arrayContaining(['204', '401', '503']),
    );
    expect(Object.keys(paths['/v1/capacity']?.get?.responses ?? {})).toContain('403');
  });
});

describe('the HTTP listeners during their close', () => {
  it('still answer a request that began before the close', async () => {
    const own = await openListeners();
    own.api.sessions.set('s-1', viewOf({ id: 's-1' }));
    const client = connect(own.socketPath);
    let received = '';
    client.on('data', (chunk) => {
      received += chunk.toString();
    });
    const ended = new Promise((resolve) => client.once('close', resolve));
    client.write('GET /v1/sessions/s-1 HTTP/1.1\r\nhost: x\r\n');
    // Race: this second request ensures that the server has accepted the first connection.
    await own.local({ path: '/healthz' });
    const closed = own.close();
    await until('the socket file is gone', () => !existsSync(own.socketPath));
    client.write('\r\n');
    await Promise.all([closed, ended]);
    expect(received).toMatch(/^HTTP\/1\.1 200 /);
    expect(received).toContain('"id":"s-1"');
  });
});
