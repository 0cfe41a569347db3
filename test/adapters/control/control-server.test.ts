/** The control socket: which workers it accepts, and how it answers anything that is not a message. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RefusalLog } from '../../../src/adapters/control/refusal-log.ts';
import { workerId } from '../../../src/core/ids.ts';
import { TEXT } from '../../../src/lib/limits/api-limits.ts';
import { CHANNEL } from '../../../src/lib/limits/worker-limits.ts';
import { until } from '../../support/lib/wait.ts';
import type { Client } from '../../support/workers/control-rig.ts';
import { ControlRig, line } from '../../support/workers/control-rig.ts';

const READY = line({ type: 'ready' });
let rig: ControlRig;

beforeEach(async () => {
  rig = await new ControlRig().listen();
});
afterEach(() => rig.close());

const lastEventOf = (name: string) => rig.eventsOf(name).at(-1);

async function refusalOf(client: Client): Promise<Record<string, unknown>> {
  await until('the connection is closed', () => client.isClosed());
  expect(client.lines()).toHaveLength(1);
  const [refusal] = client.lines();
  return refusal ?? {};
}

describe('a hello on the control socket', () => {
  it('opens the channel, and the messages after it arrive', async () => {
    const client = rig.connect();
    client.send(rig.hello('w-1', { kit: { name: 'test', version: '1' } }) + READY);
    await until('ready', () => rig.eventsOf('w-1').length === 2);
    expect(rig.eventsOf('w-1')).toEqual(['hello', { type: 'ready' }]);
    expect(rig.channels.send(workerId('w-1'), { type: 'dump' })).toBe(true);
    await until('dump', () => client.lines().length === 1);
    expect(client.lines()).toEqual([{ type: 'dump' }]);
  });

  it.each<[string, (rig: ControlRig) => string, object]>([
    ['a line that is not JSON', () => 'hello\n', { code: 'not_json', field: null }],
    ['a line that is no object', () => 'null\n', { code: 'malformed', field: null }],
    ['another message first', () => READY, { code: 'malformed', field: 'type' }],
    ['another version', (one) => one.hello('w-1', { v: 2 }), { code: 'wrong_version', field: 'v' }],
    ['a version as text', (one) => one.hello('w-1', { v: '1' }), { code: 'malformed', field: 'v' }],
    ['no token', (one) => one.hello('w-1', { token: undefined }), { code: 'malformed', field: 'token' }],
    ['an empty token', (one) => one.hello('w-1', { token: '' }), { code: 'wrong_token', field: 'token' }],
    [
      "another worker's token",
      (one) => one.hello('w-1', { token: one.channels.tokenFor(workerId('w-2')) }),
      { code: 'wrong_token', field: 'token' },
    ],
    [
      'another instance',
      (one) => one.hello('w-1', { worker: 'other/w-1' }),
      { code: 'other_instance', field: 'worker' },
    ],
    ['no instance', (one) => one.hello('w-1', { worker: 'w-1' }), { code: 'malformed', field: 'worker' }],
    [
      'a mark with more parts',
      (one) => one.hello('w-1', { worker: `${one.instance.id}/w-1/x` }),
      { code: 'malformed', field: 'worker' },
    ],
    [
      'a mark of 10 kB',
      (one) => one.hello('w-1', { worker: 'w'.repeat(10_000) }),
      { code: 'malformed', field: 'worker' },
    ],
    ['a worker that no session has', (one) => one.hello('w-9'), { code: 'unknown_worker', field: 'worker' }],
    ['an unknown field', (one) => one.hello('w-1', { tokn: 'x' }), { code: 'malformed', field: 'tokn' }],
  ])('is refused, and the answer names the reason: %s', async (_what, text, expected) => {
    const client = rig.connect();
    client.send(text(rig) + READY);
    expect(await refusalOf(client)).toMatchObject({ type: 'error', ...expected });
    expect(rig.events).toEqual([]);
  });

  it('that does not arrive within its bound closes the connection', async () => {
    const client = rig.connect();
    client.send('{"type":"hel');
    await until('closed', () => client.isClosed(), CHANNEL.helloMs + 5000);
    expect(client.lines()).toMatchObject([{ type: 'error', code: 'no_hello' }]);
    expect(rig.events).toEqual([]);
  });

  it('is accepted once: a second one on the same connection is malformed', async () => {
    const client = await rig.greeted();
    client.send(rig.hello());
    expect(await refusalOf(client)).toMatchObject({ code: 'malformed', field: 'type' });
    await until('closed', () => rig.eventsOf('w-1').includes('closed'));
  });

  it('on a newer connection replaces the older connection, without a closed event', async () => {
    const older = await rig.greeted();
    const newer = await rig.greeted();
    await until('the older is closed', () => older.isClosed());
    expect(rig.eventsOf('w-1')).toEqual(['hello', 'hello']);
    rig.channels.send(workerId('w-1'), { type: 'dump' });
    await until('dump', () => newer.lines().length === 1);
    older.send(READY);
    newer.send(READY);
    await until('ready', () => rig.eventsOf('w-1').length === 3);
    newer.socket.end();
    await until('closed', () => lastEventOf('w-1') === 'closed');
  });

  it('that is refused leaves the existing connection of the worker open', async () => {
    const existing = await rig.greeted();
    rig.known.delete('w-1');
    const other = rig.connect();
    other.send(rig.hello());
    expect(await refusalOf(other)).toMatchObject({ code: 'unknown_worker' });
    expect(rig.channels.send(workerId('w-1'), { type: 'dump' })).toBe(true);
    await until('dump', () => existing.lines().length === 1);
    expect(rig.eventsOf('w-1')).toEqual(['hello']);
  });
});

describe('a line on the control socket', () => {
  it.each<[string, string | Buffer, object]>([
    ['is not JSON', 'ready\n', { code: 'not_json' }],
    ['is half JSON', '{"type":"ready"\n', { code: 'not_json' }],
    ['has two messages', '{"type":"ready"}{"type":"ready"}\n', { code: 'not_json' }],
    ['is a list', '[]\n', { code: 'malformed' }],
    ['has an unknown type', line({ type: 'reddy' }), { code: 'malformed', field: 'type' }],
    ['has an unknown field', line({ type: 'ready', now: true }), { code: 'malformed', field: 'now' }],
    [
      'has an unknown kind of activity',
      line({ type: 'activity', kind: 'x' }),
      { code: 'malformed', field: 'kind' },
    ],
    [
      'has a negative span',
      line({ type: 'activity', kind: 'keep_alive', forMs: -1 }),
      { code: 'malformed', field: 'forMs' },
    ],
    [
      'has a span of a day',
      line({ type: 'activity', kind: 'keep_alive', forMs: 86_400_000 }),
      { code: 'malformed', field: 'forMs' },
    ],
    ['has a broken revision', line({ type: 'configured', rev: 0.5 }), { code: 'malformed', field: 'rev' }],
    ['has an error without a message', line({ type: 'error' }), { code: 'malformed', field: 'message' }],
    [
      'has an error that is too long',
      line({ type: 'error', message: 'x'.repeat(4001) }),
      { code: 'malformed', field: 'message' },
    ],
    [
      'has a detail that is too long',
      line({ type: 'closed', detail: 'x'.repeat(TEXT.detailChars + 1) }),
      { code: 'malformed', field: 'detail' },
    ],
    ['has a key `__proto__`', '{"type":"ready","__proto__":{"x":1}}\n', { code: 'malformed' }],
    ['has 30000 levels', `${'['.repeat(30_000)}${']'.repeat(30_000)}\n`, { code: 'malformed' }],
    ['is not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x0a]), { code: 'not_utf8' }],
    ['is too long', `${'x'.repeat(CHANNEL.lineBytes + 1)}\n`, { code: 'line_too_long' }],
    ['is too long and has no end', 'x'.repeat(CHANNEL.lineBytes + 1), { code: 'line_too_long' }],
  ])('that %s closes the connection with its reason, and the messages before it count', async (_what, bad, expected) => {
    const client = await rig.greeted();
    client.send(READY);
    client.send(bad);
    client.send(line({ type: 'ok' }));
    expect(await refusalOf(client)).toMatchObject({ type: 'error', ...expected });
    await until('closed', () => rig.eventsOf('w-1').includes('closed'));
    expect(rig.eventsOf('w-1')).toEqual(['hello', { type: 'ready' }, 'closed']);
  });

  it('with an invented field name gets that name back, cut to a bound, and no log holds it', async () => {
    const client = await rig.greeted();
    client.send(line({ type: 'ready', ['+4930'.repeat(1000)]: 1 }));
    const { field, message } = (await refusalOf(client)) as { field: string; message: string };
    expect(field).toContain('+4930');
    expect(field.length + message.length).toBeLessThan(400);
    expect(rig.warnings).toEqual([{ worker: 'w-1', code: 'malformed', field: 'unknown' }]);
  });

  it('arrives whole when it comes byte by byte, with empty lines and CR, in any script', async () => {
    const client = await rig.greeted();
    const message = { type: 'error', message: 'päng 🎧 会議' };
    for (const byte of Buffer.from(`\n\r\n${line(message).trimEnd()}\r\n`)) client.send(Buffer.from([byte]));
    await until('the message', () => rig.eventsOf('w-1').length === 2);
    expect(rig.eventsOf('w-1')).toEqual(['hello', message]);
  });

  it('without an end is no message when the worker disconnects', async () => {
    const client = await rig.greeted();
    client.socket.end('{"type":"ready"}');
    await until('closed', () => rig.eventsOf('w-1').includes('closed'));
    expect(rig.eventsOf('w-1')).toEqual(['hello', 'closed']);
  });

  it('of random content never ends the socket server', async () => {
    const other = await rig.greeted('w-2');
    const json = fc.oneof(
      fc.json(),
      fc
        .record({
          type: fc.constantFrom('ready', 'ok', 'activity', 'error', 'closed', 'hello'),
          kind: fc.anything(),
        })
        .map((one) => String(JSON.stringify(one))),
      fc.string({ unit: 'binary' }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(json, { maxLength: 5 }), fc.uint8Array(), async (lines, tail) => {
        const client = await rig.greeted();
        client.send(lines.join('\n'));
        client.send(tail);
        client.socket.end();
        await until('closed', () => lastEventOf('w-1') === 'closed');
      }),
      { numRuns: 100 },
    );
    other.send(READY);
    await until('the other is heard', () => rig.eventsOf('w-2').length === 2);
  });
});

describe('the log of refusals', () => {
  it('has one line for each worker, then one line per interval with the count', () => {
    let nowMs = 0;
    const lines: object[] = [];
    const silent = () => undefined;
    const log = {
      debug: silent,
      info: silent,
      warn: (fields: object) => void lines.push(fields),
      error: silent,
    };
    const refusals = new RefusalLog(log, () => nowMs);
    const error = { code: 'not_json', message: 'the line is not JSON', field: null };
    for (let count = 0; count < 1000; count += 1) {
      refusals.add(workerId('w-1'), error);
      refusals.add(null, error);
    }
    expect(lines).toEqual([
      { worker: 'w-1', code: 'not_json', field: null },
      { worker: null, code: 'not_json', field: null },
    ]);
    nowMs += CHANNEL.refusalLogMs;
    refusals.add(workerId('w-1'), error);
    expect(lines).toContainEqual({ worker: 'w-1', code: 'not_json', field: null, more: 999 });
  });
});
