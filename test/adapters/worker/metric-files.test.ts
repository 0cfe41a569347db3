/** The files of prometheus_client: real ones, and whatever a hostile worker writes in their place. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readMetricFiles } from '../../../src/adapters/worker/metrics/metric-files.ts';
import { openWorkers } from '../../support/workers/workers-rig.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-metrics-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A file as prometheus_client writes it, with the unused rest as zeros. */
function fileOf(...entries: [key: string, value: number][]): Buffer {
  const parts = entries.map(([key, value]) => {
    const text = Buffer.from(key);
    const head = Buffer.alloc(4);
    head.writeInt32LE(text.length);
    const numbers = Buffer.alloc(16);
    numbers.writeDoubleLE(value);
    return Buffer.concat([head, text, Buffer.alloc(8 - ((text.length + 4) % 8), 32), numbers]);
  });
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(8);
  head.writeInt32LE(8 + body.length);
  return Buffer.concat([head, body, Buffer.alloc(1000)]);
}
const key = (name: string, labels = {}) => JSON.stringify([name, `${name}_total`, labels, 'help']);
const budget = () => ({ bytes: 100_000_000, series: 100_000 });
const write = (name: string, data: Buffer) => writeFileSync(join(dir, name), data);

it('reads names, labels and values, and the pid of a gauge for each process', async () => {
  write('counter_1.db', fileOf([key('a', { z: '1', b: '2' }), 3], [key('längér'), 1], [key('c'), 0.5]));
  write(`gauge_liveall_${process.pid}.db`, fileOf([JSON.stringify(['g', 'g', {}, '']), 7]));
  write('gauge_livesum_999999999.db', fileOf([JSON.stringify(['dead', 'dead', {}, '']), 7]));
  const found = await readMetricFiles(dir, budget());
  expect(found.map(({ name, value, labels }) => [name, value, labels])).toEqual([
    [
      'a_total',
      3,
      [
        ['b', '2'],
        ['z', '1'],
      ],
    ],
    ['c_total', 0.5, []],
    ['g', 7, [['pid', String(process.pid)]]],
  ]);
});

it('ends at the first fault of a file, and follows no link', async () => {
  const good = fileOf([key('a'), 1], [key('b'), 2]);
  const lengths = Buffer.from(good);
  lengths.writeInt32LE(2_000_000_000, 0);
  lengths.writeInt32LE(-5, 8);
  write('counter_1.db', lengths);
  write('counter_2.db', good);
  truncateSync(join(dir, 'counter_2.db'), 60);
  write('counter_3.db', Buffer.from('x'));
  write('counter_4.db', fileOf(['{"not":"a key"}', 1], ['["bad name","bad name",{},""]', 1], [key('c'), 9]));
  symlinkSync('/dev/zero', join(dir, 'counter_5.db'));
  write('other.txt', good);
  expect((await readMetricFiles(dir, budget())).map((one) => one.name)).toEqual(['a_total', 'c_total']);
  expect(await readMetricFiles(join(dir, 'missing'), budget())).toEqual([]);
});

it('reads little of a worker whose files are full of keys that are none', async () => {
  const bad = fileOf(...Array.from({ length: 10_000 }, (): [string, number] => ['x', 1]));
  for (let n = 1; n <= 64; n += 1) write(`counter_${n}.db`, bad);
  const left = budget();
  expect(await readMetricFiles(dir, left)).toEqual([]);
  expect(100_000_000 - left.bytes).toBeLessThanOrEqual(bad.length);
});

it('stops at the bytes and series that are left for all workers of an answer', async () => {
  for (let n = 1; n <= 5; n += 1) write(`counter_${n}.db`, fileOf([key('a'), 1], [key('b'), 2]));
  const left = { bytes: 1000, series: 3 };
  expect(await readMetricFiles(dir, left)).toHaveLength(3);
  expect(await readMetricFiles(dir, left)).toEqual([]);
  expect(left.series).toBe(0);
  expect(await readMetricFiles(dir, { bytes: 20, series: 100 })).toEqual([]);
});

it('leaves the event loop its turns while it reads large files', async () => {
  const many = Array.from({ length: 4000 }, (_, index): [string, number] => [
    key('a', { n: String(index) }),
    1,
  ]);
  write('counter_1.db', fileOf(...many));
  let turns = 0;
  const count = () => {
    turns += 1;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  expect(await readMetricFiles(dir, budget())).toHaveLength(4000);
  clearImmediate(timer);
  expect(turns).toBeGreaterThanOrEqual(4);
});

/** As after `systemctl restart`: each start of the supervisor has a /tmp of its own. Only root can make mounts. */
it.runIf(process.getuid?.() === 0)(
  'are those of a live worker also where only the worker sees its temporary folder, and its counters stay',
  async () => {
    const temp = join(dir, 'temp');
    mkdirSync(temp);
    const host = openWorkers({ env: { PATH: process.env.PATH }, temp: { dir: temp, maxBytes: 1e9 } });
    try {
      write('made', fileOf([key('calls'), 3]));
      const script = `mount -t tmpfs none "${temp}" && mkdir -p -m 700 "$PROMETHEUS_MULTIPROC_DIR" &&
        chmod 700 "$(dirname "$TMPDIR")" "$TMPDIR" && cp "${dir}/made" "$PROMETHEUS_MULTIPROC_DIR/counter_1.db" &&
        echo up && exec sleep 60`;
      const command = ['unshare', '-m', 'sh', '-c', script] as [string, ...string[]];
      const { id } = await host.startUp(command, { profile: { tmp: 'worker', protocol: 'livekit' } });
      for (const root of readdirSync(temp)) rmSync(join(temp, root), { recursive: true });
      expect(await host.workers.metricsOf('default')).toContain('calls_total 3');
      host.workers.signal(id, 'SIGKILL');
      await host.treeGone(id);
      expect(await host.workers.metricsOf('default')).toContain('calls_total 3');
    } finally {
      await host.dispose();
    }
  },
);
