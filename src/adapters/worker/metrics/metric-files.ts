/**
 * Reads the files of prometheus_client in PROMETHEUS_MULTIPROC_DIR. A worker may have written anything into them, so every
 * length is checked and each amount has a bound. A file ends at its first wrong length.
 * A file: 4 bytes with the used length, 4 bytes of padding, then entries. An entry: 4 bytes with the length of its key, the
 * key as JSON, padding to 8 bytes, value and time as doubles. All in the byte order of the machine.
 * Source: prometheus_client 0.26, mmap_dict.py and multiprocess.py.
 */
import { existsSync } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
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

/** Amounts that may still be read. */
export interface ReadBudget {
  bytes: number;
  series: number;
}

/**
 * The series of one worker. A folder that does not exist counts as empty. Never rejects.
 * `all`: the budget of all workers of an answer.
 */
export async function readMetricFiles(folder: string, all: ReadBudget): Promise<Series[]> {
  const left = {
    bytes: Math.min(METRICS.workerBytes, all.bytes),
    series: Math.min(METRICS.workerSeries, all.series),
    faults: METRICS.workerFaults as number,
  };
  const isFull = () => left.bytes <= 0 || series.length >= left.series || left.faults === 0;
  const series: Series[] = [];
  for (const name of await namesIn(folder)) {
    if (isFull()) break;
    const source = sourceOf(name);
    // A gauge of a process that ended does not count, when its mode asks only for the living.
    if (source.mode.startsWith('live') && !existsSync(`/proc/${source.pid}`)) continue;
    const data = await readUsed(join(folder, name), left.bytes).catch(() => Buffer.alloc(0));
    left.bytes -= data.length;
    all.bytes -= data.length;
    for (const one of parse(data)) {
      if (one === 'pause') {
        await setImmediate();
        continue;
      }
      const found = seriesOf(one, source);
      if (found !== null) series.push(found);
      else left.faults -= 1;
      if (series.length >= left.series || left.faults === 0) break;
    }
  }
  all.series -= series.length;
  return series;
}

async function namesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  let looked = 0;
  try {
    for await (const { name } of await opendir(folder)) {
      looked += 1;
      if (FILE_NAME.test(name)) found.push(name);
      if (found.length >= METRICS.files || looked >= METRICS.names) break;
    }
  } catch {
    // No folder, or the worker removed it meanwhile.
  }
  return found.sort();
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

/** The used part of a file. */
async function readUsed(path: string, mostBytes: number): Promise<Buffer> {
  const file = await openRegular(path);
  try {
    const head = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const used = Math.min(head.buffer.readInt32LE(0), METRICS.fileBytes, mostBytes, (await file.stat()).size);
    if (head.bytesRead < HEAD_BYTES || used <= HEAD_BYTES) return Buffer.alloc(0);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(used), 0, used, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

const HEAD_BYTES = 8;
const VALUE_BYTES = 16;

interface Entry {
  readonly key: string;
  readonly value: number;
  readonly timestamp: number;
}

/** `pause`: the event loop needs a turn. */
function* parse(data: Buffer): Generator<Entry | 'pause'> {
  let pauseAt = METRICS.turnBytes;
  for (let at = HEAD_BYTES; at + 4 <= data.length; ) {
    const keyBytes = data.readInt32LE(at);
    if (keyBytes <= 0 || keyBytes > METRICS.keyBytes) return;
    const valueAt = at + 4 + keyBytes + (8 - ((keyBytes + 4) % 8));
    if (valueAt + VALUE_BYTES > data.length) return;
    const key = data.toString('utf8', at + 4, at + 4 + keyBytes);
    yield { key, value: data.readDoubleLE(valueAt), timestamp: data.readDoubleLE(valueAt + 8) };
    at = valueAt + VALUE_BYTES;
    if (at < pauseAt) continue;
    pauseAt = at + METRICS.turnBytes;
    yield 'pause';
  }
}

/** `null`: not a key of prometheus_client. */
function seriesOf({ key, value, timestamp }: Entry, { type, mode, pid }: Source): Series | null {
  try {
    const [metric, name, labels, help] = keySchema.parse(JSON.parse(key));
    const isPerProcess = type === 'gauge' && ['all', 'liveall', ''].includes(mode);
    const all = Object.entries(isPerProcess ? { ...labels, pid } : labels);
    all.sort(([a], [b]) => (a < b ? -1 : 1));
    return { type, mode, metric, name, help, labels: all, value, timestamp };
  } catch {
    return null;
  }
}
