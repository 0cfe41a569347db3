/**
 * Reads the files of prometheus_client in PROMETHEUS_MULTIPROC_DIR. A worker may have written anything into them, so every
 * length is checked, and a file ends at its first fault.
 * A file: 4 bytes with the used length, 4 bytes of padding, then entries. An entry: 4 bytes with the length of its key, the
 * key as JSON, padding to 8 bytes, value and time as doubles. All in the byte order of the machine.
 * Source: prometheus_client 0.26, mmap_dict.py and multiprocess.py.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { MetricType, Series } from '../../../core/workers/metric-sums.ts';
import { METRICS } from '../../../lib/limits/metric-limits.ts';
import { openRegular } from '../../../lib/safe-files.ts';

const FILE_NAME = /^(?:(counter|histogram|summary)|(gauge)_([a-z]+))_(\d+)\.db$/;
const METRIC_NAME = /^[A-Za-z_:][A-Za-z0-9_:]*$/;
const LABEL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const keySchema = z.tuple([
  z.string().regex(METRIC_NAME),
  z.string().regex(METRIC_NAME),
  z.record(z.string().regex(LABEL_NAME), z.string()),
  z.string(),
]);

/** The series of one worker, in no order. A folder that does not exist counts as empty. Never rejects. */
export async function readMetricFiles(folder: string): Promise<Series[]> {
  const names = await readdir(folder).catch(() => []);
  const series: Series[] = [];
  for (const name of names.filter((one) => FILE_NAME.test(one)).slice(0, METRICS.files)) {
    const source = sourceOf(name);
    // A gauge of a process that ended does not count, when its mode asks only for the living.
    if (source.mode.startsWith('live') && !existsSync(`/proc/${source.pid}`)) continue;
    const data = await readStart(join(folder, name)).catch(() => Buffer.alloc(0));
    for (const one of parse(data, source)) {
      if (series.length >= METRICS.workerSeries) return series;
      series.push(one);
    }
  }
  return series;
}

interface Source {
  readonly type: MetricType;
  readonly mode: string;
  readonly pid: string;
}

function sourceOf(name: string): Source {
  const [, type, , mode = '', pid = ''] = FILE_NAME.exec(name) ?? [];
  return { type: (type ?? 'gauge') as MetricType, mode, pid };
}

async function readStart(path: string): Promise<Buffer> {
  const file = await openRegular(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(METRICS.fileBytes), 0, METRICS.fileBytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

const HEAD_BYTES = 8;
const VALUE_BYTES = 16;

function* parse(data: Buffer, source: Source): Generator<Series> {
  if (data.length < HEAD_BYTES) return;
  const used = Math.min(data.readInt32LE(0), data.length);
  for (let at = HEAD_BYTES; at + 4 <= used; ) {
    const keyBytes = data.readInt32LE(at);
    if (keyBytes <= 0 || keyBytes > METRICS.keyBytes) return;
    const valueAt = at + 4 + keyBytes + (8 - ((keyBytes + 4) % 8));
    if (valueAt + VALUE_BYTES > used) return;
    const one = seriesOf(data.toString('utf8', at + 4, at + 4 + keyBytes), source);
    if (one !== null)
      yield { ...one, value: data.readDoubleLE(valueAt), timestamp: data.readDoubleLE(valueAt + 8) };
    at = valueAt + VALUE_BYTES;
  }
}

/** `null`: not a key of prometheus_client. */
function seriesOf(key: string, { type, mode, pid }: Source): Omit<Series, 'value' | 'timestamp'> | null {
  try {
    const [metric, name, labels, help] = keySchema.parse(JSON.parse(key));
    const isPerProcess = type === 'gauge' && ['all', 'liveall', ''].includes(mode);
    const all = Object.entries(isPerProcess ? { ...labels, pid } : labels);
    return { type, mode, metric, name, help, labels: all.sort(([a], [b]) => (a < b ? -1 : 1)) };
  } catch {
    return null;
  }
}
