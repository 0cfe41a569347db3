/** The error for a wrong config: the place, the key, the value, and what the key accepts. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../../src/adapters/config/config-file.ts';
import { CurfewError } from '../../../src/lib/errors.ts';

const SECRET = 'a-secret-that-nobody-reads';
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-config-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function errorOf(work: () => unknown): CurfewError {
  try {
    work();
  } catch (error) {
    if (error instanceof CurfewError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

const messageFor = (text: string, env = {}) =>
  errorOf(() => parseConfig(text, { path: 'c.yaml', env })).message;
const inAgent = (text: string) => `agents:\n  default:\n    command: [a]\n    ${text}\n`;

describe('the error for a wrong config', () => {
  it('names its faults in the order of the file, a misspelt key once, and a long value with both quotes', () => {
    const text = `agents:\n  default:\n    comand: [a]\n    warm: ${'x'.repeat(80)}\nlmits: {}\n`;
    expect(messageFor(text).split('\n')).toEqual([
      'c.yaml:3: agents.default.comand: unknown key; did you mean "command"?',
      `c.yaml:4: agents.default.warm: "${'x'.repeat(59)}…" must be a whole number from 0 to 1000`,
      'c.yaml:5: lmits: unknown key; did you mean "limits"?',
    ]);
  });

  it.each([
    ['lmits:\n  sessions: 3', 'c.yaml:1: lmits: unknown key; did you mean "limits"?'],
    [
      'state_dir: /x\nlimits:\n  sesions: 3',
      'c.yaml:3: limits.sesions: unknown key; did you mean "sessions"?',
    ],
    [
      inAgent('max_durations: 2h'),
      'c.yaml:4: agents.default.max_durations: unknown key; did you mean "max_duration"?',
    ],
    [
      inAgent('ladder: {terms: 1s}'),
      'c.yaml:4: agents.default.ladder.terms: unknown key; did you mean "term"?',
    ],
    [
      inAgent('callers_left: soon'),
      'c.yaml:4: agents.default.callers_left: "soon" must be auto or a duration with a unit, such as 5s, from 0s to 1h',
    ],
    [
      inAgent('callers: {ignore: {identities: ["**"]}}'),
      'c.yaml:4: agents.default.callers.ignore.identities.0: "**" must have at least one character without *',
    ],
    [
      inAgent('callers: {ignore: {identity: [x]}}'),
      'c.yaml:4: agents.default.callers.ignore.identity: unknown key; did you mean "identities"?',
    ],
    [inAgent('warm: 2.5'), 'c.yaml:4: agents.default.warm: 2.5 must be a whole number from 0 to 1000'],
    [
      inAgent('side_rooms: r'),
      'c.yaml:4: agents.default.side_rooms: "r" must contain {room} and more, such as {room}-human-agent',
    ],
    ['run_as:', 'c.yaml:1: run_as: unknown key; it is not supported by this version'],
    ['agents:\n  default:\n    max_duration: 2h', 'c.yaml:2: agents.default.command: is missing'],
    ['agents:\n  default:', 'c.yaml:2: agents.default: null must be a map of keys'],
    [
      'agents:\n  default:\n    command: python agent.py',
      'c.yaml:3: agents.default.command: "python agent.py" must be a list, such as [python, agent.py]; curfew never passes a command through a shell',
    ],
    ['agents: {default: {command: []}}', 'c.yaml:1: agents.default.command: must name a program'],
    ['agents: {default: {command: [""]}}', 'c.yaml:1: agents.default.command: must name a program'],
    ['agents: {default: {command: [1]}}', 'c.yaml:1: agents.default.command.0: 1 must be text'],
    [
      'agents: {"a b": {command: [x]}}',
      'c.yaml:1: agents.a b: must be letters, digits, ".", "_", ":" or "-", and begin with a letter or digit',
    ],
    ['agents: []', 'c.yaml:1: agents: must be a map of agents by name'],
    [
      inAgent('max_duration: 2 hours'),
      'c.yaml:4: agents.default.max_duration: "2 hours" must be a duration with a unit, such as 120s, from 1s to 7d',
    ],
    [
      inAgent('max_duration: 7200'),
      'c.yaml:4: agents.default.max_duration: 7200 must be a duration with a unit, such as 120s, from 1s to 7d',
    ],
    [inAgent('max_duration: 8d'), 'c.yaml:4: agents.default.max_duration: "8d" must be from 1s to 7d'],
    [inAgent('idle_timeout: 29s'), 'c.yaml:4: agents.default.idle_timeout: "29s" must be from 30s to 3599s'],
    [inAgent('idle_timeout: 1h'), 'c.yaml:4: agents.default.idle_timeout: "1h" must be from 30s to 3599s'],
    [
      inAgent('no_active_stream: on'),
      'c.yaml:4: agents.default.no_active_stream: "on" must be off or a duration with a unit, such as 15m, from 1s to 1d',
    ],
    [
      inAgent('memory: 512'),
      'c.yaml:4: agents.default.memory: 512 must be a size with a unit, such as 512MiB or 2GiB',
    ],
    [
      inAgent('memory: 0MiB'),
      'c.yaml:4: agents.default.memory: "0MiB" must be a size with a unit, such as 512MiB or 2GiB',
    ],
    [inAgent('cpu: 100'), 'c.yaml:4: agents.default.cpu: 100 must be a share of one core, such as 100%'],
    [inAgent('replace: yes'), 'c.yaml:4: agents.default.replace: "yes" must be true, false or always'],
    [
      inAgent('protocol: pipecat'),
      'c.yaml:4: agents.default.protocol: "pipecat" must be one of none, livekit, curfew',
    ],
    [
      inAgent(`env: {CURFEW_TOKEN: ${SECRET}}`),
      'c.yaml:4: agents.default.env.CURFEW_TOKEN: is set by curfew itself',
    ],
    [
      inAgent('env: {LIVEKIT_URL: ws://mine}'),
      'c.yaml:4: agents.default.env.LIVEKIT_URL: is set by curfew itself',
    ],
    [
      inAgent(
        `env: {LIVEKIT_API_KEY: k, LIVEKIT_API_SECRET: ${SECRET}}\n    protocol: livekit\n    livekit_access: room`,
      ),
      [
        'c.yaml:4: agents.default.env.LIVEKIT_API_KEY: is set by curfew itself with livekit_access room',
        'c.yaml:4: agents.default.env.LIVEKIT_API_SECRET: is set by curfew itself with livekit_access room',
      ].join('\n'),
    ],
    [inAgent('pass_env: A'), 'c.yaml:4: agents.default.pass_env: "A" must be a list of names'],
    [
      inAgent('error_limit: 1.5'),
      'c.yaml:4: agents.default.error_limit: 1.5 must be a whole number from 1 to 1000',
    ],
    ['limits: {start_rate: 10}', 'c.yaml:1: limits.start_rate: 10 must be a rate, such as 10/s or 600/min'],
    ['limits: {per_user: two}', 'c.yaml:1: limits.per_user: "two" must be a whole number, or off'],
    ['limits: 5', 'c.yaml:1: limits: 5 must be a map of keys'],
    [
      'listen: {http: localhost}',
      'c.yaml:1: listen.http: "localhost" must be HOST:PORT, such as 127.0.0.1:7890, or off',
    ],
    ['- 1', 'c.yaml:1: the file: must be a map of keys'],
    ['a: 1\na: 2', 'c.yaml:2: not valid YAML: Map keys must be unique (column 1)'],
    ['*a', 'c.yaml: not valid YAML: Unresolved alias (the anchor must be set before the alias): a'],
  ])('names the place, the fault and the remedy for %j', (text, message) => {
    expect(messageFor(text)).toBe(message);
  });

  it('lists all faults at once, one on each line', () => {
    expect(messageFor('limits: {queue: -1}\nlog: {level: loud}').split('\n')).toEqual([
      'c.yaml:1: limits.queue: -1 must be a whole number from 0 to 100000',
      'c.yaml:2: log.level: "loud" must be one of debug, info, warn, error, silent',
    ]);
  });

  it.each([
    `livekit: {url: example.com, api_key: k, api_secret: ${SECRET}}`,
    `livekit: {api_secret: [${SECRET}]}`,
    `livekit: {api_secrt: ${SECRET}}`,
    `api: {tokens: [{name: a, token: ${SECRET}, token_file: /x, scopes: [read]}]}`,
    `api: {tokens: [{name: a, tokn: ${SECRET}, scopes: [read]}]}`,
    'api: {tokens: [{name: a, token: short-secret, scopes: [read]}]}',
    `livekit: {api_secret: ${SECRET}, api_secret: ${SECRET}}`,
    `livekit: {api_secret: ${SECRET}`,
  ])('does not repeat the secret of %j', (text) => {
    expect(messageFor(text)).not.toMatch(/secret-that|short-secret/);
  });
});

describe('the reader of a config', () => {
  it('names which of the three LiveKit values are missing', () => {
    const rest =
      'give all of url, api_key and api_secret (or LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET), or none';
    expect(messageFor('livekit: {url: wss://x}')).toBe(`livekit: api_key and api_secret missing; ${rest}`);
    expect(messageFor('', { LIVEKIT_API_SECRET: SECRET })).toBe(`livekit: url and api_key missing; ${rest}`);
  });

  it('reads secrets from files and from the environment, and prefers the file', () => {
    const path = join(dir, 'secret');
    writeFileSync(path, `${SECRET}\n`);
    const text = `livekit: {url: wss://x, api_secret_file: ${path}}`;
    const { livekit } = parseConfig(text, {
      path: 'c.yaml',
      env: { LIVEKIT_URL: 'wss://y', LIVEKIT_API_KEY: 'k', LIVEKIT_API_SECRET: 'other' },
    });
    expect(livekit).toEqual({ url: 'wss://x', apiKey: 'k', apiSecret: SECRET });
  });

  it('searches a relative secret file among the credentials of systemd, then beside the config', () => {
    const credentials = join(dir, 'given');
    for (const folder of [credentials, join(dir, 'credentials')]) mkdirSync(folder);
    writeFileSync(join(dir, 'credentials', 'key'), 'beside\n');
    const text = 'livekit: {url: wss://x, api_secret: s, api_key_file: credentials/key}';
    const keyWith = (env: Record<string, string>) =>
      parseConfig(text, { path: join(dir, 'c.yaml'), env }).livekit?.apiKey;
    expect(keyWith({})).toBe('beside');
    expect(keyWith({ CREDENTIALS_DIRECTORY: credentials })).toBe('beside');
    writeFileSync(join(credentials, 'credentials_key'), 'credential\n');
    expect(keyWith({ CREDENTIALS_DIRECTORY: credentials })).toBe('credential');
  });

  it('resolves relative paths from the folder of the config, not from the working folder', () => {
    const text = 'state_dir: state\nlisten: {socket: run/c.sock}';
    const config = parseConfig(text, { path: join(dir, 'c.yaml'), env: {} });
    expect([config.stateDir, config.listen.socket]).toEqual([join(dir, 'state'), join(dir, 'run/c.sock')]);
    const here = parseConfig('state_dir: ../state', { path: 'etc/c.yaml', env: {} });
    expect(here.stateDir).toBe(resolve('state'));
  });

  it('uses the defaults for an empty file and for empty sections', () => {
    const of = (text: string) => parseConfig(text, { path: 'c.yaml', env: {} });
    expect(of('livekit:\nlimits:\n  # sessions: 3\nagents:\n')).toEqual(of(''));
  });

  it.each([
    ['nowhere.yaml', 'ENOENT'],
    ['folder', 'EISDIR'],
  ])('names the config file when it cannot be read: %s', (name, why) => {
    mkdirSync(join(dir, 'folder'));
    const error = errorOf(() => loadConfig(join(dir, name), {}));
    expect(error.code).toBe('invalid_config');
    expect(error.facts.hint).toContain('Name a file');
    expect(error.message).toContain(`the config "${join(dir, name)}" cannot be read: ${why}`);
  });

  it('names the secret file when it cannot be read', () => {
    expect(messageFor('livekit: {api_key_file: /nowhere/key}')).toContain(
      'livekit.api_key_file "/nowhere/key" cannot be read: ENOENT',
    );
  });
});
