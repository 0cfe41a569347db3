/** The environment of a worker: the sources, their order, and what is withheld. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launchEnv, realKeys } from '../../src/adapters/livekit/standin/agent-env.ts';
import type { EnvironmentSources } from '../../src/process/base-environment.ts';
import { workerEnvironment } from '../../src/process/base-environment.ts';
import { readEnvFile } from '../../src/process/env-file.ts';

const HOST = {
  PATH: '/bin',
  OPENAI_API_KEY: 'sk-1',
  HTTPS_PROXY: 'http://proxy',
  NOTIFY_SOCKET: '/run/systemd/notify',
  LISTEN_FDS: '1',
  WATCHDOG_USEC: '1',
  INVOCATION_ID: 'a',
  JOURNAL_STREAM: '8:1',
  CREDENTIALS_DIRECTORY: '/run/credentials',
  CURFEW_API_TOKEN: 'admin',
  CURFEW_ANYTHING: 'x',
  LIVEKIT_URL: 'wss://supervisor',
  LIVEKIT_API_KEY: 'supervisor',
  LIVEKIT_API_SECRET: 'supervisor',
  LIVEKIT_INFERENCE_API_KEY: 'inference',
  'BASH_FUNC_x%%': '() { :; }',
};
const AGENT = { env: {}, passEnv: [], protocol: 'livekit', livekitAccess: 'full', passAll: true } as const;

function environment(
  profile: Partial<EnvironmentSources['profile']> = {},
  more: Partial<EnvironmentSources> = {},
) {
  return workerEnvironment({ host: HOST, profile: { ...AGENT, ...profile }, own: {}, ...more });
}

describe('the whole environment', () => {
  it('passes all variables but those of curfew, of systemd and of the shell, and no key of the supervisor', () => {
    expect(environment()).toEqual({
      PATH: '/bin',
      OPENAI_API_KEY: 'sk-1',
      HTTPS_PROXY: 'http://proxy',
      LIVEKIT_INFERENCE_API_KEY: 'inference',
    });
  });

  it('passes nothing of LiveKit where the profile grants the room alone, and a name in pass_env still counts', () => {
    expect(environment({ livekitAccess: 'room' })).not.toHaveProperty('LIVEKIT_INFERENCE_API_KEY');
    const named = environment({ livekitAccess: 'room', passEnv: ['LIVEKIT_INFERENCE_API_KEY'] });
    expect(named).toHaveProperty('LIVEKIT_INFERENCE_API_KEY', 'inference');
  });

  it('is not passed by a profile that does not ask for it, as one of 0.1.0', () => {
    expect(workerEnvironment({ host: HOST, profile: { ...AGENT, passAll: false }, own: {} })).toEqual({
      PATH: '/bin',
    });
  });

  it('is weaker than env_file, which is weaker than env, names in pass_env, and curfew', () => {
    const host = { PATH: '/bin', A: 'all', B: 'all', C: 'all', D: 'all', E: 'all' };
    const file = { B: 'file', C: 'file', D: 'file', E: 'file' };
    const profile = { env: { C: 'env', D: 'env', E: 'env' }, passEnv: ['D', 'E'] };
    const own = { E: 'curfew' };
    expect(environment(profile, { host, file, own })).toMatchObject({
      A: 'all',
      B: 'file',
      C: 'env',
      D: 'all',
      E: 'curfew',
    });
  });
});

describe('env_file', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'curfew-env-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('is read in the format of dotenv, also through a link', async () => {
    writeFileSync(join(dir, 'real'), '# keys\nA=1\nexport B="two words" # more\n\nC=\'x\'\n');
    symlinkSync(join(dir, 'real'), join(dir, '.env'));
    expect(await readEnvFile(join(dir, '.env'))).toEqual({ A: '1', B: 'two words', C: 'x' });
  });

  it.each([
    ['quotes in quotes', 'A="say \\"hi\\""', 'say "hi"'],
    ['a byte order mark', '\uFEFFA=1', '1'],
    ['line ends of Windows', 'A=1\r\nB=2\r\n', '1'],
    ['several lines', 'A="-----BEGIN\nabc\n-----END" # key', '-----BEGIN\nabc\n-----END'],
    ['escapes in double quotes', 'A="a\\nb\\\\"', 'a\nb\\'],
    ['no escapes in single quotes', "A='a\\nb'", 'a\\nb'],
    ['backticks', 'A=`x "y"`', 'x "y"'],
    ['a # in a value', 'A=abc#def # comment', 'abc#def'],
    ['a reference, which stays as it is', 'A="$HOME"', '$HOME'],
    ['an empty value', 'A= # comment', ''],
    ['JSON', 'A={"a":"b c","d":1}', '{"a":"b c","d":1}'],
  ])('is read with %s', async (_, text, expected) => {
    writeFileSync(join(dir, '.env'), text);
    expect(await readEnvFile(join(dir, '.env'))).toHaveProperty('A', expected);
  });

  it.each([
    ['no assignment', Buffer.from('A=1\nsecret\n'), /line 2 is not NAME=value/],
    ['a name with a dot', Buffer.from('_A9=1\ndb.secret=x\n'), /line 2 has no valid name/],
    ['a name with a hyphen', Buffer.from('export SECRET-secret="x"\n'), /line 1 has no valid name/],
    ['a line of a key without quotes', Buffer.from('A=1\nMIIEvQ-secret==\n'), /line 2 has no valid name/],
    ['a colon', Buffer.from('\n# c\nA: secret\n'), /line 3 is not NAME=value/],
    ['an open quote', Buffer.from('A=1\r\nB="secret\r\nC=2\r\n'), /line 2 opens a quote/],
    ['text after a quote', Buffer.from('A="x" secret\n'), /line 1 has more text/],
    ['a NUL byte', Buffer.from('A=1\nB=secret\0\n'), /line 2 has a NUL byte/],
    ['UTF-16', Buffer.from('\uFEFFA=secret\n', 'utf16le'), /it is UTF-16, and only UTF-8/],
    ['Latin-1', Buffer.from('A=1\nB=secret\xe9\n', 'latin1'), /line 2 is not UTF-8/],
    ['a value too long', Buffer.from(`A=1\nB=${'secret'.repeat(40_000)}\n`), /line 2 sets B to 240001 bytes/],
  ])('is refused with file and line, and without a value: %s', async (_, data, expected) => {
    writeFileSync(join(dir, '.env'), data);
    const error = await readEnvFile(join(dir, '.env')).then(
      () => null,
      (caught: Error) => caught.message,
    );
    expect(error).toMatch(expected);
    expect(error).toContain(join(dir, '.env'));
    expect(error).not.toContain('secret');
  });

  it('names the file when it is missing or no file', async () => {
    await expect(readEnvFile(join(dir, 'none'))).rejects.toThrow(
      /env_file: ".*none" cannot be read: .*ENOENT/,
    );
    await expect(readEnvFile(dir)).rejects.toThrow('it is not a plain file');
  });
});

describe("LiveKit's real address and keys", () => {
  const supervisor = { url: 'wss://s', apiKey: 's', apiSecret: 's' };
  const given = { LIVEKIT_URL: 'wss://e', LIVEKIT_API_KEY: 'e', LIVEKIT_API_SECRET: 'e' };

  it("are those of the profile's variables, else the configured ones", () => {
    expect(realKeys({ livekitAccess: 'full' }, given, supervisor)).toEqual({
      url: 'wss://e',
      apiKey: 'e',
      apiSecret: 'e',
    });
    expect(realKeys({ livekitAccess: 'full' }, {}, supervisor)).toEqual(supervisor);
  });

  it('never mixes the key of one with the secret of another', () => {
    const { LIVEKIT_API_SECRET: _, ...half } = given;
    expect(realKeys({ livekitAccess: 'full' }, half, supervisor)).toEqual({ ...supervisor, url: 'wss://e' });
  });

  it('stand under names of their own until the launcher puts them in place, and are absent with room', () => {
    const access = { url: 'ws://127.0.0.1:9', apiKey: 'curfew-w', apiSecret: 'own' };
    const real = realKeys({ livekitAccess: 'full' }, {}, supervisor);
    expect(launchEnv({}, { ...access, real })).toMatchObject({
      LIVEKIT_URL: 'ws://127.0.0.1:9',
      LIVEKIT_API_SECRET: 'own',
      CURFEW_REAL_LIVEKIT_URL: 'wss://s',
    });
    expect(
      Object.keys(launchEnv({}, { ...access, real: realKeys({}, {}, supervisor) })).join(),
    ).not.toContain('REAL');
  });
});

describe('a variable that no process can have', () => {
  const told = (profile: Partial<EnvironmentSources['profile']>) => {
    try {
      environment(profile);
      return 'no error';
    } catch (error) {
      return String((error as Error).message);
    }
  };

  it('is refused with its name and without its value', () => {
    expect(told({ env: { 'A.B': 'TOPSECRET' } })).toBe(
      'the environment variable "A.B" has no valid name: use letters, digits and _',
    );
    expect(told({ env: { KEY: 'TOPSECRET\0tail' } })).toBe(
      'the environment variable "KEY" has a NUL byte in its value; remove it',
    );
  });
});
