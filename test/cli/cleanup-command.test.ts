/** What `curfew cleanup` asks for, without a supervisor, and what it shows. */
import { describe, expect, it } from 'vitest';
import type { CleanupView, VerdictView } from '../../src/api/cleanup-api.ts';
import { renderCleanup } from '../../src/cli/render-cleanup.ts';
import { painter } from '../../src/cli/terminal-text.ts';
import { cli } from '../support/terminal.ts';

const env = { CURFEW_API: '/nowhere/c.sock' };

describe('curfew cleanup', () => {
  it.each([
    [[], { dryRun: true }],
    [['--yes'], { dryRun: false }],
    [['--match', 'agent.py'], { dryRun: true, match: 'agent.py' }],
    [['--apply', 'abc'], { dryRun: false, plan: 'abc' }],
    [
      ['--unmanaged', '--match', 'agent.py', '--older-than', '1d'],
      { dryRun: true, unmanaged: { match: 'agent.py', olderThanMs: 86_400_000 } },
    ],
  ])('%j', async (args, asked) => {
    const { code, cleaned } = await cli(['cleanup', ...args], { env });
    expect(code).toBe(0);
    expect(cleaned).toEqual([{ ...asked, askerPid: process.pid }]);
  });

  it.each([
    [['--unmanaged'], '--unmanaged needs --match PATTERN and --older-than'],
    [['--unmanaged', '--match', 'agent.py'], '--older-than'],
    [['--older-than', '1d'], '--older-than needs --unmanaged'],
    [['--apply', 'abc', '--match', 'agent.py'], 'remove --match'],
    [['--unmanaged', '--match', 'agent.py', '--older-than', 'long'], 'is not a duration'],
  ])('%j is refused', async (args, message) => {
    const { code, err, cleaned } = await cli(['cleanup', ...args], { env });
    expect(code).toBe(2);
    expect(err.replaceAll(/\s+/g, ' ')).toContain(message);
    expect(cleaned).toEqual([]);
  });
});

describe('a sweep on a terminal', () => {
  const verdict: VerdictView = {
    pid: 4711,
    startedAt: '2026-01-02T03:04:05.000Z',
    session: 's-1',
    room: 'room \u001b[31mred',
    worker: 's-1.1',
    kind: 'orphan',
    action: 'kill',
    why: 'its session ended (callers_left), and this is a long reason that needs more than one line of eighty columns',
    command: 'python agent.py',
    ageMs: 8 * 86_400_000,
    rssBytes: 300 * 1024 ** 2,
    livekit: true,
    tree: [4711, 4712],
    processes: [
      { pid: 4711, command: `python agent.py ${'x'.repeat(200)}`, outcome: null },
      { pid: 4712, command: 'python -c child', outcome: null },
    ],
    outcome: null,
  };
  const sweep: CleanupView = {
    dryRun: true,
    plan: 'abc123',
    verdicts: [verdict],
    appeared: [],
    remarks: ['the registry cannot be read'],
    scanned: 321,
    tookMs: 12.3,
  };
  const text = (part: Partial<CleanupView>, columns = 80) =>
    renderCleanup({ ...sweep, ...part }, painter(false), columns);

  it('has the table, the tree, the reason and the plan, in 80 columns and without control characters', () => {
    const shown = text({});
    for (const part of [
      '4711',
      '8 d',
      '300 MB',
      'yes',
      'orphan',
      's-1',
      '└ 4712 python -c child',
      'callers_left',
    ])
      expect(shown).toContain(part);
    expect(shown.replaceAll(/\s+/g, ' ')).toContain('2 processes would end, none was ended');
    expect(shown).toContain('curfew cleanup --apply abc123');
    expect(Math.max(...shown.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(shown).not.toContain('\u001b');
  });

  it('is cut to the columns that there are, and not in a pipe', () => {
    expect(text({})).not.toContain('x'.repeat(200));
    expect(text({}, 230)).toContain('x'.repeat(200));
    expect(renderCleanup(sweep, painter(false))).toContain('x'.repeat(200));
  });

  it('says what became of each, and what is left', () => {
    const done = text({ dryRun: false, verdicts: [{ ...verdict, outcome: 'survived' }] });
    expect(done).toContain('survived');
    expect(done).toContain('0 trees of 1 ended or gone, 1 left.');
    expect(text({ dryRun: false, verdicts: [{ ...verdict, outcome: 'ended' }] })).toContain(
      '1 tree of 1 ended',
    );
    expect(text({ verdicts: [] })).toContain('No process that should not be there');
    expect(text({ appeared: [verdict] })).toContain('These appeared after the plan. curfew left them alone:');
  });
});
