/** What would fail at the first call is said before it. */
import { describe, expect, it } from 'vitest';
import { checkConfig } from '../../src/config/check.ts';
import { parseConfig } from '../../src/config/load.ts';

const LIVEKIT = 'livekit: {url: wss://x, api_key: k, api_secret: s}\n';
const ENV = { PATH: process.env.PATH };

function findingsOf(text: string): string[] {
  const config = parseConfig(text, { path: 'c.yaml', env: {} });
  return checkConfig(config, ENV).map(({ level, text: said }) => `${level}: ${said}`);
}

describe('a config on this machine', () => {
  it('without faults has no findings', () => {
    expect(findingsOf(`${LIVEKIT}agents: {default: {command: [sh]}}`)).toEqual([]);
  });

  it.each([
    ['agents: {}', ['error: agents: there is none; a dispatch needs at least `default`']],
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
      ['warning: listen.http: 0.0.0.0 is reachable from outside; put a proxy with TLS before it'],
    ],
    [
      `agents: {a: {command: [sh]}}\nlisten: {socket: /${'s'.repeat(107)}}`,
      [`error: the socket path "/${'s'.repeat(107)}" is longer than 107 bytes; choose a shorter directory`],
    ],
  ])('%j', (text, expected) => {
    expect(findingsOf(LIVEKIT + text)).toEqual(expected);
  });

  it('without LiveKit says what that means', () => {
    expect(findingsOf('agents: {a: {command: [sh]}}')).toEqual([
      'warning: livekit: not configured: nobody is seen in a room, and no session ends for who is there',
    ]);
  });
});
