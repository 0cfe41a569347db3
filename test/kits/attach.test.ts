/** `attach` of both kits on a session that emits a framework's events, each a real process on the real control socket. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WorkerMessage } from '../../src/core/model/control-protocol.ts';
import type { Side } from '../support/kits.ts';
import { heardTypes, KIT_WORKER, KitRig } from '../support/kits.ts';
import { until } from '../support/wait.ts';

const KITS = [
  { kit: 'node', command: process.execPath, file: 'attach.mjs' },
  { kit: 'python', command: 'python3', file: 'attach.py' },
] as const;

let rig: KitRig;

beforeEach(() => {
  rig = new KitRig();
});
afterEach(() => rig.close());

describe.each(KITS)('attach of the $kit kit', ({ command, file }) => {
  const start = (env: Record<string, string>) => rig.start(command, file, env);
  const said = (side: Side) => side.heard.filter((message) => message.type !== 'heartbeat');
  const count = (side: Side, type: WorkerMessage['type']) =>
    heardTypes(side).filter((one) => one === type).length;
  const beatsAgain = (side: Side) => {
    const before = count(side, 'heartbeat');
    return until('two more heartbeats', () => count(side, 'heartbeat') >= before + 2);
  };

  it('tells of speech and tools, each kind once a second, and that what was used works', async () => {
    const side = await rig.listen();
    start({ MODE: 'speech' });
    await beatsAgain(side);
    expect(said(side).slice(0, 4)).toEqual([
      { type: 'activity', kind: 'caller_speech' },
      { type: 'ok' },
      { type: 'activity', kind: 'agent_speech' },
      { type: 'activity', kind: 'task' },
    ]);
  });

  it('tells again of a caller who speaks on', async () => {
    const side = await rig.listen();
    start({ MODE: 'caller' });
    await until('it is told three times', () => count(side, 'activity') >= 3);
    expect(new Set(said(side).map((message) => JSON.stringify(message)))).toEqual(
      new Set([JSON.stringify({ type: 'activity', kind: 'caller_speech' })]),
    );
  });

  it('tells the errors of STT, LLM and TTS, and passes over others', async () => {
    const side = await rig.listen();
    start({ MODE: 'errors' });
    await beatsAgain(side);
    expect(said(side)).toMatchObject([
      { type: 'error', source: 'stt', message: expect.stringContaining('stt is down') },
      { type: 'error', source: 'llm', message: expect.stringContaining('llm is down') },
      { type: 'error', source: 'tts', message: expect.stringContaining('tts is down') },
    ]);
  });

  it('does not let what works hide what fails', async () => {
    const side = await rig.listen();
    start({ MODE: 'recovery' });
    await until('ok', () => heardTypes(side).includes('ok'));
    expect(said(side)).toMatchObject([
      { type: 'error', source: 'tts' },
      { type: 'activity', kind: 'caller_speech' },
      { type: 'activity', kind: 'agent_speech' },
      { type: 'ok' },
    ]);
  });

  it('harms nothing when an event has another shape, and keeps one line for all sessions', async () => {
    const side = await rig.listen();
    const program = start({ MODE: 'strange' });
    await until('agent_speech', () => heardTypes(side).includes('activity'));
    await beatsAgain(side);
    expect(side.events).toEqual(['hello']);
    expect(program.err()).toContain('could not be read');
  });

  it('is silent about a session that has closed, and its heartbeats go on', async () => {
    const side = await rig.listen();
    start({ MODE: 'closed' });
    await until('agent_speech', () => heardTypes(side).includes('activity'));
    // More than a second of them: an open sentence would have been told again.
    await until('heartbeats', () => count(side, 'heartbeat') >= 15);
    expect(count(side, 'activity')).toBe(1);
  });

  it('tells that a session was closed by an error', async () => {
    const side = await rig.listen();
    start({ MODE: 'broken' });
    await beatsAgain(side);
    expect(said(side)).toMatchObject([{ type: 'failed', message: expect.stringContaining('llm is down') }]);
  });

  it('falls silent while the main loop is blocked, and writes what blocks it', async () => {
    const side = await rig.listen();
    const program = start({ MODE: 'blocks' });
    await until('the stack is written', () => {
      side.channels.tell(KIT_WORKER, { type: 'dump' });
      return heardTypes(side).includes('dumped') && /block_?[hH]ere/.test(program.err());
    });
  });

  it('does and says nothing outside of curfew, and keeps no process alive', async () => {
    const program = start({ MODE: 'ends', CURFEW_SOCKET: '', CURFEW_WORKER: '', CURFEW_TOKEN: '' });
    await until('it ends', () => program.child.exitCode === 0);
    expect([program.out(), program.err()]).toEqual(['supervised false, listeners 0\n', '']);
  });
});
