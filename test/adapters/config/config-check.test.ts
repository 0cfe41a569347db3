/** The check of a config reports what would otherwise fail at the first call. */
import { describe, expect, it } from 'vitest';
import type { CgroupProbe } from '../../../src/adapters/config/config-check.ts';
import { checkConfig } from '../../../src/adapters/config/config-check.ts';
import { parseConfig } from '../../../src/adapters/config/config-file.ts';

const LIVEKIT = 'livekit: {url: wss://x, api_key: k, api_secret: s}\n';
const ENV = { PATH: process.env.PATH };

function findingsOf(text: string): string[] {
  const config = parseConfig(text, { path: 'c.yaml', env: {} });
  // The first finding is always the note about cgroups.
  const [, ...findings] = allFindings(config, { unavailable: 'no' });
  return findings;
}

function allFindings(config: Parameters<typeof checkConfig>[0], cgroups: CgroupProbe): string[] {
  return checkConfig(config, { env: ENV, cgroups, nodeVersionOf: () => 'v20.9.0' }).map(
    ({ level, text }) => `${level}: ${text}`,
  );
}

describe('the check of a config on this machine', () => {
  it('finds nothing in a config without faults', () => {
    expect(findingsOf(`${LIVEKIT}agents: {default: {command: [sh]}}`)).toEqual([]);
  });

  it.each([
    ['agents: {}', ['error: agents: the map is empty; add at least the agent `default`']],
    [
      'agents: {a: {command: [no-such-program]}}',
      ['error: agents.a.command: "no-such-program" is not found or not executable'],
    ],
    [
      'agents: {a: {command: [/etc/passwd]}}',
      ['error: agents.a.command: "/etc/passwd" is not found or not executable'],
    ],
    ['agents: {a: {command: [/tmp]}}', ['error: agents.a.command: "/tmp" is not found or not executable']],
    [
      'agents: {a: {command: [sh], env: {PATH: /nowhere}}}',
      ['error: agents.a.command: "sh" is not found or not executable'],
    ],
    ['agents: {a: {command: [sh], cwd: /nowhere}}', ['error: agents.a.cwd: "/nowhere" is not a directory']],
    [
      'agents: {a: {command: [sh], pass_env: [NO_SUCH_NAME]}}',
      ['warning: agents.a.pass_env: NO_SUCH_NAME is not set here'],
    ],
    [
      'agents: {a: {command: [sh], env_file: /no/such.env}}',
      [
        'error: agents.a.env_file: "/no/such.env" cannot be read: ENOENT: no such file or directory, stat \'/no/such.env\'; correct the file, or remove the key; no worker can start until then',
      ],
    ],
    [
      'agents: {a: {command: [sh], env: {OPENAI_API_KEY: k, db_password: p, MAX_TOKENS: 5, SSL_KEY: /etc/key.pem}}}',
      [
        'warning: agents.a.env: the state directory keeps env for days, so a secret belongs into env_file: OPENAI_API_KEY, db_password',
      ],
    ],
    ['agents: {a: {command: [sh], protocol: livekit, livekit_access: full}}', []],
    [
      'agents: {a: {command: [sh], protocol: livekit}, b: {command: [sh], protocol: livekit}}',
      [
        "warning: agents.a, agents.b: livekit_access is missing and means full: the agent gets LiveKit's real address and keys. Write livekit_access: full, or room for keys of its own that reach the call's rooms only",
      ],
    ],
    [
      'agents: {a: {command: [sh], protocol: livekit, livekit_access: room, livekit: {url: ws://a, api_key: k, api_secret: s}}}',
      ['warning: agents.a.livekit: has an effect only with protocol livekit and livekit_access full'],
    ],
    [
      'agents: {a: {command: [sh], protocol: livekit, livekit_access: full, env: {LIVEKIT_API_KEY: k}}}',
      [
        'warning: agents.a.env: the state directory keeps env for days, so a secret belongs into env_file: LIVEKIT_API_KEY',
        'warning: agents.a.env: LIVEKIT_API_KEY and LIVEKIT_API_SECRET have an effect only together; give both, or none',
      ],
    ],
    [
      'agents: {a: {command: [sh]}}\nlisten: {http: "0.0.0.0:80"}',
      ['warning: listen.http: other hosts can reach 0.0.0.0; put a proxy with TLS in front of it'],
    ],
    [
      `agents: {a: {command: [sh]}}\nlisten: {socket: /${'s'.repeat(107)}}`,
      [`error: the socket path "/${'s'.repeat(107)}" is longer than 107 bytes; choose a shorter directory`],
    ],
  ])('reports the fault in %j', (text, expected) => {
    expect(findingsOf(LIVEKIT + text)).toEqual(expected);
  });

  it.each([
    ['on the default PATH when PATH is unset', {}, 'agents: {a: {command: [sh]}}', []],
    [
      "on the host's PATH when the profile passes PATH on and also sets its own",
      { PATH: '/nowhere' },
      'agents: {a: {command: [sh], env: {PATH: /bin}, pass_env: [PATH]}}',
      ['error: agents.a.command: "sh" is not found or not executable'],
    ],
    [
      'in the working folder for an empty entry of PATH',
      { PATH: '' },
      'agents: {a: {command: [sh], cwd: /bin}}',
      [],
    ],
  ])('searches a command exactly as its start will: %s', (_what, env, text, expected) => {
    const config = parseConfig(LIVEKIT + text, { path: 'c.yaml', env: {} });
    const found = checkConfig(config, { env, cgroups: { unavailable: 'no' }, nodeVersionOf: null });
    const [, ...findings] = found.map((one) => `${one.level}: ${one.text}`);
    expect(findings).toEqual(expected);
  });

  it('warns that no presence is known when LiveKit is not configured', () => {
    expect(findingsOf('agents: {a: {command: [sh]}}')).toEqual([
      'warning: livekit: not configured: curfew does not see the rooms, and no session ends because its callers left',
    ]);
  });
});

describe('the note on how workers are contained', () => {
  const text = `${LIVEKIT}agents: {a: {command: [sh], memory: 1GiB, cpu: 50%}}`;
  const on = (cgroups: CgroupProbe, more = '') =>
    allFindings(parseConfig(text + more, { path: 'c.yaml', env: {} }), cgroups);

  it('names the limits that the kernel enforces', () => {
    expect(on({ path: '/cg', controllers: ['memory', 'cpu', 'pids'] })).toEqual([
      'note: cgroups: each worker gets its own, below /cg. The kernel limits memory, cpu, pids',
    ]);
  });

  it('names the limits that are only sampled or not enforced', () => {
    expect(on({ path: '/cg', controllers: [] })).toEqual([
      'note: cgroups: each worker gets its own, below /cg. The kernel limits nothing there, so curfew samples memory, and cpu has no limit',
      'note: agents.a.memory: measured by samples; a session ends if its worker stays above the limit',
      'warning: agents.a.cpu: the limit has no effect here, because the cpu controller is not available',
    ]);
    const [noteWithoutRights] = on({ unavailable: 'EACCES' });
    expect(noteWithoutRights).toContain('not available to this user (EACCES)');
    const [noteWhenOff] = on({ path: '/cg', controllers: ['cpu'] }, '\ncgroups: off');
    expect(noteWhenOff).toContain('cgroups: off');
  });
});
