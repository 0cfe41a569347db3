/** The requests of `curfew cleanup` without a supervisor, and its output. */
import { describe, expect, it } from 'vitest';
import type { CleanupView, VerdictView } from '../../src/api/cleanup-api.ts';
import { renderCleanup } from '../../src/cli/render-cleanup.ts';
import { painter } from '../../src/cli/terminal-text.ts';
import { cli } from '../support/api/command-line.ts';

const env = { CURFEW_API: '/nowhere/c.sock' };

describe('the command curfew cleanup', () => {
  it.each([
    [[], { dryRun: true }],
    [['--yes'], { dryRun: false }],
    [['--match', 'agent.py'], { dryRun: true, match: 'agent.py' }],
    [['--apply', 'abc'], { dryRun: false, plan: 'abc' }],
    [
      ['--unmanaged', '--match', 'agent.py', '--older-than', '1d'],
      { dryRun: true, unmanaged: { match: 'agent.py', olderThanMs: 86_400_000 } },
    ],
  ])('with %j requests %j', async (args, request) => {
    const { code, cleaned } = await cli(['cleanup', ...args], { env });
    expect(code).toBe(0);
    expect(cleaned).toEqual([{ ...request, askerPid: process.pid }]);
  });

  it.each([
    [['--unmanaged'], '--unmanaged needs --match PATTERN and --older-than'],
    [['--unmanaged', '--match', 'agent.py'], '--older-than'],
    [['--older-than', '1d'], '--older-than needs --unmanaged'],
    [['--apply', 'abc', '--match', 'agent.py'], 'remove --match'],
    [['--unmanaged', '--match', 'agent.py', '--older-than', 'long'], 'is not a duration'],
  ])('with %j is refused: %s', async (args, message) => {
    const { code, err, cleaned } = await cli(['cleanup', ...args], { env });
    expect(code).toBe(2);
    expect(err.replaceAll(/\s+/g, ' ')).toContain(message);
    expect(cleaned).toEqual([]);
  });
});

describe('the result of a cleanup on a terminal', () => {
  const verdict: VerdictView = {
    pid: 4711,
    startedAt: '2026-01-02T03:04:05.000Z',
    session: 's-1',
    room: 'room \u001b[31mred',
    worker: 's-1.1',
    instance: null,
    stateDir: null,
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
  const cleanup: CleanupView = {
    dryRun: true,
    plan: 'abc123',
    verdicts: [verdict],
    appeared: [],
    remarks: ['the registry cannot be read'],
    scanned: 321,
    tookMs: 12.3,
  };
  const text = (part: Partial<CleanupView>, columns = 80) =>
    renderCleanup({ ...cleanup, ...part }, painter(false), columns);

  it('shows the table, the tree, the reason and the plan in 80 columns without control characters', () => {
    const shown = text({});
    for (const part of [
      '4711',
      '8 d',
      '300 MiB',
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

  it('is cut to the columns of the terminal, and is whole in a pipe', () => {
    expect(text({})).not.toContain('x'.repeat(200));
    expect(text({}, 230)).toContain('x'.repeat(200));
    expect(renderCleanup(cleanup, painter(false))).toContain('x'.repeat(200));
  });

  it('names the outcome of each process and the processes that are left', () => {
    const done = text({ dryRun: false, verdicts: [{ ...verdict, outcome: 'survived' }] });
    expect(done).toContain('survived');
    expect(done).toContain('0 trees of 1 ended or gone, 1 left.');
    expect(text({ dryRun: false, verdicts: [{ ...verdict, outcome: 'ended' }] })).toContain(
      '1 tree of 1 ended',
    );
    const left = { ...verdict, action: 'leave' as const };
    expect(text({ dryRun: false, verdicts: [left] })).toContain(': no process had to end.');
    expect(text({ verdicts: [] })).toContain('No process that should not be there');
    expect(text({ appeared: [verdict] })).toContain('These appeared after the plan. curfew left them alone:');
  });
});
