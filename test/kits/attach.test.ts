/** `attach` of both kits, on a session that emits a framework's events. Each kit runs as a real process on the real control socket. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WorkerMessage } from '../../src/core/model/control-protocol.ts';
import { until } from '../support/lib/wait.ts';
import type { KitServer } from '../support/workers/kit-rig.ts';
import { KIT_WORKER, KitRig, receivedTypes } from '../support/workers/kit-rig.ts';

const KITS = [
  { kit: 'node', command: process.execPath, file: 'attach.mjs' },
  { kit: 'python', command: 'python3', file: 'attach.py' },
] as const;

let rig: KitRig;

beforeEach(() => {
  rig = new KitRig();
});
afterEach(() => rig.close());

describe.each(KITS)('the function attach of the $kit kit', ({ command, file }) => {
  const start = (env: Record<string, string>) => rig.start(command, file, env);
  const reported = (server: KitServer) => server.received.filter((message) => message.type !== 'heartbeat');
  const count = (server: KitServer, type: WorkerMessage['type']) =>
    receivedTypes(server).filter((one) => one === type).length;
  const moreHeartbeats = (server: KitServer) => {
    const before = count(server, 'heartbeat');
    return until('two more heartbeats', () => count(server, 'heartbeat') >= before + 2);
  };

  it('reports speech and tools, each kind once a second, and ok for a service that works', async () => {
    const server = await rig.listen();
    start({ MODE: 'speech' });
    await moreHeartbeats(server);
    const firstFour = reported(server).slice(0, 4);
    expect(firstFour).toEqual([
      { type: 'activity', kind: 'caller_speech' },
      { type: 'ok' },
      { type: 'activity', kind: 'agent_speech' },
      { type: 'activity', kind: 'task' },
    ]);
  });

  it('reports again that a caller continues to speak', async () => {
    const server = await rig.listen();
    start({ MODE: 'caller' });
    await until('there are three reports', () => count(server, 'activity') >= 3);
    expect(new Set(reported(server).map((message) => JSON.stringify(message)))).toEqual(
      new Set([JSON.stringify({ type: 'activity', kind: 'caller_speech' })]),
    );
  });

  it('reports the errors of STT, LLM and TTS and ignores others', async () => {
    const server = await rig.listen();
    start({ MODE: 'errors' });
    await moreHeartbeats(server);
    expect(reported(server)).toMatchObject([
      { type: 'error', source: 'stt', message: expect.stringContaining('stt is down') },
      { type: 'error', source: 'llm', message: expect.stringContaining('llm is down') },
      { type: 'error', source: 'tts', message: expect.stringContaining('tts is down') },
    ]);
  });

  it('reports a failing service although another service works', async () => {
    const server = await rig.listen();
    start({ MODE: 'recovery' });
    await until('ok', () => receivedTypes(server).includes('ok'));
    // While the agent speaks, the report repeats.
    expect(reported(server).slice(0, 4)).toMatchObject([
      { type: 'error', source: 'tts' },
      { type: 'activity', kind: 'caller_speech' },
      { type: 'activity', kind: 'agent_speech' },
      { type: 'ok' },
    ]);
  });

  it('survives an event of another shape, and uses one connection for all sessions', async () => {
    const server = await rig.listen();
    const program = start({ MODE: 'strange' });
    await until('agent_speech', () => receivedTypes(server).includes('activity'));
    await moreHeartbeats(server);
    expect(server.events).toEqual(['hello']);
    expect(program.err()).toContain('could not be read');
  });

  it('reports nothing about a closed session, and its heartbeats continue', async () => {
    const server = await rig.listen();
    start({ MODE: 'closed' });
    await until('agent_speech', () => receivedTypes(server).includes('activity'));
    // 15 heartbeats take more than a second. An open utterance would be reported again within that time.
    await until('heartbeats', () => count(server, 'heartbeat') >= 15);
    expect(count(server, 'activity')).toBe(1);
  });

  it('reports a failure when an error closed the session', async () => {
    const server = await rig.listen();
    start({ MODE: 'broken' });
    await moreHeartbeats(server);
    expect(reported(server)).toMatchObject([
      { type: 'failed', message: expect.stringContaining('llm is down') },
    ]);
  });

  it('sends no heartbeats while the main loop is blocked, and writes the blocking stack', async () => {
    const server = await rig.listen();
    const program = start({ MODE: 'blocks' });
    await until('the stack is written', () => {
      server.channels.send(KIT_WORKER, { type: 'dump' });
      return receivedTypes(server).includes('dumped') && /block_?[hH]ere/.test(program.err());
    });
  });

  it('does and prints nothing outside of curfew, and keeps no process alive', async () => {
    const program = start({ MODE: 'ends', CURFEW_SOCKET: '', CURFEW_WORKER: '', CURFEW_TOKEN: '' });
    await until('it ends', () => program.child.exitCode === 0);
    expect([program.out(), program.err()]).toEqual(['supervised false, listeners 0\n', '']);
  });
});
