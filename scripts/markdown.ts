/** Markdown that the printed pages of docs/reference/ share. */

/** A table whose cells may hold any text. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)];
}

function cell(text: string): string {
  return text.replaceAll('\n', ' ').replaceAll('|', '\\|');
}

export function code(text: string): string {
  return `\`${text}\``;
}

/** A whole page, with the note that tells a reader where to change it. */
export function page(title: string, sources: string, parts: readonly (readonly string[])[]): string {
  const note = `<!-- Printed by \`npm run docs\` from ${sources}. Change it there; a test compares. -->`;
  return `${[`# ${title}`, '', note, '', ...parts.flatMap((part) => [...part, ''])].join('\n').trimEnd()}\n`;
}
