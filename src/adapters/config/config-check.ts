/** Checks a config on this machine, and finds problems that would otherwise show at the first call. */
import { existsSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Profile } from '../../core/model/profile.ts';
import { accessOf } from '../../core/model/profile.ts';
import { messageOf } from '../../lib/errors.ts';
import { CHANNEL } from '../../lib/limits/worker-limits.ts';
import { workerEnvironment } from '../../process/base-environment.ts';
import { commandExists } from '../../process/worker-command.ts';
import { accessNotice } from './access-notice.ts';
import type { Config } from './config.ts';
import { envFileFaults } from './env-file-check.ts';
import type { NodeVersionOf } from './launch-check.ts';
import { checkLaunch } from './launch-check.ts';

export interface Finding {
  readonly level: 'error' | 'warning' | 'note';
  readonly text: string;
}

/** The cgroup support that this process finds. The supervisor may run elsewhere in the hierarchy and find another one. */
export type CgroupProbe =
  | { readonly path: string; readonly controllers: readonly string[] }
  | { readonly unavailable: string };

interface Machine {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cgroups: CgroupProbe;
  /** null: the commands of the agents are not looked into, as in a reload. */
  readonly nodeVersionOf: NodeVersionOf | null;
}

export function checkConfig(config: Config, { env, cgroups, nodeVersionOf }: Machine): Finding[] {
  const kernel = config.cgroups === 'off' || 'unavailable' in cgroups ? [] : cgroups.controllers;
  return [
    checkCgroups(config, cgroups),
    ...checkLiveKit(config),
    ...checkAccess(config),
    ...checkPaths(config),
    ...checkListen(config),
    ...checkAgents(config, { env, kernel }),
    ...(nodeVersionOf === null
      ? []
      : Object.values(config.agents).flatMap((one) => checkLaunch(one, nodeVersionOf))),
    ...checkDispatch(config),
  ];
}

function checkAccess(config: Config): Finding[] {
  const text = accessNotice(config);
  return text === null ? [] : [{ level: 'warning', text }];
}

function checkLiveKit({ livekit }: Config): Finding[] {
  if (livekit !== null) return [];
  return [
    {
      level: 'warning',
      text: 'livekit: not configured: curfew does not see the rooms, and no session ends because its callers left',
    },
  ];
}

/** Finds two agents with one `agent_name`, and dispatch by LiveKit without LiveKit. */
function checkDispatch({ agents, livekit }: Config): Finding[] {
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
      text: `agents.${agent}.agent_name: "${agentName}" is the name of another agent already; give each agent its own name`,
    })),
    ...lacking.map(({ agent }) => ({
      level: 'error' as const,
      text: `agents.${agent}: agent_name and rooms need LiveKit; configure livekit, or remove these keys`,
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
      text: `listen.http: other hosts can reach ${http.host}; put a proxy with TLS in front of it`,
    },
  ];
}

function checkCgroups({ cgroups: mode }: Config, probe: CgroupProbe): Finding {
  const without =
    "curfew finds a worker's processes by group and mark; it samples memory, and cpu has no limit";
  if (mode === 'off') return { level: 'note', text: `cgroups: off: ${without}` };
  if ('unavailable' in probe)
    return {
      level: 'note',
      text: `cgroups: not available to this user (${probe.unavailable}): ${without}`,
    };
  const bounded =
    probe.controllers.length === 0
      ? 'The kernel limits nothing there, so curfew samples memory, and cpu has no limit'
      : `The kernel limits ${probe.controllers.join(', ')}`;
  return { level: 'note', text: `cgroups: each worker gets its own, below ${probe.path}. ${bounded}` };
}

interface Bounds {
  readonly env: Machine['env'];
  /** The cgroup controllers with which the kernel limits a worker. */
  readonly kernel: readonly string[];
}

function checkAgents(config: Config, bounds: Bounds): Finding[] {
  const { agents } = config;
  const profiles = Object.values(agents);
  if (profiles.length === 0)
    return [{ level: 'error', text: 'agents: the map is empty; add at least the agent `default`' }];
  return profiles.flatMap((profile) => [...checkProfile(profile, bounds), ...checkKeys(profile, config)]);
}

function checkProfile(profile: Profile, { env, kernel }: Bounds): Finding[] {
  const at = `agents.${profile.agent}`;
  const found: Finding[] = envFileFaults([profile]).map((text) => ({ level: 'error', text }));
  if (profile.cwd !== null && !isDirectory(profile.cwd))
    found.push({ level: 'error', text: `${at}.cwd: "${profile.cwd}" is not a directory` });
  if (profile.warm > 0 && profile.protocol === 'none')
    found.push({
      level: 'error',
      text: `${at}.warm: protocol none cannot give a running worker its room; use protocol livekit or curfew`,
    });
  if (profile.warm > 0 && profile.protocol === 'curfew')
    found.push({
      level: 'note',
      text: `${at}.warm: the agent must wait for its room: use serve() of the kit instead of connect()`,
    });
  const fault = commandFault(profile, env);
  if (fault !== null) found.push({ level: 'error', text: `${at}.${fault}` });
  found.push(...checkSecrets(profile));
  for (const name of profile.passEnv) {
    if (env[name] === undefined)
      found.push({ level: 'warning', text: `${at}.pass_env: ${name} is not set here` });
  }
  if (profile.memoryBytes !== null && !kernel.includes('memory'))
    found.push({
      level: 'note',
      text: `${at}.memory: measured by samples; a session ends if its worker stays above the limit`,
    });
  if (profile.cpuPercent !== null && !kernel.includes('cpu'))
    found.push({
      level: 'warning',
      text: `${at}.cpu: the limit has no effect here, because the cpu controller is not available`,
    });
  return found;
}

/** The session's record has `env` of its profile, so that a worker starts with the same profile after a restart. */
const SECRET_NAME = /(^|_)(KEY|SECRET|TOKEN|PASSWORD)$/i;

function checkSecrets({ agent, env }: Profile): Finding[] {
  const names = Object.keys(env).filter((name) => SECRET_NAME.test(name) && !isAbsolute(env[name] ?? ''));
  if (names.length === 0) return [];
  return [
    {
      level: 'warning',
      text: `agents.${agent}.env: the state directory keeps env for days, so a secret belongs into env_file: ${names.join(', ')}`,
    },
  ];
}

/** Finds LiveKit's keys that would have no effect. */
function checkKeys(profile: Profile, { agentLiveKit }: Pick<Config, 'agentLiveKit'>): Finding[] {
  const { agent, env, protocol } = profile;
  const at = `agents.${agent}`;
  if (Object.hasOwn(agentLiveKit, agent) && accessOf(profile) !== 'full')
    return [
      {
        level: 'warning',
        text: `${at}.livekit: has an effect only with protocol livekit and livekit_access full`,
      },
    ];
  const isHalf = (env.LIVEKIT_API_KEY === undefined) !== (env.LIVEKIT_API_SECRET === undefined);
  if (protocol !== 'livekit' || !isHalf) return [];
  const text = `${at}.env: LIVEKIT_API_KEY and LIVEKIT_API_SECRET have an effect only together; give both, or none`;
  return [{ level: 'warning', text }];
}

function isDirectory(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** `null`: the command exists. Like the start itself, it searches the worker's own PATH. */
function commandFault(profile: Profile, env: Machine['env']): string | null {
  const {
    command: [command],
    cwd,
  } = profile;
  try {
    const { PATH: path = '' } = workerEnvironment({ host: env, profile, own: {} });
    if (commandExists({ command, path, cwd: cwd ?? process.cwd() })) return null;
    return `command: "${command}" is not found or not executable`;
  } catch (error) {
    return `env: ${messageOf(error)}`;
  }
}
