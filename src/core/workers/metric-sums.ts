/**
 * Sums the metrics of an agent's workers by the rules of prometheus_client for several processes.
 * An ended worker keeps its counters, histograms and summaries, and gauges whose mode does not begin with `live`.
 */

export type MetricType = 'counter' | 'gauge' | 'histogram' | 'summary';

export interface Series {
  readonly type: MetricType;
  /** Of a gauge: sum, max, min, mostrecent, all, each also with `live` before it. Empty for other types. */
  readonly mode: string;
  readonly metric: string;
  readonly name: string;
  readonly help: string;
  /** Sorted by name. */
  readonly labels: readonly (readonly [string, string])[];
  readonly value: number;
  /** Unix time in seconds of the last `set` of a gauge with mode mostrecent. */
  readonly timestamp: number;
}

/** `chars`: the length of all keys and help texts. */
export interface Sums {
  readonly series: Map<string, Series>;
  chars: number;
}

export interface SumBounds {
  readonly series: number;
  readonly chars: number;
}

export function emptySums(): Sums {
  return { series: new Map(), chars: 0 };
}

export function copySums({ series, chars }: Sums): Sums {
  return { series: new Map(series), chars };
}

/** Adds to `sums`. Series beyond the bounds are left out. */
export function addSeries(sums: Sums, more: Iterable<Series>, most: SumBounds): Sums {
  for (const one of more) {
    const key = JSON.stringify([one.type, one.mode, one.name, one.labels]);
    const known = sums.series.get(key);
    const chars = key.length + one.help.length;
    if (known !== undefined) sums.series.set(key, merge(known, one));
    else if (sums.series.size < most.series && sums.chars + chars <= most.chars) {
      sums.series.set(key, one);
      sums.chars += chars;
    }
  }
  return sums;
}

/** The series of a worker that count after its end. A series for each process would grow without a bound. */
export function lasting(all: Iterable<Series>): Series[] {
  return [...all].filter(
    ({ type, mode }) => type !== 'gauge' || (!mode.startsWith('live') && mode !== 'all' && mode !== ''),
  );
}

function merge(known: Series, one: Series): Series {
  if (one.type !== 'gauge') return { ...known, value: known.value + one.value };
  const mode = one.mode.replace(/^live/, '');
  if (mode === 'sum') return { ...known, value: known.value + one.value };
  if (mode === 'max') return { ...known, value: Math.max(known.value, one.value) };
  if (mode === 'min') return { ...known, value: Math.min(known.value, one.value) };
  if (mode === 'mostrecent') return one.timestamp > known.timestamp ? one : known;
  return one;
}

/** Lines of the text format 0.0.4 of Prometheus. Source: prometheus.io, "Exposition formats". */
export function* printMetrics({ series }: Sums): Generator<string> {
  const families = grouped(series.values(), (one) => `${one.type} ${one.metric}`);
  for (const family of [...families.keys()].sort()) yield* printFamily(families.get(family) ?? []);
}

function grouped(all: Iterable<Series>, keyOf: (one: Series) => string): Map<string, Series[]> {
  const groups = new Map<string, Series[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}

function* printFamily(all: readonly Series[]): Generator<string> {
  const [first] = all;
  if (first === undefined) return;
  const name = first.type === 'counter' ? `${first.metric.replace(/_total$/, '')}_total` : first.metric;
  const lines = first.type === 'histogram' ? cumulated(all) : all;
  yield `# HELP ${name} ${first.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`;
  yield `# TYPE ${name} ${first.type}\n`;
  for (const one of lines) yield `${one.name}${labelsOf(one)} ${numberOf(one.value)}\n`;
}

/** The files hold each bucket alone. The text adds up the buckets, and their last sum is the count. */
function cumulated(all: readonly Series[]): Series[] {
  const groups = grouped(
    all.filter(({ labels }) => boundOf(labels) !== null),
    (one) => JSON.stringify(one.labels.filter(([label]) => label !== 'le')),
  );
  const printed = [...groups.values()].flatMap((buckets) => {
    const sorted = buckets.sort((a, b) => (boundOf(a.labels) ?? 0) - (boundOf(b.labels) ?? 0));
    let count = 0;
    const lines = sorted.map((one): Series => {
      count += one.value;
      return { ...one, value: count };
    });
    const last = lines.at(-1);
    const labels = last?.labels.filter(([label]) => label !== 'le') ?? [];
    return last === undefined ? [] : [...lines, { ...last, name: `${last.metric}_count`, labels }];
  });
  return [...printed, ...all.filter(({ name }) => name.endsWith('_sum'))];
}

function boundOf(labels: Series['labels']): number | null {
  const le = labels.find(([label]) => label === 'le')?.[1];
  return le === undefined ? null : le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
}

function labelsOf({ labels }: Series): string {
  if (labels.length === 0) return '';
  const escaped = (text: string) =>
    text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
  return `{${labels.map(([label, value]) => `${label}="${escaped(value)}"`).join(',')}}`;
}

function numberOf(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : '-Inf';
}
