/** The control socket under a flood, with a worker that does not read, and the socket file. */
import { existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { CHANNEL } from '../../../src/lib/limits/worker-limits.ts';
import { until } from '../../support/lib/wait.ts';
import { ControlRig, line } from '../../support/workers/control-rig.ts';

const READY = line({ type: 'ready' });
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
let rig: ControlRig;

beforeEach(async () => {
  rig = await new ControlRig().listen();
});
afterEach(() => rig.close());

const heartbeats = (name: string) =>
  rig.eventsOf(name).filter((one) => typeof one === 'object' && one.type === 'heartbeat').length;

/** Memory in use after a garbage collection. */
function liveBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('a control socket after a restart of the supervisor', () => {
  it('queues the connections of all workers before it accepts the first', async () => {
    // The kernel's limit for waiting connections can be lower.
    const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
    const clients = Array.from({ length: Math.min(1500, most) }, () => rig.connect());
    let refused = 0;
    for (const { socket } of clients)
      socket.on('error', () => {
        refused += 1;
      });
    await until('each is connected or refused', () => clients.every(({ socket }) => !socket.connecting));
    expect(refused).toBe(0);
  });
});

describe('a worker that floods its control socket', () => {
  it('neither starves another worker nor fills the memory', async () => {
    const flooder = await rig.greeted('w-1');
    const other = await rig.greeted('w-2');
    rig.ignored.add('w-1');
    const chunk = Buffer.from(line({ type: 'error', message: 'x'.repeat(1000) }).repeat(1000));
    const rounds = Math.ceil((100 * 1024 ** 2) / chunk.length);
    let sent = 0;
    const flood = new Promise<void>((resolve) => {
      const next = () => {
        if (sent++ === rounds) resolve();
        else if (flooder.socket.write(chunk)) setImmediate(next);
        else flooder.socket.once('drain', next);
      };
      next();
    });
    const before = liveBytes();
    let most = 0;
    while (sent < rounds) {
      const eventsBefore = rig.eventsOf('w-2').length;
      other.send(line({ type: 'ok' }));
      await until('the other one is heard', () => rig.eventsOf('w-2').length > eventsBefore);
      most = Math.max(most, liveBytes());
    }
    await flood;
    expect(rig.eventsOf('w-2').length).toBeGreaterThan(3);
    expect(most - before).toBeLessThan(32 * 1024 ** 2);
  });

  it('has its burst of heartbeats merged into few', async () => {
    const client = await rig.greeted();
    client.send(line({ type: 'heartbeat' }).repeat(5000) + READY);
    await until('ready', () =>
      rig.eventsOf('w-1').some((one) => typeof one === 'object' && one.type === 'ready'),
    );
    expect(heartbeats('w-1')).toBeLessThan(50);
  });
});

describe('a worker that does not read its control socket', () => {
  it('loses its connection when its backlog is full', async () => {
    const client = await rig.greeted();
    client.socket.pause();
    const big = { type: 'configure', rev: 1, metadata: { a: 'x'.repeat(60_000) } } as const;
    let accepted = 0;
    while (rig.channels.send(workerId('w-1'), big) && accepted < 1000) accepted++;
    expect(accepted).toBeLessThan(100);
    await until('closed', () => rig.eventsOf('w-1').includes('closed'));
    expect(rig.channels.send(workerId('w-1'), { type: 'dump' })).toBe(false);
  });

  it('does not delay the close of the socket', async () => {
    const client = await rig.greeted();
    client.socket.pause();
    rig.channels.send(workerId('w-1'), { type: 'configure', rev: 1, metadata: { a: 'x'.repeat(60_000) } });
    await rig.channels.close();
    expect(existsSync(rig.socketPath)).toBe(false);
  });
});

describe('the file of the control socket', () => {
  it('is readable and writable for its owner only', () => {
    expect(statSync(rig.socketPath).mode & 0o777).toBe(0o600);
  });

  it('is replaced when a dead process left it behind', async () => {
    const path = join(rig.dir, 'stale.sock');
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(`${path}.old`, resolve));
    renameSync(`${path}.old`, path);
    await new Promise((resolve) => dead.close(resolve));
    const channels = rig.channelsAt(path);
    await channels.listen({ hello: () => true, message: () => {}, closed: () => {} });
    expect(statSync(path).isSocket()).toBe(true);
    await channels.close();
  });

  it('never replaces a file that is no socket', async () => {
    const path = join(rig.dir, 'letters');
    writeFileSync(path, 'dear ann');
    await expect(
      rig.channelsAt(path).listen({ hello: () => true, message: () => {}, closed: () => {} }),
    ).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('a file that is not a socket has this path; remove it'),
    });
    expect(readFileSync(path, 'utf8')).toBe('dear ann');
  });

  it('is refused while another server answers on it', async () => {
    const second = rig.channelsAt(rig.socketPath);
    await expect(
      second.listen({ hello: () => true, message: () => {}, closed: () => {} }),
    ).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining('another process already listens on this path'),
    });
    await rig.greeted();
  });

  it('is refused when its path is longer than Linux allows', async () => {
    const path = join(rig.dir, 'x'.repeat(CHANNEL.socketPathBytes));
    await expect(
      rig.channelsAt(path).listen({ hello: () => true, message: () => {}, closed: () => {} }),
    ).rejects.toMatchObject({
      code: 'invalid_config',
      message: expect.stringContaining(`the path has ${path.length} bytes`),
    });
  });
});
