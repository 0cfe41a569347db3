/** What a config means on this machine: what would fail at the first call, said before it. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Profile } from '../core/profile.ts';
import { CHANNEL } from '../limits.ts';
import type { Config } from './config.ts';

export interface Finding {
  readonly level: 'error' | 'warning' | 'note';
  readonly text: string;
}

export function checkConfig(config: Config, env: Readonly<Record<string, string | undefined>>): Finding[] {
  return [
    ...checkLiveKit(config),
    ...checkPaths(config),
    ...checkListen(config),
    ...checkAgents(config, env),
  ];
}

function checkLiveKit({ livekit }: Config): Finding[] {
  if (livekit !== null) return [];
  return [
    {
      level: 'warning',
      text: 'livekit: not configured: nobody is seen in a room, and no session ends for who is there',
    },
  ];
}

function checkPaths({ stateDir, listen }: Config): Finding[] {
  const control = join(stateDir, CHANNEL.socketName);
  return [control, listen.socket]
    .filter((path) => Buffer.byteLength(path) > CHANNEL.socketPathBytes)
    .map((path) => ({
      level: 'error',
      text: `the socket path "${path}" is longer than ${CHANNEL.socketPathBytes} bytes; choose a shorter directory`,
    }));
}

function checkListen({ listen }: Config): Finding[] {
  const { http } = listen;
  if (http === null || ['127.0.0.1', '::1', 'localhost'].includes(http.host)) return [];
  return [
    {
      level: 'warning',
      text: `listen.http: ${http.host} is reachable from outside; put a proxy with TLS before it`,
    },
  ];
}

function checkAgents({ agents }: Config, env: Readonly<Record<string, string | undefined>>): Finding[] {
  const profiles = Object.values(agents);
  if (profiles.length === 0)
    return [{ level: 'error', text: 'agents: there is none; a dispatch needs at least `default`' }];
  return profiles.flatMap((profile) => checkProfile(profile, env));
}

function checkProfile(profile: Profile, env: Readonly<Record<string, string | undefined>>): Finding[] {
  const at = `agents.${profile.agent}`;
  const found: Finding[] = [];
  if (profile.cwd !== null && !isDirectory(profile.cwd))
    found.push({ level: 'error', text: `${at}.cwd: "${profile.cwd}" is not a directory` });
  if (findCommand(profile, env) === null)
    found.push({
      level: 'error',
      text: `${at}.command: "${profile.command[0]}" is not found or not executable`,
    });
  for (const name of profile.passEnv) {
    if (env[name] === undefined)
      found.push({ level: 'warning', text: `${at}.pass_env: ${name} is not set here` });
  }
  if (profile.memoryBytes !== null)
    found.push({ level: 'note', text: `${at}.memory: sampled, the session ends when its worker is over it` });
  if (profile.cpuPercent !== null)
    found.push({ level: 'warning', text: `${at}.cpu: not enforced by this version` });
  return found;
}

function isDirectory(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

function findCommand(
  { command, cwd, env: own }: Profile,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  const [program] = command;
  if (program.includes('/'))
    return isExecutable(isAbsolute(program) ? program : join(cwd ?? process.cwd(), program)) ? program : null;
  const folders = (own.PATH ?? env.PATH ?? '').split(delimiter);
  return folders.map((folder) => join(folder, program)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
