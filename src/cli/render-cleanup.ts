/** Text for a cleanup. Pure. */
import type { CleanupView, VerdictView } from '../api/cleanup-api.ts';
import { mebibytes } from '../core/memory-sample.ts';
import type { Column, Paint } from './terminal-text.ts';
import { clip, outputColumns, safe, span, table, wrap } from './terminal-text.ts';

const INDENT = 9;

/** One row for each verdict, with the processes and the reason below it; the plan at the end. `available`: columns. */
export function renderCleanup(cleanup: CleanupView, paint: Paint, available = outputColumns()): string {
  const { verdicts, appeared, remarks, plan, dryRun } = cleanup;
  const toEnd = verdicts.filter((one) => one.action === 'kill');
  return [
    ...remarks.map((text) => paint('yellow', wrap(safe(text), 2))),
    ...(verdicts.length === 0 ? [] : [blocks(verdicts, paint, available)]),
    ...(appeared.length === 0
      ? []
      : [
          paint('yellow', 'These appeared after the plan. curfew left them alone:'),
          blocks(appeared, paint, available),
        ]),
    wrap(summary(cleanup, toEnd), 0),
    ...(dryRun && toEnd.length > 0 ? [`To end exactly these:  curfew cleanup --apply ${plan}`] : []),
  ].join('\n');
}

function blocks(verdicts: readonly VerdictView[], paint: Paint, available: number): string {
  const columns: Column<VerdictView>[] = [
    { title: 'PID', columns: 8, text: (one) => String(one.pid) },
    { title: 'AGE', columns: 9, text: (one) => age(one.ageMs) },
    { title: 'RSS', columns: 9, text: (one) => mebibytes(one.rssBytes) },
    { title: 'LIVEKIT', columns: 7, text: (one) => connection(one.livekit) },
    { title: 'KIND', columns: 9, text: (one) => one.kind },
    { title: 'ACTION', columns: 8, text: (one) => one.outcome ?? one.action },
    { title: 'SESSION', columns: null, text: (one) => one.session ?? '-' },
  ];
  const [titles = '', ...rows] = table(verdicts, columns, available).split('\n');
  return [
    paint('dim', titles),
    ...rows.flatMap((row, index) => [row, ...details(verdicts[index], paint, available)]),
  ].join('\n');
}

function details(one: VerdictView | undefined, paint: Paint, available: number): string[] {
  if (one === undefined) return [];
  const [root, ...rest] = one.processes;
  const pad = ' '.repeat(INDENT);
  const cut = (text: string) => clip(`${pad}${safe(text)}`, available);
  return [
    ...(one.room === null ? [] : [cut(`room ${one.room}`)]),
    cut(root?.command ?? one.command),
    ...rest.map(({ pid, command, outcome }) =>
      cut(`└ ${pid} ${command}${outcome === null ? '' : ` (${outcome})`}`),
    ),
    paint('dim', `${pad}${wrap(safe(one.why), INDENT)}`),
  ];
}

function summary({ verdicts, dryRun, scanned, tookMs }: CleanupView, toEnd: readonly VerdictView[]): string {
  const scan = `${scanned} processes scanned in ${span(tookMs)}`;
  if (verdicts.length === 0) return `No process that should not be there: ${scan}.`;
  const processes = toEnd.reduce((sum, one) => sum + one.tree.length, 0);
  if (dryRun) return `${scan}. Dry run: ${count(processes, 'process')} would end, none was ended.`;
  if (toEnd.length === 0) return `${scan}: no process had to end.`;
  const left = toEnd.filter(isLeft).length;
  return `${scan}: ${count(toEnd.length - left, 'tree')} of ${toEnd.length} ended or gone${left === 0 ? '.' : `, ${left} left.`}`;
}

/** true: a process of the tree still runs although it should have ended. */
export function isLeft({ outcome }: VerdictView): boolean {
  return outcome === 'survived' || outcome === 'denied';
}

function count(number: number, what: string): string {
  const plural = what.endsWith('s') ? `${what}es` : `${what}s`;
  return `${number} ${number === 1 ? what : plural}`;
}

function connection(livekit: boolean | null): string {
  if (livekit === null) return '?';
  return livekit ? 'yes' : 'no';
}

const DAY_MS = 86_400_000;

function age(ageMs: number): string {
  return ageMs < 2 * DAY_MS ? span(ageMs) : `${Math.floor(ageMs / DAY_MS)} d`;
}
