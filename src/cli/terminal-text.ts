/** Text for a terminal: no control characters, aligned, within its columns, with optional colours. */
import { stripVTControlCharacters, styleText } from 'node:util';
import { CLI } from '../lib/limits/api-limits.ts';

/** Replaces control characters, because a name from outside must not move the cursor or start a new line. */
export function safe(text: string): string {
  return stripVTControlCharacters(text).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '·');
}

/** East Asian wide and full-width characters, and emoji. */
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;

/** Columns of a character: two for wide ones (CJK, emoji), none for combining marks. */
function widthOf(char: string): number {
  if (/[\p{Mn}\p{Me}]/u.test(char)) return 0;
  return WIDE.test(char) ? 2 : 1;
}

export function displayWidth(text: string): number {
  return [...text].reduce((sum, char) => sum + widthOf(char), 0);
}

/** Cuts a text that is wider than `columns`, and ends it with `…`. */
export function clip(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let kept = '';
  for (const char of text) {
    if (displayWidth(kept + char) > columns - 1) break;
    kept += char;
  }
  return `${kept}…`;
}

export function pad(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - displayWidth(text)));
}

export interface Column<Row> {
  readonly title: string;
  /** Largest width when the table does not fit. null: the column gets the width that the others leave. */
  readonly columns: number | null;
  readonly text: (row: Row) => string;
}

const GAP = 2;

/** Width of the terminal. Infinity in a pipe, because a program that reads the output needs whole values. */
export function outputColumns(): number {
  const { isTTY, columns } = process.stdout;
  return isTTY ? columns || CLI.columns : Number.POSITIVE_INFINITY;
}

export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], available: number): string {
  const titles = columns.map((column) => column.title);
  const lines = [titles, ...rows.map((row) => columns.map((column) => safe(column.text(row))))];
  const widths = fitWidths(lines, columns, available);
  return lines
    .map((cells) =>
      cells
        .map((cell, index) => pad(clip(cell, widths[index] ?? 0), widths[index] ?? 0))
        .join(' '.repeat(GAP))
        .trimEnd(),
    )
    .join('\n');
}

function fitWidths(
  lines: readonly string[][],
  columns: readonly Column<never>[],
  available: number,
): number[] {
  const widths = columns.map((_, index) =>
    Math.max(...lines.map((cells) => displayWidth(cells[index] ?? ''))),
  );
  if (total(widths) <= available) return widths;
  const bounded = columns.map(({ columns: most }, index) => Math.min(most ?? 0, widths[index] ?? 0));
  const left = Math.max(1, available - total(bounded));
  return bounded.map((width, index) =>
    columns[index]?.columns === null ? Math.min(widths[index] ?? 0, left) : width,
  );
}

/** The sum of the widths and the gaps. */
function total(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width + GAP, -GAP);
}

/** Breaks lines at spaces and indents later lines. A long word stays whole, so that a person can copy it. */
export function wrap(text: string, indent: number): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && displayWidth(`${last} ${word}`) + indent <= CLI.columns)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${' '.repeat(indent)}`);
}

/** An error for stderr: each line of the message, then the hint. */
export function renderError(message: string, hint: string | null = null): string {
  const lines = message.split('\n');
  const prefix = lines.length === 1 ? 'curfew' : 'error';
  const wrapped = lines.map((one) => `${prefix}: ${wrap(safe(one), 2)}`);
  return [...wrapped, ...(hint === null ? [] : [`  ${wrap(hint, 2)}`])].join('\n');
}

export function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

/** A duration for people: `1 h 02 m`, `3.2 s`, `40 ms`. */
export function span(durationMs: number): string {
  const ms = Math.max(0, Math.round(durationMs));
  if (ms < 1000) return `${ms} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} m ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`;
}

export type Paint = (style: 'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan', text: string) => string;

/** NO_COLOR, --no-color and a pipe give plain text. */
export function painter(wanted: boolean): Paint {
  return wanted ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;
}
