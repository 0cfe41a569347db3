/** The sums of the metrics of an agent's workers, and their text. */
import { describe, expect, it } from 'vitest';
import type { Series, Sums } from '../../src/core/workers/metric-sums.ts';
import { addSeries, emptySums, lasting, printMetrics } from '../../src/core/workers/metric-sums.ts';

const counter = (value: number, more: Partial<Series> = {}): Series => ({
  type: 'counter',
  mode: '',
  metric: 'calls',
  name: 'calls_total',
  help: 'Calls',
  labels: [['kind', 'a']],
  value,
  timestamp: 0,
  ...more,
});
const gauge = (mode: string, value: number, timestamp = 0): Series =>
  counter(value, { type: 'gauge', mode, metric: 'g', name: 'g', labels: [], timestamp });
const bucket = (le: string, value: number) =>
  counter(value, { type: 'histogram', metric: 'h', name: 'h_bucket', labels: [['le', le]] });
const sumOf = (...all: Series[]) => addSeries(emptySums(), all, { series: 100, chars: 10_000 });
const textOf = (sums: Sums) => [...printMetrics(sums)].join('');
const values = (...all: Series[]) => [...sumOf(...all).series.values()].map((one) => one.value);

describe('the sum of series', () => {
  it('adds counters with the same labels, and keeps others apart', () => {
    expect(values(counter(1), counter(2), counter(5, { labels: [['kind', 'b']] }))).toEqual([3, 5]);
  });

  it.each([
    ['sum', 9],
    ['livesum', 9],
    ['max', 7],
    ['livemin', 2],
    ['mostrecent', 2],
  ])('merges gauges by their mode %s', (mode, expected) => {
    expect(values(gauge(mode, 7, 1), gauge(mode, 2, 5))).toEqual([expected]);
  });

  it('leaves out what only living processes have', () => {
    const all = [counter(1), gauge('livesum', 1), gauge('all', 1), gauge('sum', 1), bucket('1.0', 1)];
    expect(lasting(all).map((one) => one.mode || one.type)).toEqual(['counter', 'sum', 'histogram']);
  });

  it('stays within its bound', () => {
    const many = Array.from({ length: 50 }, (_, index) => counter(1, { labels: [['n', String(index)]] }));
    expect(addSeries(emptySums(), many, { series: 10, chars: 10_000 }).series.size).toBe(10);
    expect(addSeries(emptySums(), many, { series: 50, chars: 500 }).chars).toBeLessThanOrEqual(500);
  });
});

describe('the text', () => {
  it('adds up the buckets of a histogram, and escapes labels and help', () => {
    const odd = counter(1, { labels: [['kind', 'a"b\\c\nd']], help: 'two\nlines' });
    const sum = counter(1.5, { type: 'histogram', metric: 'h', name: 'h_sum', labels: [] });
    expect(textOf(sumOf(odd, bucket('+Inf', 1), bucket('1.0', 2), sum))).toBe(
      [
        '# HELP calls_total two\\nlines',
        '# TYPE calls_total counter',
        'calls_total{kind="a\\"b\\\\c\\nd"} 1',
        '# HELP h Calls',
        '# TYPE h histogram',
        'h_bucket{le="1.0"} 2',
        'h_bucket{le="+Inf"} 3',
        'h_count 3',
        'h_sum 1.5',
        '',
      ].join('\n'),
    );
  });

  it('of nothing is empty', () => expect(textOf(emptySums())).toBe(''));
});
