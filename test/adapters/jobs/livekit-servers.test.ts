/** Servers that are away, refuse, are silent or send nonsense: one clear message each, and a bounded retry. */
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { freePorts } from '../../support/lib/free-ports.ts';
import { until } from '../../support/lib/wait.ts';
import { HAS_LIVEKIT, LiveKit } from '../../support/livekit/livekit-server.ts';
import type { Greeting } from './fake-livekit.ts';
import { FakeServer, offerOf, REGISTERED } from './fake-livekit.ts';
import type { Adapter } from './jobs-rig.ts';
import { Adapters, alarms, fastClock } from './jobs-rig.ts';

const adapters = new Adapters();
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await adapters.close();
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function fake(greet?: Greeting): Promise<FakeServer> {
  const server = await FakeServer.start(greet);
  closers.push(() => server.close());
  return server;
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** How much faster the clock runs, so that several attempts fit into a test. */
const FACTOR = 40;
const open = (url: string, more: { factor?: number; apiSecret?: string } = {}): Adapter =>
  adapters.open({ url, clock: fastClock(more.factor ?? FACTOR), ...more });

const errorOf = (adapter: Adapter) =>
  adapter.jobs.status().find((one) => one.agentName === 'a')?.error ?? null;

async function expectOneComplaint(adapter: Adapter, attempts: () => number, words: RegExp): Promise<void> {
  await until('the log says why', () => adapter.complaints().some((line) => words.test(line)));
  await until('its status says so', () => words.test(errorOf(adapter) ?? ''));
  const before = attempts();
  await until('there were two more attempts', () => attempts() >= before + 2);
  expect(adapter.complaints().filter((line) => words.test(line)).length).toBe(1);
}

describe('the connection to a job server', () => {
  it.runIf(HAS_LIVEKIT)('reports a refused key of a real LiveKit server once', async () => {
    const livekit = await LiveKit.start({ logLevel: 'info' });
    closers.push(() => livekit.close());
    const adapter = open(livekit.url, { apiSecret: 'another-secret-that-is-long-enough-too' });
    await until('the status says why', () => errorOf(adapter) !== null);
    expect(errorOf(adapter)).toMatch(/refuses our key \(401\).*api_key and livekit.api_secret.*"agent"/);
    expect(adapter.complaints().length).toBe(1);
  });

  it('reports once that every attempt is refused for its key', async () => {
    let attempts = 0;
    const server = createHttpServer();
    server.on('upgrade', (_request, socket) => {
      attempts += 1;
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
    });
    const adapter = open(await listen(server));
    await expectOneComplaint(adapter, () => attempts, /refuses our key \(401\)/);
  });

  it('reports once that the server is not LiveKit', async () => {
    let attempts = 0;
    const server = createHttpServer((_request, response) => {
      attempts += 1;
      response.writeHead(200).end('hello');
    });
    const adapter = open(await listen(server));
    await expectOneComplaint(adapter, () => attempts, /the answer 200 is not from LiveKit/);
  });

  it('reports once that the server speaks no HTTP', async () => {
    let attempts = 0;
    const server = createServer((socket) => {
      attempts += 1;
      socket.on('error', () => undefined);
      socket.resume().end('220 ready\r\n');
    });
    const adapter = open(await listen(server));
    await expectOneComplaint(adapter, () => attempts, /the answer is not from LiveKit/);
  });

  it('reports once that no server listens', async () => {
    const [port = 0] = await freePorts(1);
    const clock = alarms(fastClock(FACTOR));
    const adapter = adapters.open({ url: `ws://127.0.0.1:${port}`, clock });
    await expectOneComplaint(adapter, () => clock.set.length, /cannot be reached: ECONNREFUSED/);
  });

  it('reports once that the server accepts the connection and stays silent', async () => {
    let attempts = 0;
    const server = createServer((socket) => {
      attempts += 1;
      socket.on('error', () => undefined);
      socket.resume();
    });
    const adapter = open(await listen(server));
    await expectOneComplaint(adapter, () => attempts, /does not answer/);
  });

  it('reports once that the registration gets no answer', async () => {
    const server = await fake(() => undefined);
    const adapter = open(server.url);
    await expectOneComplaint(adapter, () => server.peers.length, /never answered the registration/);
    const [firstPeer] = server.peers;
    expect(firstPeer?.framesOf('register')).toMatchObject([
      { type: 'JT_ROOM', agentName: 'a', version: '1.2.3' },
    ]);
  });

  it.each([
    ['a pong', { pong: {} }],
    ['nonsense', 'hello'],
  ])('reports once that the first frame is %s, not the answer to a registration', async (_what, frame) => {
    const server = await fake((peer) => peer.send(frame));
    const adapter = open(server.url);
    await expectOneComplaint(
      adapter,
      () => server.peers.length,
      /its first frame is not an answer to a registration/,
    );
  });

  it('reports once that a frame is too large', async () => {
    const server = await fake((peer) => peer.send(REGISTERED, 'x'.repeat(2 ** 20 + 1)));
    const adapter = open(server.url);
    await expectOneComplaint(adapter, () => server.peers.length, /a frame of more than 1048576 bytes/);
  });

  it('logs endless garbage once, closes after ten frames and connects again', async () => {
    const server = await fake((peer) => peer.send(REGISTERED, ...Array(10).fill('{"availability":{}}')));
    const adapter = open(server.url);
    await until('a third attempt', () => server.peers.length >= 3);
    const complaints = adapter.complaints();
    expect(complaints.filter((line) => line.includes('cannot be parsed; curfew ignores it')).length).toBe(1);
    expect(complaints.filter((line) => line.includes('10 frames in a row')).length).toBe(1);
    expect(complaints.length).toBe(2);
  });

  it('ignores some garbage between valid frames', async () => {
    const server = await fake((peer) => {
      const nine = ['', 'null', '[]', '{', '{"termination":{}}', '{"availability":1}', '"x"', '7', 'true'];
      peer.send(REGISTERED, ...nine, { brandNew: { thing: 1 } }, ...nine.slice(1));
      peer.sendBinary(Buffer.from([1, 2, 3]));
      peer.send(offerOf('AJ_1'));
    });
    const adapter = open(server.url, { factor: 1 });
    await until('the job is answered', () => server.latest.framesOf('availability').length > 0);
    expect(server.peers.length).toBe(1);
    expect(adapter.complaints().length).toBe(1);
  });

  it('warns once about another protocol version and continues', async () => {
    const server = await fake((peer) =>
      peer.send({ register: { workerId: 'x', serverInfo: { agentProtocol: 2 } } }),
    );
    const adapter = open(server.url);
    await until('it is registered', () => adapter.isRegistered());
    server.latest.drop();
    await until('it is registered again', () => server.peers.length === 2 && adapter.isRegistered());
    const warnings = adapter.lines.filter((line) =>
      line.message.includes('another version of the agent protocol'),
    );
    expect(warnings).toMatchObject([{ level: 'warn', fields: { agentProtocol: 2 } }]);
    server.latest.send(offerOf('AJ_1'));
    await until('a job is answered', () => server.latest.framesOf('availability').length > 0);
  });

  it('is dropped and opened again when the server falls silent after a registration', async () => {
    const server = await fake();
    const adapter = open(server.url);
    await until('it is dropped', () => server.peers.length > 1);
    await expectOneComplaint(adapter, () => server.peers.length, /was silent for too long/);
  });

  it('stays open while the server only pings', async () => {
    const server = await fake();
    open(server.url);
    await until('it is registered', () => server.peers.length === 1);
    const pings = setInterval(() => server.latest.ping(), 50);
    closers.push(async () => clearInterval(pings));
    // Six reports take twice as long as the bound on silence.
    await until('the load is reported regularly', () => server.latest.framesOf('updateWorker').length > 6);
    expect(server.peers.length).toBe(1);
  });

  it('is retried after growing waits, up to a bound', async () => {
    const [port = 0] = await freePorts(1);
    const clock = alarms(fastClock(400));
    adapters.open({ url: `ws://127.0.0.1:${port}`, clock });
    // Each attempt sets two alarms: its own bound, then the wait before the next attempt.
    await until('many attempts', () => clock.set.length >= 24);
    const waits = clock.set.filter((_, index) => index % 2 === 1);
    const [firstWaitMs] = waits;
    expect(firstWaitMs).toBeLessThanOrEqual(500);
    expect(Math.max(...waits)).toBeGreaterThan(10_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(30_000);
  });

  it('is retried after a short wait again once it was steady', async () => {
    const server = await fake((peer) => peer.drop());
    const clock = alarms(fastClock(FACTOR));
    const adapter = adapters.open({ url: server.url, clock });
    await until('several attempts', () => server.peers.length > 4);
    server.greetWith((peer) => peer.send(REGISTERED));
    await until('it is registered', () => adapter.isRegistered());
    const pings = setInterval(() => server.latest.ping(), 50);
    closers.push(async () => clearInterval(pings));
    await until('it was steady', () => server.latest.framesOf('updateWorker').length > 5);
    const from = clock.set.length;
    server.latest.drop();
    await until('the next attempt is soon', () => clock.set.slice(from).some((waitMs) => waitMs <= 500));
  });

  it('leaves no alarm when it is closed, in any state', async () => {
    const [port = 0] = await freePorts(1);
    const [good, silent] = [await fake(), await fake(() => undefined)];
    for (const url of [good.url, silent.url, `ws://127.0.0.1:${port}`]) {
      const clock = alarms(fastClock(1));
      const adapter = adapters.open({ url, clock, names: ['a', 'b'] });
      if (url === good.url) await until('it is registered', () => adapter.isRegistered());
      if (url === silent.url) await until('it connected', () => silent.peers.length === 2);
      adapter.jobs.setLoad('a', { load: 0.5, full: false, jobs: 1 });
      await adapter.jobs.close();
      expect(clock.open()).toBe(0);
    }
    await until('the servers saw it go', () =>
      [...good.peers, ...silent.peers].every((peer) => !peer.isOpen),
    );
  });
});
