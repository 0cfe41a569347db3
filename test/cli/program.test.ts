/** The command line against the HTTP faces: exit codes, what goes where, and what it asks. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { checkNode } from '../../src/cli/node-version.ts';
import { ERRORS } from '../../src/lib/errors.ts';
import { VERSION } from '../../src/lib/version.ts';
import type { Doors } from '../support/listeners.ts';
import { openDoors, TOKENS } from '../support/listeners.ts';
import { endedView, viewOf } from '../support/memory-api.ts';
import type { CliOptions } from '../support/terminal.ts';
import { cli } from '../support/terminal.ts';

let doors: Doors;
let dir: string;
beforeAll(async () => {
  doors = await openDoors();
  dir = mkdtempSync(join(tmpdir(), 'curfew-cli-'));
});
afterAll(async () => {
  await doors.close();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => {
  doors.api.sessions.clear();
  doors.api.asked.length = 0;
  for (const id of ['s-1', 's-2']) doors.api.sessions.set(id, viewOf({ id, room: `room ${id}` }));
});

const ask = (args: readonly string[], options: CliOptions = {}) =>
  cli(['--socket', doors.socketPath, ...args], options);
const states = () => [...doors.api.sessions.values()].map((one) => one.state);
const config = (text: string, name = 'curfew.yaml') => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};

describe('usage', () => {
  it.each([
    [[], 2],
    [['--help'], 0],
    [['dispatch', '--help'], 0],
    [['nonsense'], 2],
    [['list', '--nonsense'], 2],
    [['dispatch'], 2],
    [['show'], 2],
    [['show', 'a', 'b'], 2],
    [['run'], 2],
    [['run', '--room', 'r'], 2],
    [['run', '--room', 'r', '--agent', 'a', '--', 'true'], 2],
    [['serve'], 2],
    [['release'], 2],
  ])('%j exits with %i', async (args, code) => {
    const result = await ask(args);
    expect(result.code).toBe(code);
    expect(code === 0 ? result.err : result.out).toBe('');
    expect(code === 0 ? result.out : result.err).not.toBe('');
  });

  it.each([
    [['--max-duration', '2'], '--max-duration: "2" is not a duration with a unit, such as 90s, 10m or 2h'],
    [['--error-limit', 'x'], '--error-limit: "x" must be a whole number from 1 to 1000'],
    [['--idle-timeout', '5s'], '--idle-timeout: "5s" must be from 30s to 3599s'],
    [['--max-duration', '9d'], '--max-duration: "9d" must be from 1s to 7d'],
    [['--callers-left', '2h'], '--callers-left: "2h" must be from 0s to 1h'],
    [['--no-active-stream', '25h'], '--no-active-stream: "25h" must be from 1s to 1d'],
    [['--label', 'tier'], '--label: "tier" is not of the form key=value'],
    [['--metadata', '[1]'], '--metadata: the value must be a JSON object'],
    [['--metadata', '{"a"'], '--metadata: the value must be a JSON object'],
    [['--wait', 'live', '--timeout', '5'], '--timeout: "5" is not a duration'],
    [['--wait', 'live', '--timeout', '1h'], '--timeout: "1h" must be from 0s to 10m'],
  ])('dispatch %j says what it takes', async (args, message) => {
    const result = await ask(['dispatch', '--room', 'r', ...args]);
    expect(result.code).toBe(2);
    expect(result.err.replaceAll(/\s+/g, ' ')).toContain(`curfew: ${message}`);
    expect(doors.api.asked).toEqual([]);
  });

  it('tells its version, and the commit where that is known', async () => {
    expect(await cli(['--version'])).toMatchObject({ code: 0, out: `${VERSION} (abc1234)\n`, err: '' });
  });

  it.each([
    [['list', '--limit', 'a'], '--limit: "a" must be a whole number from 1 to 500'],
    [['list', '--limit', '0'], '--limit: "0" must be a whole number from 1 to 500'],
    [['logs', 's-1', '--tail-bytes', '-1'], '--tail-bytes: "-1" must be a whole number from 0 to 16777216'],
    [['keep-alive', 's-1', '--for', '1s'], '--for: "1s" must be from 30s to 3599s'],
    [['dispatch', '--room', 'r', '--id', 'i'.repeat(129)], '--id: must have at most 128 characters'],
    [['dispatch', '--room', ''], '--room: must not be empty'],
    [['dispatch', '--room', 'r', '--label', 'a b=c'], '--label a b: the key must have at most 64 characters'],
    [['release', '--user', 'u'.repeat(257)], '--user: must have at most 256 characters'],
    [['dispatch', '--room', 'r', '--wait', 'foo'], "'foo' is invalid. Allowed choices are live, ended."],
  ])('%j names what was typed', async (args, message) => {
    const result = await ask(args);
    expect(result.code).toBe(2);
    expect(result.err.replaceAll(/\s+/g, ' ')).toContain(message);
  });

  it("that is the command line's own matter has a hint of its own", async () => {
    const asked = await ask(['release', '--all'], { isTty: true, answer: 'n' });
    expect(asked.err).toBe('curfew: release: no session was ended\n  Answer y to end them, or add --yes.\n');
    const json = await ask(['--json', 'release']);
    expect(JSON.parse(json.err)).toMatchObject({
      code: 'invalid_request',
      hint: 'See --help for the options.',
    });
  });

  it('fits 80 columns, every help', async () => {
    for (const name of [
      '',
      'dispatch',
      'run',
      'list',
      'show',
      'logs',
      'release',
      'keep-alive',
      'capacity',
      'config',
      'serve',
      'dev',
    ]) {
      const { out } = await cli([...(name === '' ? [] : [name]), '--help']);
      expect(out, name).not.toBe('');
      for (const line of out.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    }
  });
});

describe('an older Node', () => {
  it('is told what is needed', () => {
    for (const version of ['20.20.2', '22.13.0', '23.11.1'])
      expect(() => checkNode(version)).toThrow(
        `this command runs on Node ${version}, but a supervisor needs Node 24 or newer`,
      );
    for (const version of ['24.0.0', '26.1.0', process.versions.node])
      expect(() => checkNode(version)).not.toThrow();
  });
});

describe('exit codes', () => {
  it.each([
    [['show', 's-9'], 'not_found'],
    [['logs', 's-9'], 'not_found'],
    [['keep-alive', 's-9'], 'not_found'],
    [['release', 's-9'], 'not_found'],
    [['dispatch', '--room', 'full'], 'at_capacity'],
    [['dispatch', '--room', 'broken'], 'internal'],
    [['dispatch', '--room', 'a\nb'], 'invalid_request'],
  ] as const)('%j is that of %s, with its hint', async (args, code) => {
    const result = await ask(args);
    expect(result.code).toBe(ERRORS[code].exit);
    expect(result.out).toBe('');
    expect(result.err.replaceAll(/\s+/g, ' ')).toContain(ERRORS[code].hint);
    const json = await ask(['--json', ...args]);
    expect(json.code).toBe(ERRORS[code].exit);
    expect(JSON.parse(json.err)).toMatchObject({ code, hint: ERRORS[code].hint });
  });

  it('is 4 where nobody answers, naming the place and what to do', async () => {
    const socket = join(dir, 'nobody.sock');
    for (const options of [
      { args: ['--socket', socket] },
      { args: [], env: { CURFEW_API: `unix:${socket}` } },
    ]) {
      const result = await cli([...options.args, 'list'], options);
      expect(result.code).toBe(4);
      expect(result.err.replaceAll(/\s+/g, ' ')).toContain(`no supervisor answers at ${socket}:`);
      expect(result.err).toContain('curfew serve');
    }
  });

  it('is 4 with a wrong token or scope, over TCP', async () => {
    const env = { CURFEW_API: `http://127.0.0.1:${doors.port}/` };
    const read = TOKENS.find((one) => one.scopes[0] === 'read')?.token ?? '';
    const bare = await cli(['list'], { env });
    expect(bare.code).toBe(4);
    expect(bare.err.replaceAll(/\s+/g, ' ')).toContain('--token-file or CURFEW_API_TOKEN');
    const wrong = await cli(['list'], { env: { ...env, CURFEW_API_TOKEN: 'wrong' } });
    expect(wrong.code).toBe(4);
    expect(wrong.err).not.toContain('wrong');
    expect((await cli(['list'], { env: { ...env, CURFEW_API_TOKEN: read } })).code).toBe(0);
    expect((await cli(['release', 's-1'], { env: { ...env, CURFEW_API_TOKEN: read } })).code).toBe(4);
    // A worker's own token is not for this.
    expect((await cli(['list'], { env: { ...env, CURFEW_TOKEN: read } })).code).toBe(4);
  });

  it('takes the token from a file, which comes before the environment', async () => {
    const url = `http://127.0.0.1:${doors.port}`;
    const file = join(dir, 'token');
    writeFileSync(file, `${TOKENS.find((one) => one.scopes[0] === 'read')?.token}\n`);
    const args = ['--socket', url, '--token-file', file, 'list'];
    expect((await cli(args, { env: { CURFEW_API_TOKEN: 'wrong' } })).code).toBe(0);
    const lost = await cli(['--socket', url, '--token-file', join(dir, 'no-token'), 'list']);
    expect(lost.code).toBe(2);
    expect(lost.err).toContain('--token-file: ');
  });

  it('is 7 when only some of the named sessions could be released', async () => {
    const result = await ask(['release', 's-1', 's-9', 's-2']);
    expect(result.code).toBe(7);
    expect(result.err).toContain('s-9');
    expect(states()).toEqual(['released', 'released']);
  });

  it('of run is its own', async () => {
    const result = await cli([
      'run',
      '--room',
      'r',
      '--max-duration',
      '10m',
      '--',
      'python',
      'agent.py',
      '--x',
    ]);
    expect(result.code).toBe(14);
    expect(result.ran).toMatchObject([
      { room: 'r', command: ['python', 'agent.py', '--x'], limits: { maxDurationMs: 600_000 } },
    ]);
  });

  it('of config check tells good from bad', async () => {
    const good = await cli(['config', 'check', config('agents: {default: {command: ["true"]}}')], {
      env: { PATH: process.env.PATH ?? '' },
    });
    expect(good.code).toBe(0);
    expect(good.out).toContain('is good');
    const lost = await cli(['config', 'check', config('agents: {default: {command: [no-such-program]}}')]);
    expect(lost.code).toBe(1);
    expect(lost.out).toContain('agents.default.command: "no-such-program" is not found or not executable');
    for (const [text, ...said] of [
      ['agent: {}\nlog: {level: loud}', 'did you mean "agents"?', 'log.level: "loud"'],
      ['agents: {default: {command: [true', 'c.yaml:1: not valid YAML: '],
      ['livekit: {url: ws://x, api_key: k, api_secret_file: none}', 'livekit.api_secret_file "'],
    ] as const) {
      const path = config(text, 'c.yaml');
      const wrong = await cli(['config', 'check', path]);
      expect(wrong, text).toMatchObject({ code: 1, err: '' });
      const lines = wrong.out.replaceAll(/\n +/g, ' ').trim().split('\n');
      expect(lines.filter((line) => line.startsWith('error: '))).toHaveLength(said.length);
      for (const part of said) expect(lines.join('\n')).toContain(part);
      expect(lines.at(-1)).toBe(`${path} has errors`);
      expect(lines.join('\n')).not.toMatch(/:$/m);
      const json = await cli(['--json', 'config', 'check', path]);
      expect(JSON.parse(json.out)).toMatchObject({ path, ok: false });
    }
    expect((await cli(['config', 'check', join(dir, 'none')])).code).toBe(1);
    expect((await cli(['config', 'check'])).code).toBe(2);
  });
});

describe('dispatch', () => {
  it('sends what was given and prints the id alone', async () => {
    const result = await ask([
      'dispatch',
      '--room',
      '会議 1',
      '--agent',
      'sales',
      '--user',
      'ann',
      '--id',
      'call-7',
      '--metadata',
      '{"a":[1]}',
      '--label',
      'tier=gold',
      '--label',
      'note=a=b',
      '--idle-timeout',
      '1m30s',
      '--no-active-stream',
      'off',
      '--no-caller',
      '45s',
      '--error-limit',
      '3',
    ]);
    expect(result).toMatchObject({ code: 0, out: 'call-7\n', err: '' });
    expect(doors.api.asked[0]?.with).toEqual({
      room: '会議 1',
      agent: 'sales',
      user: 'ann',
      id: 'call-7',
      metadata: { a: [1] },
      labels: { tier: 'gold', note: 'a=b' },
      limits: { activityIdleTimeoutMs: 90_000, noActiveStreamMs: null, noCallerMs: 45_000, errorLimit: 3 },
    });
    expect(doors.api.asked[0]?.by?.kind).toBe('local');
  });

  it('with --wait tells by its exit code and on stderr what became of it, and prints the id all the same', async () => {
    const put = (id: string, change: Partial<SessionView>) =>
      doors.api.sessions.set(id, { ...viewOf({ id }), liveAt: null, ...change });
    const evidence = { ...endedView(viewOf({ id: '' })).evidence, cause: 'exit', detail: 'exited with 1' };
    put('live', { state: 'live', liveAt: '2026-01-02T03:04:05.000Z' });
    put('slow', { state: 'starting' });
    put('dead', { state: 'closing', reason: 'crashed', evidence: evidence as SessionView['evidence'] });
    put('gone', { state: 'released', reason: 'requested' });
    const wait = (id: string, ...more: string[]) =>
      ask([...more, 'dispatch', '--room', 'r', '--id', id, '--wait', 'live', '--timeout', '1s']);
    expect(await wait('live')).toMatchObject({ code: 0, out: 'live\n', err: '' });
    const slow = await wait('slow');
    expect(slow).toMatchObject({ code: 8, out: 'slow\n' });
    expect(slow.err).toContain('slow is still starting after 1s');
    const dead = await wait('dead');
    expect(dead).toMatchObject({ code: 12, out: 'dead\n' });
    expect(dead.err).toContain('dead ended before it was live: crashed: exited with 1');
    expect((await wait('gone')).code).toBe(9);
    expect(await wait('dead', '--json')).toMatchObject({ code: 12, err: '' });
  });

  it('prints the session with --json', async () => {
    const result = await ask(['--json', 'dispatch', '--room', 'r', '--id', 'call-8']);
    expect(JSON.parse(result.out)).toEqual(doors.api.sessions.get('call-8'));
  });
});

describe("the config's socket", () => {
  const socketName = () => relative(dir, doors.socketPath);

  it.each([
    '',
    '\nbad: 1',
    '\nlivekit: {api_secret_file: none}',
    '\nagents: 5',
  ])('is all that is read of it by a command that asks a supervisor: %j', async (more) => {
    const path = config(`listen: {socket: ${socketName()}, http: 1}${more}`);
    expect(await cli(['--config', path, 'list'])).toMatchObject({ code: 0, err: '' });
    expect(await cli(['list'], { env: { CURFEW_CONFIG: path } })).toMatchObject({ code: 0, err: '' });
  });

  it.each([
    ['listen: {socket: 1}', 'listen.socket: 1 must be text'],
    ['listen: 5', 'listen: 5 must be a map of keys'],
    ['- 1', 'the file: must be a map of keys'],
    ['listen: {', 'not valid YAML'],
  ])('must be right: %j', async (text, said) => {
    const wrong = await cli(['--config', config(text), 'list']);
    expect(wrong.code).toBe(2);
    expect(wrong.err.replaceAll(/\s+/g, ' ')).toContain(said);
  });
});

it.each([
  [['show', ''], '<id>: must not be empty'],
  [['release', 's-1', ''], '<ids>: must not be empty'],
])('%j says which argument is empty', async (args, message) => {
  const result = await ask(args);
  expect(result.code).toBe(2);
  expect(result.err).toContain(`curfew: ${message}\n`);
  expect(states()).toEqual(['live', 'live']);
});

it('undrain with no drain under way says that it changed nothing', async () => {
  expect((await ask(['undrain'])).out).toBe('no drain is under way: nothing changed\n');
});

describe('an empty variable', () => {
  it('is one that is not set', async () => {
    const path = config(`listen: {socket: ${doors.socketPath}}`);
    const env = { CURFEW_API: '', CURFEW_CONFIG: path, CURFEW_API_TOKEN: '' };
    expect(await cli(['list'], { env })).toMatchObject({ code: 0, err: '' });
    const run = ['run', '--room', 'r', '--', 'true'];
    expect((await cli(run, { env: { CURFEW_CONFIG: '' } })).ran).toMatchObject([{ configPath: null }]);
    expect((await cli(['serve'], { env: { CURFEW_CONFIG: '' } })).err).toContain('there is no config file');
    expect((await ask(['show', 's-1'], { isTty: true, env: { NO_COLOR: '' } })).out).toContain('\u001b[');
  });
});

describe('list and show', () => {
  it('print data on stdout, as text or as JSON', async () => {
    expect((await ask(['list'])).out).toContain('room s-1');
    expect(JSON.parse((await ask(['--json', 'list'])).out).sessions).toHaveLength(2);
    expect(JSON.parse((await ask(['--json', 'show', 's-1'])).out).id).toBe('s-1');
    expect((await ask(['show', 's-1'])).out).toContain('room s-1');
  });

  it('ask for the open ones, unless for all', async () => {
    await ask(['list', '--room', 'r', '--label', 'a=b']);
    await ask(['list', '--all']);
    expect(doors.api.asked.map((one) => one.with)).toEqual([
      { state: 'open', room: 'r', label: 'a=b', limit: 100 },
      { limit: 100 },
    ]);
  });

  it('are coloured on a terminal only, and not with NO_COLOR or --no-color', async () => {
    expect((await ask(['show', 's-1'], { isTty: true })).out).toContain('\u001b[');
    for (const result of [
      await ask(['show', 's-1']),
      await ask(['show', 's-1'], { isTty: true, env: { NO_COLOR: '1' } }),
      await ask(['--no-color', 'show', 's-1'], { isTty: true }),
    ])
      expect(result.out).not.toContain('\u001b');
  });
});

describe('release', () => {
  it('of all needs --yes where nobody can be asked', async () => {
    const refused = await ask(['release', '--all']);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('this would end 2 sessions\n  Add --yes');
    expect(states()).toEqual(['live', 'live']);
    expect((await ask(['release', '--all', '--yes'])).code).toBe(0);
    expect(states()).toEqual(['released', 'released']);
  });

  it.each([
    ['', 2, 'live'],
    ['n', 2, 'live'],
    ['yesterday', 2, 'live'],
    ['y', 0, 'released'],
    [' Yes ', 0, 'released'],
  ])('of all asks on a terminal, and %j makes exit %i', async (answer, code, state) => {
    const result = await ask(['release', '--all'], { isTty: true, answer });
    expect(result.asked).toEqual(['End 2 sessions? [y/N] ']);
    expect(result.code).toBe(code);
    expect(states()).toEqual([state, state]);
  });

  it('of all that was asked about ends no session that began meanwhile', async () => {
    const result = await ask(['release', '--all'], { isTty: true, answer: 'y' });
    expect(result.code).toBe(0);
    expect(doors.api.asked.map((one) => one.what)).toEqual(['releaseMany', 'release', 'release']);
  });

  it('with --dry-run ends nothing and asks nothing', async () => {
    const many = await ask(['release', '--all', '--dry-run'], { isTty: true });
    const one = await ask(['release', 's-1', '--dry-run']);
    expect([many.code, one.code]).toEqual([0, 0]);
    expect(many.asked).toEqual([]);
    expect(states()).toEqual(['live', 'live']);
  });

  it('by a filter ends those alone', async () => {
    expect((await ask(['release', '--room', 'room s-1', '--yes'])).code).toBe(0);
    expect(states()).toEqual(['released', 'live']);
  });

  it('of a named session tells why and asks nothing', async () => {
    const result = await ask(['release', 's-1', '--reason', 'caller asked']);
    expect(result).toMatchObject({ code: 0, asked: [] });
    expect(doors.api.asked).toMatchObject([{ what: 'release', with: 'caller asked' }]);
  });
});
