/** The output on a terminal, with any names. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { renderCapacity, renderList, renderShow } from '../../src/cli/render-sessions.ts';
import { painter, safe, span } from '../../src/cli/terminal-text.ts';
import { endedView, memoryApi, viewOf } from '../support/api/memory-api.ts';

const plain = painter(false);
const AT = '2026-01-02T03:04:05.000Z';

/** The width in columns. Terminals draw the listed blocks two columns wide. The tests count with their own code. */
function displayWidth(text: string): number {
  const wide =
    /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\p{Emoji_Presentation}\u{20000}-\u{3fffd}]/u;
  return [...text].reduce(
    (sum, char) => sum + (/[\p{Mn}\p{Me}]/u.test(char) ? 0 : wide.test(char) ? 2 : 1),
    0,
  );
}

function expectFits(text: string): void {
  for (const line of text.split('\n')) {
    // A word longer than the line stays whole on its own line, so that a person can copy it.
    const isOneWord = /^.{12}[^ ]+$/u.test(line);
    if (!isOneWord) expect(displayWidth(line), line).toBeLessThanOrEqual(80);
    expect(line).not.toMatch(/[\p{Cc}\u2028\u2029\u202e]/u);
  }
}

function named(name: string): SessionView[] {
  const session = viewOf({
    id: 's-0123456789abcdef0123',
    room: name,
    agent: name,
    user: name,
    labels: { k: name },
  });
  const step = { step: 'term', startedAt: AT, tookMs: 3200, outcome: 'timeout', detail: name };
  const replaced = [
    {
      worker: 's-0123456789abcdef0123.1',
      reason: 'crashed' as const,
      cause: 'exit',
      at: AT,
      by: null,
      detail: name,
    },
  ];
  const ended = { ...endedView(session, name), replaced };
  const evidence = {
    cause: name,
    at: AT,
    by: name,
    detail: name,
    ladder: [step],
    room: { action: 'keep', why: name },
  };
  return [session, { ...ended, state: 'failed', reason: 'start_timeout', evidence }];
}

const NAMES = [
  'plain',
  'a name with spaces '.repeat(13),
  'x'.repeat(256),
  '会議室'.repeat(80),
  '🎧👩‍👩‍👧'.repeat(40),
  'e\u0301'.repeat(100),
  '\u001b[31mred\u001b]0;title\u0007\r\n\t',
  '\u202eright to left',
];

describe('the output of list and show', () => {
  it.each(NAMES)('with the name %j fits 80 columns and moves no cursor', (name) => {
    const sessions = named(name);
    expectFits(renderList(sessions, 80));
    for (const session of sessions) expectFits(renderShow(session, plain));
  });

  it('of a list has a heading and one line per session', () => {
    expect(renderList(named('a\nb')).split('\n')).toHaveLength(3);
    expect(renderList([])).toBe('no sessions');
  });

  it('fits 80 columns with any name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 256 }), (name) => {
        const sessions = named(name);
        expectFits(renderList(sessions, 80));
        for (const session of sessions) expectFits(renderShow(session, plain));
      }),
    );
  });

  it('shows why a session ended', () => {
    const [, ended] = named('why');
    const text = renderShow(ended ?? viewOf({ id: 'x' }), plain);
    expect(text).toContain('failed: start_timeout');
    expect(text).toContain('timeout after 3.2 s (why)');
    expect(text).toContain('keep: why');
    expect(text).toContain('s-0123456789abcdef0123.1 03:04:05Z: crashed');
  });

  it('says that a heartbeat moves the deadline of a worker that does not answer', () => {
    const deadlines = [{ kind: 'unresponsive', at: AT, inMs: 57_000 }] as SessionView['deadlines'];
    const text = renderShow({ ...viewOf({ id: 'x' }), deadlines }, plain);
    expect(text.replaceAll(/\s+/g, ' ')).toContain('in 57 s (03:04:05Z), unless a heartbeat comes before');
  });

  it('counts errors while a session is open, and of an ended one only if there were any', () => {
    const open = viewOf({ id: 'x' });
    const errors = { consecutive: 0, limit: 5, total: 2 };
    const hasErrors = (session: SessionView) => /^ {2}errors /m.test(renderShow(session, plain));
    expect([open, endedView(open), endedView({ ...open, errors })].map(hasErrors)).toEqual([
      true,
      false,
      true,
    ]);
  });

  it('says how many replaced workers it omits', () => {
    const [, ended] = named('why');
    const session = ended ?? viewOf({ id: 'x' });
    const [replaced] = session.replaced;
    const show = (count: number) =>
      renderShow({ ...session, replaced: new Array(count).fill(replaced) }, plain);
    expect(show(3)).not.toContain('before these');
    expect(show(4)).toContain('replaced  1 before these, see --json');
  });

  it('of ended sessions shows how long they lasted and when they ended', () => {
    const [open, ended] = named('r');
    const both = renderList([ended ?? viewOf({ id: 'x' }), open ?? viewOf({ id: 'x' })]);
    expect(both).toMatch(/STATE +LASTED +ENDED +REASON/);
    expect(both).toContain('61 s    01-02 03:04Z  start_timeout');
    expect(renderList([open ?? viewOf({ id: 'x' })])).toMatch(/STATE +AGE +CALLERS/);
  });

  it('shows the message of an error without its stack', () => {
    const [, ended] = named('r');
    const evidence = {
      ...endedView(viewOf({ id: '' })).evidence,
      detail: 'Error: boom\n    at a (b.js:1)\n',
    };
    const text = renderShow(
      { ...(ended ?? viewOf({ id: 'x' })), evidence: evidence as SessionView['evidence'] },
      plain,
    );
    expect(text.replaceAll(/\s+/g, ' ')).toContain(': Error: boom');
    expect(text).not.toContain('b.js');
    expect(text).not.toContain('·');
  });

  it('keeps a generated id whole and cuts a long id, with the longest states and reasons', () => {
    const [, ended] = named('a room with a long name');
    const long = { ...(ended ?? viewOf({ id: '' })), id: 'i'.repeat(128), state: 'released' as const };
    const sessions = [
      ...named('会議室'),
      { ...long, reason: 'no_active_stream' as const, durationMs: 7_199_000 },
    ];
    const text = renderList(sessions, 80);
    expectFits(text);
    expect(text).toContain('s-0123456789abcdef0123  ');
    expect(text).toContain('no_active_stream');
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(80);
  });

  it("uses the terminal's width, and cuts nothing in a pipe", () => {
    const [, ended] = named(`call-17 ${'x'.repeat(60)} end`);
    const sessions = [{ ...(ended ?? viewOf({ id: '' })), reason: 'no_active_stream' as const }];
    const widest = (text: string) => Math.max(...text.split('\n').map(displayWidth));
    const pipe = renderList(sessions);
    expect(pipe).toContain(`call-17 ${'x'.repeat(60)} end  failed`);
    expect(widest(renderList(sessions, 100))).toBe(100);
    expect(renderList(sessions, widest(pipe))).toBe(pipe);
    expect(renderList(sessions, 40)).toMatch(/^s-0123456789abcdef0123 {2}… +failed/m);
  });

  it('aligns columns after wide characters', () => {
    const lines = renderList([
      viewOf({ id: 's-1', room: '会議' }),
      viewOf({ id: 's-2', room: 'abcd' }),
    ]).split('\n');
    const at = lines.map((line) => displayWidth(line.slice(0, line.search(/STATE|live/))));
    expect(new Set(at).size).toBe(1);
  });
});

describe('the output of capacity', () => {
  it('says which way each limit of the host goes', () => {
    const text = renderCapacity(memoryApi().capacity(), plain);
    expect(text).toMatch(/^host host-1 {2}accepting$/m);
    expect(text.replaceAll(/\s+/g, ' ')).toContain(
      'cpu 12 % (at most 80 %), memory 61 % free (at least 10 %)',
    );
  });

  it('names every obstacle to new sessions within 80 columns', () => {
    const capacity = {
      ...memoryApi().capacity(),
      accepting: false,
      livekit: { configured: true, reachable: false, since: AT, error: 'connect ECONNREFUSED '.repeat(10) },
      jobs: [],
      warm: [],
      registry: { writable: false, error: 'disk\nfull', setAside: null },
      unkillable: [{ session: 's-1', pid: 7 }],
      held: [{ session: 's-2', reason: 'callers_left' as const, until: AT }],
    };
    const text = renderCapacity(capacity, plain);
    expectFits(text);
    for (const part of [
      'not accepting',
      'does not answer',
      'not writable',
      's-1, pid 7',
      's-2: callers_left',
    ])
      expect(text).toContain(part);
  });

  it('names the actor of a drain and its start', () => {
    const draining = { since: AT, by: 'local ann', leftMs: 90_000, open: 1 };
    const text = renderCapacity({ ...memoryApi().capacity(), accepting: false, draining }, plain);
    expect(text).toContain('begun by local ann at 03:04:05Z, curfew releases the rest in 90 s');
  });

  it('separates a name from its values, also when the name is long', () => {
    const warm = {
      ready: 1,
      wanted: 2,
      starting: 0,
      crashes: 3,
      lastCrash: 'it exited with code 1',
      startsAgainInMs: 15_215,
    };
    const quota = (name: string) => ({ name, limit: 2, used: 1, holders: [] });
    const capacity = {
      ...memoryApi().capacity(),
      quotas: [quota('sessions'), quota('user:alexandra.schmidt'), quota(`user:${'x'.repeat(100)}`)],
      warm: [{ ...warm, agent: 'warmpy' }],
    };
    const text = renderCapacity(capacity, plain);
    expect(text).toContain('\n  user:alexandra.schmidt  1 of 2\n');
    expect(text).toContain('\n  sessions                1 of 2\n');
    expect(text).toContain('\n  warm warmpy             1 of 2 ready, next in 15 s, 3 crashed in a row: it');
    expect(text).toMatch(/\n {2}user:x{100}\n {26}1 of 2\n/);
  });
});

describe('a text for the terminal', () => {
  it('loses its control characters and nothing else', () => {
    expect(safe('a\u001b[2J\u001b]8;;http://x\u0007b\r\n\u2028\u200e')).toMatch(
      /^ab?[^\p{Cc}\p{Cf}\u2028]*$/u,
    );
    expect(safe('Büro 会議 🎧')).toBe('Büro 会議 🎧');
  });

  it.each([
    [0, '0 ms'],
    [-5, '0 ms'],
    [999, '999 ms'],
    [3200, '3.2 s'],
    [9999, '10.0 s'],
    [61_000, '61 s'],
    [119_600, '2 m 00 s'],
    [3_720_000, '62 m 00 s'],
    [7_320_000, '2 h 02 m'],
  ])('shows %i ms as %s', (durationMs, text) => {
    expect(span(durationMs)).toBe(text);
  });
});
