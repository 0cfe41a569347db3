/** The command line against the HTTP listeners: exit codes, stdout and stderr, and its requests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SessionView } from '../../src/api/session-schemas.ts';
import { checkNode } from '../../src/app/node-version.ts';
import { ERRORS } from '../../src/lib/errors.ts';
import { VERSION } from '../../src/lib/version.ts';
import type { CliOptions } from '../support/api/command-line.ts';
import { cli } from '../support/api/command-line.ts';
import type { TestListeners } from '../support/api/listeners.ts';
import { openListeners, tokenWith } from '../support/api/listeners.ts';
import { endedView, viewOf } from '../support/api/memory-api.ts';

let listeners: TestListeners;
let dir: string;
beforeAll(async () => {
  listeners = await openListeners();
  dir = mkdtempSync(join(tmpdir(), 'curfew-cli-'));
});
afterAll(async () => {
  await listeners.close();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => {
  listeners.api.sessions.clear();
  listeners.api.requests.length = 0;
  for (const id of ['s-1', 's-2']) listeners.api.sessions.set(id, viewOf({ id, room: `room ${id}` }));
});

const run = (args: readonly string[], options: CliOptions = {}) =>
  cli(['--socket', listeners.socketPath, ...args], options);
/** The requests of one kind that the supervisor received. */
const requestsTo = (what: string) => listeners.api.requests.filter((one) => one.what === what);
const states = () => [...listeners.api.sessions.values()].map((one) => one.state);
const config = (text: string, name = 'curfew.yaml') => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};

describe('the command line', () => {
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
    [['run', '--room', 'r', '--protocol', 'pipecat', '--', 'true'], 2],
    [['--config', 'c.yaml', 'run', '--room', 'r', '--protocol', 'livekit'], 2],
    [['serve'], 2],
    [['release'], 2],
  ])('with %j exits with %i', async (args, code) => {
    const result = await run(args);
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
  ])('refuses dispatch with %j and says what is valid: %s', async (args, message) => {
    const result = await run(['dispatch', '--room', 'r', ...args]);
    expect(result.code).toBe(2);
    expect(result.err.replaceAll(/\s+/g, ' ')).toContain(`curfew: ${message}`);
    expect(listeners.api.requests).toEqual([]);
  });

  it('prints its version and the commit', async () => {
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
  ])('refuses %j and names the wrong argument: %s', async (args, message) => {
    const result = await run(args);
    expect(result.code).toBe(2);
    expect(result.err.replaceAll(/\s+/g, ' ')).toContain(message);
  });

  it('prints its own hint for a refusal that no supervisor gave', async () => {
    const declined = await run(['release', '--all'], { isTty: true, answer: 'n' });
    expect(declined.err).toBe(
      'curfew: release: no session was ended\n  Answer y to end them, or add --yes.\n',
    );
    const json = await run(['--json', 'release']);
    expect(JSON.parse(json.err)).toMatchObject({
      code: 'invalid_request',
      hint: 'See --help for the options.',
    });
  });

  it('fits every help into 80 columns', async () => {
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

describe('a Node that is too old for a supervisor', () => {
  it('is refused with the version that is needed', () => {
    for (const version of ['20.20.2', '22.13.0', '23.11.1'])
      expect(() => checkNode(version)).toThrow(
        `this command runs on Node ${version}, but a supervisor needs Node 24 or newer`,
      );
    for (const version of ['24.0.0', '26.1.0', process.versions.node])
      expect(() => checkNode(version)).not.toThrow();
  });
});

describe('the exit code', () => {
  it.each([
    [['show', 's-9'], 'not_found'],
    [['logs', 's-9'], 'not_found'],
    [['keep-alive', 's-9'], 'not_found'],
    [['release', 's-9'], 'not_found'],
    [['dispatch', '--room', 'full'], 'at_capacity'],
    [['dispatch', '--room', 'broken'], 'internal'],
    [['dispatch', '--room', 'a\nb'], 'invalid_request'],
  ] as const)('of %j is that of the error %s, with its hint on stderr', async (args, code) => {
    const result = await run(args);
    expect(result.code).toBe(ERRORS[code].exit);
    expect(result.out).toBe('');
    expect(result.err.replaceAll(/\s+/g, ' ')).toContain(ERRORS[code].hint);
    const json = await run(['--json', ...args]);
    expect(json.code).toBe(ERRORS[code].exit);
    expect(JSON.parse(json.err)).toMatchObject({ code, hint: ERRORS[code].hint });
  });

  it('is 4 when no supervisor answers, with the address and the remedy on stderr', async () => {
    const socket = join(dir, 'missing.sock');
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

  it('is 4 over TCP with a wrong token or scope', async () => {
    const env = { CURFEW_API: `http://127.0.0.1:${listeners.port}/` };
    const read = tokenWith('read');
    const bare = await cli(['list'], { env });
    expect(bare.code).toBe(4);
    expect(bare.err.replaceAll(/\s+/g, ' ')).toContain('--token-file or CURFEW_API_TOKEN');
    const wrong = await cli(['list'], { env: { ...env, CURFEW_API_TOKEN: 'wrong' } });
    expect(wrong.code).toBe(4);
    expect(wrong.err).not.toContain('wrong');
    expect((await cli(['list'], { env: { ...env, CURFEW_API_TOKEN: read } })).code).toBe(0);
    expect((await cli(['release', 's-1'], { env: { ...env, CURFEW_API_TOKEN: read } })).code).toBe(4);
    // CURFEW_TOKEN is the worker's token for its control socket, not a token of the API.
    expect((await cli(['list'], { env: { ...env, CURFEW_TOKEN: read } })).code).toBe(4);
  });

  it('is 0 with a token from a file, which has precedence over the environment', async () => {
    const url = `http://127.0.0.1:${listeners.port}`;
    const file = join(dir, 'token');
    writeFileSync(file, `${tokenWith('read')}\n`);
    const args = ['--socket', url, '--token-file', file, 'list'];
    expect((await cli(args, { env: { CURFEW_API_TOKEN: 'wrong' } })).code).toBe(0);
    const lost = await cli(['--socket', url, '--token-file', join(dir, 'no-token'), 'list']);
    expect(lost.code).toBe(2);
    expect(lost.err).toContain('--token-file: ');
  });

  it('is 7 when only some of the named sessions were released', async () => {
    const result = await run(['release', 's-1', 's-9', 's-2']);
    expect(result.code).toBe(7);
    expect(result.err).toContain('s-9');
    expect(states()).toEqual(['released', 'released']);
  });

  it('of run is that of the session that ran', async () => {
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

  it('of config check is 0 for a good config and 1 for a config with errors', async () => {
    const good = await cli(['config', 'check', config('agents: {default: {command: ["true"]}}')], {
      env: { PATH: process.env.PATH ?? '' },
    });
    expect(good.code).toBe(0);
    expect(good.out).toContain('is good, with 1 warning');
    const lost = await cli(['config', 'check', config('agents: {default: {command: [no-such-program]}}')]);
    expect(lost.code).toBe(1);
    expect(lost.out).toContain('agents.default.command: "no-such-program" is not found or not executable');
    for (const [text, ...faults] of [
      ['agent: {}\nlog: {level: loud}', 'did you mean "agents"?', 'log.level: "loud"'],
      ['agents: {default: {command: [true', 'c.yaml:1: not valid YAML: '],
      ['livekit: {url: ws://x, api_key: k, api_secret_file: none}', 'livekit.api_secret_file "'],
    ] as const) {
      const path = config(text, 'c.yaml');
      const wrong = await cli(['config', 'check', path]);
      expect(wrong, text).toMatchObject({ code: 1, err: '' });
      const lines = wrong.out.replaceAll(/\n +/g, ' ').trim().split('\n');
      expect(lines.filter((line) => line.startsWith('error: '))).toHaveLength(faults.length);
      for (const part of faults) expect(lines.join('\n')).toContain(part);
      const conclusion = lines.at(-1);
      expect(conclusion).toBe(`${path} has errors`);
      expect(lines.join('\n')).not.toMatch(/:$/m);
      const json = await cli(['--json', 'config', 'check', path]);
      expect(JSON.parse(json.out)).toMatchObject({ path, ok: false });
    }
    expect((await cli(['config', 'check', join(dir, 'none')])).code).toBe(1);
    expect((await cli(['config', 'check'])).code).toBe(2);
  });
});

describe('the command curfew dispatch', () => {
  it('sends the given values and prints only the id', async () => {
    const result = await run([
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
    const [dispatched] = requestsTo('dispatch');
    expect(dispatched?.with).toEqual({
      room: '会議 1',
      agent: 'sales',
      user: 'ann',
      id: 'call-7',
      metadata: { a: [1] },
      labels: { tier: 'gold', note: 'a=b' },
      limits: { activityIdleTimeoutMs: 90_000, noActiveStreamMs: null, noCallerMs: 45_000, errorLimit: 3 },
    });
    expect(dispatched?.by?.kind).toBe('local');
  });

  it('with --wait reports the outcome by its exit code and on stderr, and always prints the id', async () => {
    const put = (id: string, change: Partial<SessionView>) =>
      listeners.api.sessions.set(id, { ...viewOf({ id }), liveAt: null, ...change });
    const evidence = { ...endedView(viewOf({ id: '' })).evidence, cause: 'exit', detail: 'exited with 1' };
    put('live', { state: 'live', liveAt: '2026-01-02T03:04:05.000Z' });
    put('slow', { state: 'starting' });
    put('dead', { state: 'closing', reason: 'crashed', evidence: evidence as SessionView['evidence'] });
    put('gone', { state: 'released', reason: 'requested' });
    const wait = (id: string, ...more: string[]) =>
      run([...more, 'dispatch', '--room', 'r', '--id', id, '--wait', 'live', '--timeout', '1s']);
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

  it('prints the whole session with --json', async () => {
    const result = await run(['--json', 'dispatch', '--room', 'r', '--id', 'call-8']);
    expect(JSON.parse(result.out)).toEqual(listeners.api.sessions.get('call-8'));
  });
});

describe('a command to the supervisor of a config', () => {
  const socketName = () => relative(dir, listeners.socketPath);

  it.each([
    '',
    '\nbad: 1',
    '\nlivekit: {api_secret_file: none}',
    '\nagents: 5',
  ])('reads only the socket of the config, also with the rest %j', async (more) => {
    const path = config(`listen: {socket: ${socketName()}, http: 1}${more}`);
    expect(await cli(['--config', path, 'list'])).toMatchObject({ code: 0, err: '' });
    expect(await cli(['list'], { env: { CURFEW_CONFIG: path } })).toMatchObject({ code: 0, err: '' });
  });

  it.each([
    ['listen: {socket: 1}', 'listen.socket: 1 must be text'],
    ['listen: 5', 'listen: 5 must be a map of keys'],
    ['- 1', 'the file: must be a map of keys'],
    ['listen: {', 'not valid YAML'],
  ])('is refused for the config %j: %s', async (text, message) => {
    const wrong = await cli(['--config', config(text), 'list']);
    expect(wrong.code).toBe(2);
    expect(wrong.err.replaceAll(/\s+/g, ' ')).toContain(message);
  });
});

it.each([
  [['show', ''], '<id>: must not be empty'],
  [['release', 's-1', ''], '<ids>: must not be empty'],
])('the command %j names its empty argument: %s', async (args, message) => {
  const result = await run(args);
  expect(result.code).toBe(2);
  expect(result.err).toContain(`curfew: ${message}\n`);
  expect(states()).toEqual(['live', 'live']);
});

it('the command curfew undrain without a drain says that it changed nothing', async () => {
  expect((await run(['undrain'])).out).toBe('no drain is under way: nothing changed\n');
});

describe('an empty environment variable', () => {
  it('counts as not set', async () => {
    const path = config(`listen: {socket: ${listeners.socketPath}}`);
    const env = { CURFEW_API: '', CURFEW_CONFIG: path, CURFEW_API_TOKEN: '' };
    expect(await cli(['list'], { env })).toMatchObject({ code: 0, err: '' });
    const runArgs = ['run', '--room', 'r', '--', 'true'];
    expect((await cli(runArgs, { env: { CURFEW_CONFIG: '' } })).ran).toMatchObject([{ configPath: null }]);
    expect((await cli(['serve'], { env: { CURFEW_CONFIG: '' } })).err).toContain('there is no config file');
    expect((await run(['show', 's-1'], { isTty: true, env: { NO_COLOR: '' } })).out).toContain('\u001b[');
  });
});

describe('the commands list and show', () => {
  it('print data on stdout, as text or as JSON', async () => {
    expect((await run(['list'])).out).toContain('room s-1');
    expect(JSON.parse((await run(['--json', 'list'])).out).sessions).toHaveLength(2);
    expect(JSON.parse((await run(['--json', 'show', 's-1'])).out).id).toBe('s-1');
    expect((await run(['show', 's-1'])).out).toContain('room s-1');
  });

  it('request the open sessions, or all with --all', async () => {
    await run(['list', '--room', 'r', '--label', 'a=b']);
    await run(['list', '--all']);
    expect(listeners.api.requests.map((one) => one.with)).toEqual([
      { state: 'open', room: 'r', label: 'a=b', limit: 100 },
      { limit: 100 },
    ]);
  });

  it('print colours on a terminal only, and not with NO_COLOR or --no-color', async () => {
    expect((await run(['show', 's-1'], { isTty: true })).out).toContain('\u001b[');
    for (const result of [
      await run(['show', 's-1']),
      await run(['show', 's-1'], { isTty: true, env: { NO_COLOR: '1' } }),
      await run(['--no-color', 'show', 's-1'], { isTty: true }),
    ])
      expect(result.out).not.toContain('\u001b');
  });
});

describe('the command curfew release', () => {
  it('of all sessions needs --yes without a terminal', async () => {
    const refused = await run(['release', '--all']);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('this would end 2 sessions\n  Add --yes');
    expect(states()).toEqual(['live', 'live']);
    expect((await run(['release', '--all', '--yes'])).code).toBe(0);
    expect(states()).toEqual(['released', 'released']);
  });

  it.each([
    ['', 2, 'live'],
    ['n', 2, 'live'],
    ['yesterday', 2, 'live'],
    ['y', 0, 'released'],
    [' Yes ', 0, 'released'],
  ])('of all sessions asks on a terminal, and the answer %j leads to exit code %i and sessions that are %s', async (answer, code, state) => {
    const result = await run(['release', '--all'], { isTty: true, answer });
    expect(result.questions).toEqual(['End 2 sessions? [y/N] ']);
    expect(result.code).toBe(code);
    expect(states()).toEqual([state, state]);
  });

  it('of all sessions releases only those that it asked about', async () => {
    const result = await run(['release', '--all'], { isTty: true, answer: 'y' });
    expect(result.code).toBe(0);
    expect(listeners.api.requests.map((one) => one.what)).toEqual(['releaseMany', 'release', 'release']);
  });

  it('with --dry-run ends no session and asks nothing', async () => {
    const many = await run(['release', '--all', '--dry-run'], { isTty: true });
    const one = await run(['release', 's-1', '--dry-run']);
    expect([many.code, one.code]).toEqual([0, 0]);
    expect(many.questions).toEqual([]);
    expect(states()).toEqual(['live', 'live']);
  });

  it('with a filter ends the matching sessions only', async () => {
    expect((await run(['release', '--room', 'room s-1', '--yes'])).code).toBe(0);
    expect(states()).toEqual(['released', 'live']);
  });

  it('of a named session sends the reason and asks nothing', async () => {
    const result = await run(['release', 's-1', '--reason', 'caller asked']);
    expect(result).toMatchObject({ code: 0, questions: [] });
    expect(listeners.api.requests).toMatchObject([{ what: 'release', with: 'caller asked' }]);
  });
});
