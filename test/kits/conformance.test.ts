/** One table of cases against both kits, each a real process on the real control socket. */
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SupervisorMessage } from '../../src/core/model/control-protocol.ts';
import type { Side } from '../support/kits.ts';
import { heardTypes, KIT_WORKER, KitRig } from '../support/kits.ts';
import { until } from '../support/wait.ts';

const KITS = [
  { kit: 'node', command: process.execPath, file: 'agent.mjs' },
  { kit: 'python', command: 'python3', file: 'agent.py' },
] as const;

let rig: KitRig;

beforeEach(() => {
  rig = new KitRig();
});
afterEach(() => rig.close());

const tell = (side: Side, message: SupervisorMessage) => side.channels.tell(KIT_WORKER, message);
const listen = () => rig.listen();
const start = ({ command, file }: (typeof KITS)[number], env: Record<string, string> = {}) =>
  rig.start(command, file, env);

describe.each(KITS)('the $kit kit', (kit) => {
  it('says hello, ready and heartbeats, and knows its job', async () => {
    const side = await listen();
    const agent = start(kit);
    await until(
      'ready and two heartbeats',
      () =>
        heardTypes(side).includes('ready') &&
        heardTypes(side).filter((type) => type === 'heartbeat').length >= 2,
    );
    expect(side.events).toEqual(['hello']);
    expect(agent.out()).toContain('supervised true s-1 front desk');
  });

  it('says what is wrong when a warm worker is ready without waiting for a room', async () => {
    const side = await listen();
    const lost = start(kit, { CURFEW_SESSION_ID: '', CURFEW_ROOM: '' });
    await until('the hint', () => lost.err().includes('serve() instead of connect()'));
    const good = start(kit);
    await until('ready', () => heardTypes(side).filter((type) => type === 'ready').length >= 2);
    expect(good.err()).not.toContain('serve()');
  });

  it('keeps the token out of a job that is printed', async () => {
    const agent = start(kit, { MODE: 'prints', LIVEKIT_TOKEN: 'a-secret-token' });
    await until('the job is printed', () => agent.out().includes('token True'));
    expect(agent.out()).toContain('front desk');
    expect(agent.out()).not.toContain('a-secret-token');
  });

  it('reports activity, errors and successes', async () => {
    const side = await listen();
    start(kit, { MODE: 'talks' });
    await until('ok', () => heardTypes(side).includes('ok'));
    const said = side.heard.filter((message) => message.type !== 'heartbeat' && message.type !== 'ready');
    expect(said).toMatchObject([
      { type: 'activity', kind: 'caller_speech' },
      { type: 'activity', kind: 'keep_alive', forMs: 60_000 },
      { type: 'error', source: 'tts', message: expect.stringContaining('tts is down') },
      { type: 'ok' },
    ]);
  });

  it('tells that its job is done before it exits', async () => {
    const side = await listen();
    const agent = start(kit, { MODE: 'done' });
    await until('closed', () => heardTypes(side).includes('closed'));
    expect(side.heard.find((message) => message.type === 'closed')).toEqual({
      type: 'closed',
      detail: 'sold',
    });
    await until('it exits by itself', () => agent.child.exitCode === 0);
  });

  it('acknowledges new metadata after its callback, each revision', async () => {
    const side = await listen();
    const agent = start(kit);
    await until('ready', () => heardTypes(side).includes('ready'));
    tell(side, { type: 'configure', rev: 3, metadata: { lang: 'en' } });
    tell(side, { type: 'configure', rev: 3, metadata: { lang: 'en' } });
    await until(
      'both acknowledged',
      () => heardTypes(side).filter((type) => type === 'configured').length === 2,
    );
    expect(agent.out()).toContain('configure {"lang":"en"}');
    expect(side.heard).toContainEqual({ type: 'configured', rev: 3 });
  });

  it('passes notices on', async () => {
    const side = await listen();
    const agent = start(kit);
    await until('ready', () => heardTypes(side).includes('ready'));
    tell(side, { type: 'notice', reason: 'max_duration', inMs: 60_000 });
    await until('the notice is heard', () => agent.out().includes('notice max_duration'));
  });

  it('closes on aclose and exits on disconnect, by its own callbacks', async () => {
    const side = await listen();
    const agent = start(kit);
    await until('ready', () => heardTypes(side).includes('ready'));
    tell(side, { type: 'aclose', reason: 'requested', boundMs: 5000 });
    await until('closed', () => heardTypes(side).includes('closed'));
    tell(side, { type: 'disconnect', boundMs: 5000 });
    await until('it exits with 0', () => agent.child.exitCode === 0);
    expect(agent.out()).toContain('aclose requested\ndisconnect\n');
  });

  it('answers aclose also when a callback throws, and reports that', async () => {
    const side = await listen();
    start(kit, { MODE: 'throws' });
    await until('ready', () => heardTypes(side).includes('ready'));
    tell(side, { type: 'aclose', reason: 'requested', boundMs: 5000 });
    await until('closed', () => heardTypes(side).includes('closed'));
    expect(side.heard.find((message) => message.type === 'error')).toMatchObject({
      source: 'aclose',
      message: expect.stringContaining('boom in aclose'),
    });
  });

  it('still hears disconnect while an aclose callback hangs', async () => {
    const side = await listen();
    const agent = start(kit, { MODE: 'hangs' });
    await until('ready', () => heardTypes(side).includes('ready'));
    tell(side, { type: 'aclose', reason: 'requested', boundMs: 5000 });
    await until('aclose is heard', () => agent.out().includes('aclose'));
    tell(side, { type: 'disconnect', boundMs: 5000 });
    await until('it exits with 0', () => agent.child.exitCode === 0);
    expect(heardTypes(side)).not.toContain('closed');
  });

  it('falls silent while its main loop is blocked, and still writes its stacks', async () => {
    const side = await listen();
    const agent = start(kit, { MODE: 'blocks' });
    await until('ready', () => heardTypes(side).includes('ready'));
    await until('dumped', () => {
      tell(side, { type: 'dump' });
      return heardTypes(side).includes('dumped') && /block_?[hH]ere/.test(agent.err());
    });
    const beats = () => heardTypes(side).filter((type) => type === 'heartbeat').length;
    const before = beats();
    tell(side, { type: 'dump' });
    await until(
      'a later dump is answered',
      () => heardTypes(side).filter((type) => type === 'dumped').length >= 2,
    );
    expect(beats() - before).toBeLessThanOrEqual(1);
  });

  it('comes back after the supervisor was away, and what it said meanwhile arrives', async () => {
    const first = await listen();
    const agent = start(kit);
    await until('ready', () => heardTypes(first).includes('ready'));
    await first.channels.close();
    const second = await listen();
    await until(
      'hello and ready again',
      () => second.events.includes('hello') && heardTypes(second).includes('ready'),
    );
    expect(agent.child.exitCode).toBeNull();
  });

  it('waits for a supervisor that is not there yet', async () => {
    const agent = start(kit, { MODE: 'talks' });
    await until('it runs', () => agent.out().includes('supervised'));
    const side = await listen();
    await until(
      'everything arrived',
      () => heardTypes(side).includes('ok') && heardTypes(side).includes('ready'),
    );
    expect(heardTypes(side)).toContain('error');
  });

  it('gives up and says so once when its token is refused', async () => {
    const side = await listen();
    const agent = start(kit, { CURFEW_TOKEN: 'wrong' });
    await until('it says so', () => agent.err().includes('refused'));
    expect(agent.err().match(/refused/g)).toHaveLength(1);
    expect(side.events).toEqual([]);
  });

  it('gives up when its version is refused, and passes over what it does not know', async () => {
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
    await until('it says so', () => agent.err().includes('version 1 is not spoken'));
    expect(hellos).toBe(2);
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  it('says all that waited for a supervisor that stood still, in its order', async () => {
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
    await until('all is said', () => agent.out().includes('all is said'));
    for (const socket of sockets) {
      socket.on('data', (chunk: string) => {
        const all = (rest + chunk).split('\n');
        rest = all.pop() ?? '';
        lines.push(...all.filter((line) => line !== ''));
      });
      socket.resume();
    }
    await until('closed', () => lines.at(-1)?.includes('"closed"'));
    for (const socket of sockets) socket.destroy();
    server.close();
    const said = lines.map((line) => JSON.parse(line));
    const errors = said
      .filter(({ type }) => type === 'error')
      .map(({ message }) => Number(message.slice(0, 4)));
    expect(errors).toEqual(errors.toSorted((a, b) => a - b));
    // As many as may wait, with its place for `closed`.
    expect(errors.slice(-999)).toEqual(Array.from({ length: 999 }, (_, index) => 2001 + index));
  });

  it('does nothing outside of curfew, and keeps no process alive', async () => {
    const agent = start(kit, { MODE: 'ends', CURFEW_SOCKET: '', CURFEW_WORKER: '' });
    await until('it ends', () => agent.child.exitCode !== null);
    expect(agent.child.exitCode).toBe(0);
    expect(agent.out()).toContain('supervised false');
  });

  it('keeps no process alive under curfew either', async () => {
    await listen();
    const agent = start(kit, { MODE: 'ends' });
    await until('it ends', () => agent.child.exitCode === 0);
  });
});
