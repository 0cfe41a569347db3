/** What would fail at the first call is said before it. */
import { describe, expect, it } from 'vitest';
import type { CgroupProbe } from '../../../src/adapters/config/config-check.ts';
import { checkConfig } from '../../../src/adapters/config/config-check.ts';
import { parseConfig } from '../../../src/adapters/config/config-file.ts';

const LIVEKIT = 'livekit: {url: wss://x, api_key: k, api_secret: s}\n';
const ENV = { PATH: process.env.PATH };

function findingsOf(text: string): string[] {
  const config = parseConfig(text, { path: 'c.yaml', env: {} });
  return said(config, { unavailable: 'no' }).slice(1);
}

function said(config: Parameters<typeof checkConfig>[0], cgroups: CgroupProbe): string[] {
  return checkConfig(config, { env: ENV, cgroups }).map(({ level, text }) => `${level}: ${text}`);
}

describe('a config on this machine', () => {
  it('without faults has no findings', () => {
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
      'agents: {a: {command: [sh]}}\nlisten: {http: "0.0.0.0:80"}',
      ['warning: listen.http: other hosts can reach 0.0.0.0; put a proxy with TLS in front of it'],
    ],
    [
      `agents: {a: {command: [sh]}}\nlisten: {socket: /${'s'.repeat(107)}}`,
      [`error: the socket path "/${'s'.repeat(107)}" is longer than 107 bytes; choose a shorter directory`],
    ],
  ])('%j', (text, expected) => {
    expect(findingsOf(LIVEKIT + text)).toEqual(expected);
  });

  it.each([
    ['no PATH at all: the default one', {}, 'agents: {a: {command: [sh]}}', []],
    [
      "the host's PATH passed on over the profile's own",
      { PATH: '/nowhere' },
      'agents: {a: {command: [sh], env: {PATH: /bin}, pass_env: [PATH]}}',
      ['error: agents.a.command: "sh" is not found or not executable'],
    ],
    [
      'an empty place in PATH is the working folder',
      { PATH: '' },
      'agents: {a: {command: [sh], cwd: /bin}}',
      [],
    ],
  ])('looks for a command as its start will: %s', (_what, env, text, expected) => {
    const config = parseConfig(LIVEKIT + text, { path: 'c.yaml', env: {} });
    const found = checkConfig(config, { env, cgroups: { unavailable: 'no' } });
    expect(found.slice(1).map((one) => `${one.level}: ${one.text}`)).toEqual(expected);
  });

  it('without LiveKit says what that means', () => {
    expect(findingsOf('agents: {a: {command: [sh]}}')).toEqual([
      'warning: livekit: not configured: curfew does not see the rooms, and no session ends because its callers left',
    ]);
  });
});

describe('how workers are held', () => {
  const text = `${LIVEKIT}agents: {a: {command: [sh], memory: 1GiB, cpu: 50%}}`;
  const on = (cgroups: CgroupProbe, more = '') =>
    said(parseConfig(text + more, { path: 'c.yaml', env: {} }), cgroups);

  it('is said with the limits that the kernel keeps', () => {
    expect(on({ path: '/cg', controllers: ['memory', 'cpu', 'pids'] })).toEqual([
      'note: cgroups: one per worker below /cg; memory, cpu, pids',
    ]);
  });

  it('is said with the limits that are sampled or not kept', () => {
    expect(on({ path: '/cg', controllers: [] })).toEqual([
      'note: cgroups: one per worker below /cg; no controllers, so memory is sampled',
      'note: agents.a.memory: measured by samples; a session ends if its worker stays above the limit',
      'warning: agents.a.cpu: the limit has no effect here, because the cpu controller is not available',
    ]);
    expect(on({ unavailable: 'EACCES' })[0]).toContain('not available to this user (EACCES)');
    expect(on({ path: '/cg', controllers: ['cpu'] }, '\ncgroups: off')[0]).toContain('cgroups: off');
  });
});
