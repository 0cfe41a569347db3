/** Durations as people write them. */
import ms from 'ms';

/** Milliseconds. null: the text is not a duration with a unit, such as `1h30m`. */
export function readDuration(text: string): number | null {
  const parts = text.trim().match(/\d+(?:\.\d+)?(?:ms|s|m|h|d)/g);
  if (parts === null || parts.join('') !== text.trim()) return null;
  return parts.reduce((sum, part) => sum + ms(part as ms.StringValue), 0);
}

/** The shortest exact text for a duration: `90000` gives `90s`, `120000` gives `2m`. */
export function writeDuration(durationMs: number): string {
  if (durationMs === 0) return '0s';
  const units = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'm'],
    [1000, 's'],
  ] as const;
  const unit = units.find(([size]) => durationMs >= size && durationMs % size === 0);
  return unit === undefined ? `${durationMs}ms` : `${durationMs / unit[0]}${unit[1]}`;
}
