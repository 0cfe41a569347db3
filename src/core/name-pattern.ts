/** Patterns as people type them: `*` matches any text. They match a part of a command line, or a whole name. */

/** Takes time in proportion to the line for each part, because it never backtracks. */
export function matchesPattern(line: string, pattern: string): boolean {
  let from = 0;
  for (const part of pattern.split('*')) {
    const at = line.indexOf(part, from);
    if (at < 0) return false;
    from = at + part.length;
  }
  return true;
}

export function matchesWhole(name: string, pattern: string): boolean {
  const parts = pattern.split('*');
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (parts.length === 1) return name === pattern;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
    return false;
  return matchesPattern(name.slice(first.length, name.length - last.length), parts.slice(1, -1).join('*'));
}
