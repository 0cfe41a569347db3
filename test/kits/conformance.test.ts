/** One table of cases against both kits. Each kit runs as a real process on the real control socket. */
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SupervisorMessage } from '../../src/core/model/control-protocol.ts';
import { until } from '../support/lib/wait.ts';
import type { KitServer } from '../support/workers/kit-rig.ts';
import { KIT_WORKER, KitRig, receivedTypes } from '../support/workers/kit-rig.ts';

const KITS = [
  { kit: 'node', command: process.execPath, file: 'agent.mjs' },
  { kit: 'python', command: 'python3', file: 'agent.py' },
] as const;

let rig: KitRig;

beforeEach(() => {
  rig = new KitRig();
});
afterEach(() => rig.close());

const send = (server: KitServer, message: SupervisorMessage) => server.channels.send(KIT_WORKER, message);
const listen = () => rig.listen();
const start = ({ command, file }: (typeof KITS)[number], env: Record<string, string> = {}) =>
  rig.start(command, file, env);

describe.each(KITS)('the $kit kit', (kit) => {
  it('sends hello, ready and heartbeats, and gives the agent its job', async () => {
    const server = await listen();
    const agent = start(kit);
    await until(
      'ready and two heartbeats',
      () =>
        receivedTypes(server).includes('ready') &&
        receivedTypes(server).filter((type) => type === 'heartbeat').length >= 2,
    );
    expect(server.events).toEqual(['hello']);
    expect(agent.out()).toContain('supervised true s-1 front desk');
  });

  it('prints a hint when a warm worker is ready without a wait for its room', async () => {
    const server = await listen();
    const misused = start(kit, { CURFEW_SESSION_ID: '', CURFEW_ROOM: '' });
    await until('the hint', () => misused.err().includes('serve() instead of connect()'));
    const good = start(kit);
    await until('ready', () => receivedTypes(server).filter((type) => type === 'ready').length >= 2);
    expect(good.err()).not.toContain('serve()');
  });

  it('hides the token when an agent prints its job', async () => {
    const agent = start(kit, { MODE: 'prints', LIVEKIT_TOKEN: 'a-secret-token' });
    await until('the job is printed', () => agent.out().includes('token True'));
    expect(agent.out()).toContain('front desk');
    expect(agent.out()).not.toContain('a-secret-token');
  });

  it('reports activity, errors and successes', async () => {
    const server = await listen();
    start(kit, { MODE: 'talks' });
    await until('ok', () => receivedTypes(server).includes('ok'));
    const reported = server.received.filter(({ type }) => type !== 'heartbeat' && type !== 'ready');
    expect(reported).toMatchObject([
      { type: 'activity', kind: 'caller_speech' },
      { type: 'activity', kind: 'keep_alive', forMs: 60_000 },
      { type: 'error', source: 'tts', message: expect.stringContaining('tts is down') },
      { type: 'ok' },
    ]);
  });

  it('reports that its job is done before it exits', async () => {
    const server = await listen();
    const agent = start(kit, { MODE: 'done' });
    await until('closed', () => receivedTypes(server).includes('closed'));
    expect(server.received.find((message) => message.type === 'closed')).toEqual({
      type: 'closed',
      detail: 'sold',
    });
    await until('it exits without a request', () => agent.child.exitCode === 0);
  });

  it('acknowledges new metadata after its callback, each revision', async () => {
    const server = await listen();
    const agent = start(kit);
    await until('ready', () => receivedTypes(server).includes('ready'));
    send(server, { type: 'configure', rev: 3, metadata: { lang: 'en' } });
    send(server, { type: 'configure', rev: 3, metadata: { lang: 'en' } });
    await until(
      'both acknowledged',
      () => receivedTypes(server).filter((type) => type === 'configured').length === 2,
    );
    expect(agent.out()).toContain('configure {"lang":"en"}');
    expect(server.received).toContainEqual({ type: 'configured', rev: 3 });
  });

  it('passes notices on to the agent', async () => {
    const server = await listen();
    const agent = start(kit);
    await until('ready', () => receivedTypes(server).includes('ready'));
    send(server, { type: 'notice', reason: 'max_duration', inMs: 60_000 });
    await until('the agent has the notice', () => agent.out().includes('notice max_duration'));
  });

  it('closes on aclose and exits on disconnect, by its own callbacks', async () => {
    const server = await listen();
    const agent = start(kit);
    await until('ready', () => receivedTypes(server).includes('ready'));
    send(server, { type: 'aclose', reason: 'requested', boundMs: 5000 });
    await until('closed', () => receivedTypes(server).includes('closed'));
    send(server, { type: 'disconnect', boundMs: 5000 });
    await until('it exits with 0', () => agent.child.exitCode === 0);
    expect(agent.out()).toContain('aclose requested\ndisconnect\n');
  });

  it('answers aclose also when a callback throws, and reports the error', async () => {
    const server = await listen();
    start(kit, { MODE: 'throws' });
    await until('ready', () => receivedTypes(server).includes('ready'));
    send(server, { type: 'aclose', reason: 'requested', boundMs: 5000 });
    await until('closed', () => receivedTypes(server).includes('closed'));
    expect(server.received.find((message) => message.type === 'error')).toMatchObject({
      source: 'aclose',
      message: expect.stringContaining('boom in aclose'),
    });
  });

  it('handles disconnect while an aclose callback hangs', async () => {
    const server = await listen();
    const agent = start(kit, { MODE: 'hangs' });
    await until('ready', () => receivedTypes(server).includes('ready'));
    send(server, { type: 'aclose', reason: 'requested', boundMs: 5000 });
    await until('the agent has the aclose', () => agent.out().includes('aclose'));
    send(server, { type: 'disconnect', boundMs: 5000 });
    await until('it exits with 0', () => agent.child.exitCode === 0);
    expect(receivedTypes(server)).not.toContain('closed');
  });

  it('sends no heartbeats while its main loop is blocked, and still writes its stacks', async () => {
    const server = await listen();
    const agent = start(kit, { MODE: 'blocks' });
    await until('ready', () => receivedTypes(server).includes('ready'));
    await until('dumped', () => {
      send(server, { type: 'dump' });
      return receivedTypes(server).includes('dumped') && /block_?[hH]ere/.test(agent.err());
    });
    const heartbeats = () => receivedTypes(server).filter((type) => type === 'heartbeat').length;
    const before = heartbeats();
    send(server, { type: 'dump' });
    await until(
      'a later dump is answered',
      () => receivedTypes(server).filter((type) => type === 'dumped').length >= 2,
    );
    expect(heartbeats() - before).toBeLessThanOrEqual(1);
  });

  it('connects again after an absence of the supervisor, and its waiting messages arrive', async () => {
    const first = await listen();
    const agent = start(kit);
    await until('ready', () => receivedTypes(first).includes('ready'));
    await first.channels.close();
    const second = await listen();
    await until(
      'hello and ready again',
      () => second.events.includes('hello') && receivedTypes(second).includes('ready'),
    );
    expect(agent.child.exitCode).toBeNull();
  });

  it('waits for a supervisor that does not listen yet', async () => {
    const agent = start(kit, { MODE: 'talks' });
    await until('it runs', () => agent.out().includes('supervised'));
    const server = await listen();
    await until(
      'everything arrived',
      () => receivedTypes(server).includes('ok') && receivedTypes(server).includes('ready'),
    );
    expect(receivedTypes(server)).toContain('error');
  });

  it('gives up when its token is refused, and prints that once', async () => {
    const server = await listen();
    const agent = start(kit, { CURFEW_TOKEN: 'wrong' });
    await until('it prints the refusal', () => agent.err().includes('refused'));
    expect(agent.err().match(/refused/g)).toHaveLength(1);
    expect(server.events).toEqual([]);
  });

  it('gives up when its version is refused, and ignores unknown messages and fields', async () => {
    let hellos = 0;
    const sockets: Socket[] = [];
    const server: Server = createServer((socket) => {
      sockets.push(socket);
      hellos += 1;
      socket.write(
        '{"type":"song","of":"later"}\nnot json\n{"type":"welcome","v":1,"heartbeatMs":100,"job":null,"extra":1}\n',
      );
      if (hellos === 2)
        socket.end(
          '{"type":"error","code":"wrong_version","message":"version 1 is not spoken","field":"v"}\n',
        );
      else socket.end();
    });
    server.listen(rig.socketPath);
    const agent = start(kit);
    await until('it prints the refusal', () => agent.err().includes('version 1 is not spoken'));
    expect(hellos).toBe(2);
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it('sends its waiting messages in order after the supervisor was suspended', async () => {
    const lines: string[] = [];
    let rest = '';
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.setEncoding('utf8').once('data', () => {
        socket.pause();
        socket.write('{"type":"welcome","v":1,"heartbeatMs":100000,"job":null}\n');
        socket.write('{"type":"notice","reason":"max_duration","inMs":1}\n');
      });
    }).listen(rig.socketPath);
    const agent = start(kit, { MODE: 'backlog' });
    await until('the agent has sent everything', () => agent.out().includes('all is said'));
    for (const socket of sockets) {
      socket.on('data', (chunk: string) => {
        const all = (rest + chunk).split('\n');
        rest = all.pop() ?? '';
        lines.push(...all.filter((line) => line !== ''));
      });
      socket.resume();
    }
    const latestLine = () => lines.at(-1);
    await until('closed', () => latestLine()?.includes('"closed"'));
    for (const socket of sockets) socket.destroy();
    server.close();
    const messages = lines.map((line) => JSON.parse(line));
    const errors = messages
      .filter(({ type }) => type === 'error')
      .map(({ message }) => Number(message.slice(0, 4)));
    expect(errors).toEqual(errors.toSorted((a, b) => a - b));
    // The backlog holds 1000 messages: the latest 999 errors and `closed`.
    expect(errors.slice(-999)).toEqual(Array.from({ length: 999 }, (_, index) => 2001 + index));
  });

  it('does nothing outside of curfew and keeps no process alive', async () => {
    const agent = start(kit, { MODE: 'ends', CURFEW_SOCKET: '', CURFEW_WORKER: '' });
    await until('it ends', () => agent.child.exitCode !== null);
    expect(agent.child.exitCode).toBe(0);
    expect(agent.out()).toContain('supervised false');
  });

  it('keeps no process alive under curfew', async () => {
    await listen();
    const agent = start(kit, { MODE: 'ends' });
    await until('it ends', () => agent.child.exitCode === 0);
  });
});
