/** What a config means on this machine: what would fail at the first call, said before it. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Profile } from '../../core/model/profile.ts';
import { messageOf } from '../../lib/errors.ts';
import { CHANNEL } from '../../lib/limits/worker-limits.ts';
import { workerEnvironment } from '../../process/base-environment.ts';
import { commandExists } from '../../process/worker-command.ts';
import type { Config } from './config.ts';

export interface Finding {
  readonly level: 'error' | 'warning' | 'note';
  readonly text: string;
}

/** What this machine lets the supervisor do with cgroups, as far as this process can tell for it. */
export type CgroupProbe =
  | { readonly path: string; readonly controllers: readonly string[] }
  | { readonly unavailable: string };

interface Machine {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cgroups: CgroupProbe;
}

export function checkConfig(config: Config, { env, cgroups }: Machine): Finding[] {
  const kernel = config.cgroups === 'off' || 'unavailable' in cgroups ? [] : cgroups.controllers;
  return [
    checkCgroups(config, cgroups),
    ...checkLiveKit(config),
    ...checkPaths(config),
    ...checkListen(config),
    ...checkAgents(config, { env, kernel }),
    ...checkWaysIn(config),
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

/** Two agents under one name, and ways in that need LiveKit where there is none. */
function checkWaysIn({ agents, livekit }: Config): Finding[] {
  const profiles = Object.values(agents);
  const named = profiles.filter((one) => one.agentName !== null);
  const doubled = named.filter((one, index) =>
    named.slice(0, index).some((other) => other.agentName === one.agentName),
  );
  const lacking =
    livekit === null ? profiles.filter((one) => one.agentName !== null || one.rooms !== null) : [];
  return [
    ...doubled.map(({ agent, agentName }) => ({
      level: 'error' as const,
      text: `agents.${agent}.agent_name: "${agentName}" is another agent's already; LiveKit would not know which to take`,
    })),
    ...lacking.map(({ agent }) => ({
      level: 'error' as const,
      text: `agents.${agent}: agent_name and rooms need LiveKit, and none is configured`,
    })),
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

function checkCgroups({ cgroups: mode }: Config, probe: CgroupProbe): Finding {
  const without = 'workers are held by process group and mark; memory is sampled, cpu is not bounded';
  if (mode === 'off') return { level: 'note', text: `cgroups: off: ${without}` };
  if ('unavailable' in probe)
    return { level: 'note', text: `cgroups: not here for this user (${probe.unavailable}): ${without}` };
  const bounded =
    probe.controllers.length === 0 ? 'no controllers: memory is sampled' : probe.controllers.join(', ');
  return { level: 'note', text: `cgroups: one per worker below ${probe.path}; ${bounded}` };
}

interface Bounds {
  readonly env: Machine['env'];
  /** Controllers by which the kernel bounds a worker. */
  readonly kernel: readonly string[];
}

function checkAgents({ agents }: Config, bounds: Bounds): Finding[] {
  const profiles = Object.values(agents);
  if (profiles.length === 0)
    return [{ level: 'error', text: 'agents: there is none; a dispatch needs at least `default`' }];
  return profiles.flatMap((profile) => checkProfile(profile, bounds));
}

function checkProfile(profile: Profile, { env, kernel }: Bounds): Finding[] {
  const at = `agents.${profile.agent}`;
  const found: Finding[] = [];
  if (profile.cwd !== null && !isDirectory(profile.cwd))
    found.push({ level: 'error', text: `${at}.cwd: "${profile.cwd}" is not a directory` });
  if (profile.warm > 0 && profile.protocol === 'none')
    found.push({
      level: 'error',
      text: `${at}.warm: a worker with protocol none cannot be told its room later; use livekit or curfew`,
    });
  if (profile.warm > 0 && profile.protocol === 'curfew')
    found.push({
      level: 'note',
      text: `${at}.warm: its agent must wait for its room, with serve() of the kit instead of connect()`,
    });
  const fault = commandFault(profile, env);
  if (fault !== null) found.push({ level: 'error', text: `${at}.${fault}` });
  for (const name of profile.passEnv) {
    if (env[name] === undefined)
      found.push({ level: 'warning', text: `${at}.pass_env: ${name} is not set here` });
  }
  if (profile.memoryBytes !== null && !kernel.includes('memory'))
    found.push({
      level: 'note',
      text: `${at}.memory: sampled, the session ends when its worker stays over it`,
    });
  if (profile.cpuPercent !== null && !kernel.includes('cpu'))
    found.push({ level: 'warning', text: `${at}.cpu: not bounded here, for want of the cpu controller` });
  return found;
}

function isDirectory(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** null: it would be started. As the start itself does it, with the worker's own PATH. */
function commandFault(
  { command: [command], cwd, env: own, passEnv }: Profile,
  env: Machine['env'],
): string | null {
  try {
    const { PATH: path = '' } = workerEnvironment(env, { env: own, passEnv }, {});
    if (commandExists({ command, path, cwd: cwd ?? process.cwd() })) return null;
    return `command: "${command}" is not found or not executable`;
  } catch (error) {
    return `env: ${messageOf(error)}`;
  }
}
