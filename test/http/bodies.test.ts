/** Any invalid request is answered with a problem that names the field, never with a 500, and has no effect. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TEXT } from '../../src/lib/limits/api-limits.ts';
import type { TestListeners } from '../support/api/listeners.ts';
import { openListeners, problemOf } from '../support/api/listeners.ts';

let listeners: TestListeners;
beforeAll(async () => {
  listeners = await openListeners();
});
afterAll(() => listeners.close());
afterEach(() => {
  listeners.api.sessions.clear();
  listeners.api.requests.length = 0;
});

const dispatch = (body: unknown, headers: Record<string, string> = {}) =>
  listeners.local({ method: 'POST', path: '/v1/sessions', body, headers });
const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

describe('a dispatch', () => {
  it.each([
    ['no body at all', undefined, 'body'],
    ['an empty object', {}, 'room'],
    ['a list', [], 'body'],
    ['text', '"room"', 'body'],
    ['null', 'null', 'body'],
    ['a number as room', { room: 1 }, 'room'],
    ['an empty room', { room: '' }, 'room'],
    ['a room of 10 kB', { room: 'r'.repeat(10_000) }, 'room'],
    ['a room with a newline', { room: 'a\nb' }, 'room'],
    ['a room with a NUL', { room: 'a\0b' }, 'room'],
    ['a room with an escape', { room: 'a\u001b[2Jb' }, 'room'],
    ['a room with a line separator', { room: 'a\u2028b' }, 'room'],
    ['a room with half a surrogate pair', { room: 'a\ud800b' }, 'room'],
    ['an agent like a path', { room: 'r', agent: '../../etc/passwd' }, 'agent'],
    ['an agent like a shell line', { room: 'r', agent: '$(reboot)' }, 'agent'],
    ['an id like a path', { room: 'r', id: '../s' }, 'id'],
    ['an id of 10 kB', { room: 'r', id: 'i'.repeat(10_000) }, 'id'],
    ['a user with a newline', { room: 'r', user: 'a\nb' }, 'user'],
    ['metadata as a list', { room: 'r', metadata: [] }, 'metadata'],
    ['metadata as text', { room: 'r', metadata: '{}' }, 'metadata'],
    [
      'metadata that is too large',
      { room: 'r', metadata: { a: 'x'.repeat(TEXT.metadataBytes) } },
      'metadata',
    ],
    ['a label that is a number', { room: 'r', labels: { a: 1 } }, 'labels.a'],
    ['a label with a key like a shell line', { room: 'r', labels: { '$(x)': 'a' } }, 'labels'],
    [
      'too many labels',
      { room: 'r', labels: Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`k${at}`, 'v'])) },
      'labels',
    ],
    ['a limit as text', { room: 'r', limits: { maxDurationMs: '2h' } }, 'limits.maxDurationMs'],
    [
      'a limit under its range',
      { room: 'r', limits: { activityIdleTimeoutMs: 29_999 } },
      'limits.activityIdleTimeoutMs',
    ],
    [
      'a limit over its range',
      { room: 'r', limits: { activityIdleTimeoutMs: 3_599_001 } },
      'limits.activityIdleTimeoutMs',
    ],
    ['a broken number of errors', { room: 'r', limits: { errorLimit: 1.5 } }, 'limits.errorLimit'],
  ])('is refused for %s', async (_what, body, field) => {
    const got = await dispatch(body);
    expect(got.status).toBe(400);
    expect(problemOf(got)).toMatchObject({ code: 'invalid_request', status: 400 });
    expect(problemOf(got).detail).toMatch(new RegExp(`^${field}\\b`));
    expect(listeners.api.requests).toEqual([]);
  });

  it.each([
    ['an unknown key', '{"room":"r","rooom":"x"}', 'rooom'],
    ['an unknown limit', '{"room":"r","limits":{"maxDuration":1}}', 'maxDuration'],
    ['a key `constructor`', '{"room":"r","constructor":{"prototype":{"x":1}}}', 'constructor'],
  ])('is refused for %s, which the error names', async (_what, body, key) => {
    const got = await dispatch(body);
    expect(got.status).toBe(400);
    expect(problemOf(got).detail).toContain(key);
  });

  it.each([
    ['half an object', '{"room":'],
    ['a body that is no JSON', 'room=r'],
    ['a key `__proto__`', '{"room":"r","__proto__":{"agent":"x"}}'],
    ['a nested key `__proto__`', '{"room":"r","metadata":{"__proto__":{"x":1}}}'],
    ['an empty body', ''],
    ['a bare NUL', '\0'],
  ])('is refused for %s', async (_what, body) => {
    const got = await dispatch(body);
    expect(got.status).toBe(400);
    expect(problemOf(got).code).toBe('invalid_request');
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/xml',
    'nonsense',
  ])('is refused for the content type %s', async (type) => {
    const got = await dispatch('{"room":"r"}', { 'content-type': type });
    expect(got.status).toBe(415);
    expect(problemOf(got).code).toBe('unsupported_media_type');
  });

  it('is refused for a body over the bound', async () => {
    const got = await dispatch({ room: 'r', metadata: { a: 'x'.repeat(TEXT.bodyBytes) } });
    expect(got.status).toBe(413);
    expect(problemOf(got).detail).toContain(String(TEXT.bodyBytes));
  });

  it('is refused for a room of 128 emoji, which LiveKit lets nobody into', async () => {
    const got = await dispatch({ room: '\u{1F600}'.repeat(128) });
    expect(got.status).toBe(400);
    expect(problemOf(got).detail).toContain('has 512 bytes; LiveKit takes at most 256');
  });

  it('is refused for JSON of 20000 levels', async () => {
    const got = await dispatch(`{"room":"r","metadata":${deep(20_000)}}`);
    expect(got.status).toBe(400);
    expect(listeners.api.requests).toEqual([]);
  });
});

describe('a valid dispatch', () => {
  it.each([
    ['a room like a path', '../../etc/passwd'],
    ['a room like a shell line', '"; rm -rf / #$(reboot)`x`'],
    ['a room in unicode', '会議室 🎧 Büro'],
    ['a room of 256 characters', 'r'.repeat(256)],
    ['a room of 256 bytes', '\u{1F600}'.repeat(64)],
  ])('is accepted unchanged with %s', async (_what, room) => {
    const got = await dispatch({ room });
    expect(got.status).toBe(201);
    expect(got.json).toMatchObject({ room });
  });

  it('is accepted unchanged with metadata of 60 levels', async () => {
    const got = await dispatch(`{"room":"r","metadata":${deep(60)}}`);
    expect(got.status).toBe(201);
    expect(JSON.stringify(got.json.metadata)).toBe(deep(60));
  });
});

describe('a random request', () => {
  const paths = [
    ['POST', '/v1/sessions'],
    ['POST', '/v1/sessions/release'],
    ['POST', '/v1/sessions/x/release'],
    ['POST', '/v1/sessions/x/keep_alive'],
    ['PATCH', '/v1/sessions/x/metadata'],
    ['POST', '/webhooks/livekit'],
  ] as const;

  it('with any body never leads to a 500, and every refusal is a problem', async () => {
    const shaped = fc.record(
      {
        room: fc.anything(),
        agent: fc.anything(),
        id: fc.anything(),
        metadata: fc.anything(),
        labels: fc.anything(),
        limits: fc.anything(),
        filter: fc.anything(),
        detail: fc.anything(),
        forMs: fc.anything(),
        all: fc.anything(),
      },
      { requiredKeys: [] },
    );
    const body = fc.oneof(
      fc.json(),
      fc.string(),
      shaped.map((one) => safeJson(one)),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), body, async ([method, path], text) => {
        const got = await listeners.local({ method, path, body: text });
        expect(got.status, `${path} ${text}`).toBeLessThan(500);
        if (got.status >= 400) expect(problemOf(got).code, `${path} ${text}`).toBeTypeOf('string');
      }),
      { numRuns: 400 },
    );
  });

  it('with any query and path never leads to a 500', async () => {
    const query = fc.dictionary(
      fc.constantFrom('state', 'limit', 'cursor', 'label', 'room', 'wait', 'x'),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), query, async (id, pairs) => {
        const search = new URLSearchParams(pairs);
        for (const path of [
          `/v1/sessions?${search}`,
          `/v1/sessions/${encodeURIComponent(id.toWellFormed())}?${search}`,
        ])
          expect((await listeners.local({ path })).status, path).toBeLessThan(500);
      }),
      { numRuns: 200 },
    );
  });
});

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch {
    return '{"room":1}';
  }
}
