/** Patterns over command lines as people type them: a part of the line, `*` for anything between two parts. */

/** Runs in time proportional to the line for each part, whatever the pattern: no backtracking. */
export function matchesPattern(line: string, pattern: string): boolean {
  let from = 0;
  for (const part of pattern.split('*')) {
    const at = line.indexOf(part, from);
    if (at < 0) return false;
    from = at + part.length;
  }
  return true;
}
