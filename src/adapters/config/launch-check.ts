/**
 * Finds commands whose file is not there, and LiveKit agents that would get no call.
 * Causes are another protocol, an option that keeps curfew's launchers out, a missing subcommand, or another name.
 */
import { basename } from 'node:path';
import type { Profile } from '../../core/model/profile.ts';
import { STAND_IN } from '../../lib/limits/livekit-limits.ts';
import { joinedArguments, missingScript, scriptAt, scriptText, unnamedFramework } from './agent-script.ts';

export interface LaunchFinding {
  readonly level: 'warning' | 'note';
  readonly text: string;
}

/** `v20.9.0`, as the command prints it; null: unknown. */
export type NodeVersionOf = (profile: Profile) => string | null;

const PYTHON = /^(python|pypy)[\d.]*$/;
const NODE = /^(node|nodejs)$/;
/** The framework's subcommands that serve calls. */
const SERVES = ['start', 'dev', 'console', 'connect'];
/** Options of Python whose value is the rest of the argument, or the next one. */
const WITH_VALUE = 'WX';
/** Options that keep PYTHONPATH or sitecustomize out. */
const WITHOUT_LAUNCHER = 'IES';

export function checkLaunch(profile: Profile, nodeVersionOf: NodeVersionOf): LaunchFinding[] {
  const found = launchWarnings(profile, nodeVersionOf).map((text) => ({ level: 'warning' as const, text }));
  const names = profile.protocol === 'livekit' ? checkName(profile) : [];
  return [...found, ...names].map(({ level, text }) => ({
    level,
    text: `agents.${profile.agent}.${text}`,
  }));
}

/** Each text begins with a key of the profile. */
export function launchWarnings(profile: Profile, nodeVersionOf: NodeVersionOf): string[] {
  const { protocol, command } = profile;
  const ofLiveKit =
    protocol === 'livekit'
      ? [isolated(command), unserved(command), reloading(command), oldNode(profile, nodeVersionOf)]
      : [];
  return [joinedArguments(profile), missingScript(profile), unnamedFramework(profile), ...ofLiveKit].filter(
    (text) => text !== null,
  );
}

/** The options of a Python in the command. Because: a wrapper such as `uv run` may come before it. */
function pythonOptions(command: readonly string[]): string {
  const at = command.findIndex((one) => PYTHON.test(basename(one)));
  if (at === -1) return '';
  let options = '';
  for (let index = at + 1; index < command.length; index += 1) {
    const argument = command[index] ?? '';
    if (!/^-[A-Za-z]/.test(argument)) return options;
    for (const [place, letter] of [...argument.slice(1)].entries()) {
      if (letter === 'c' || letter === 'm') return options;
      options += letter;
      if (!WITH_VALUE.includes(letter)) continue;
      if (place === argument.length - 2) index += 1;
      break;
    }
  }
  return options;
}

function isolated(command: readonly string[]): string | null {
  const letter = [...pythonOptions(command)].find((one) => WITHOUT_LAUNCHER.includes(one));
  if (letter === undefined) return null;
  return `command: python -${letter} does not load curfew's launcher, so the agent runs with livekit_access room; remove -${letter}`;
}

function unserved(command: readonly string[]): string | null {
  const at = scriptAt(command);
  if (at === -1 || command.slice(at + 1).some((one) => SERVES.includes(one))) return null;
  return `command: LiveKit's command line starts no agent without a subcommand; add "start" after "${command[at]}"`;
}

/** Python's `dev` watches the agent's folder. */
function reloading(command: readonly string[]): string | null {
  const at = scriptAt(command);
  if (at === -1 || command.slice(at + 1).find((one) => SERVES.includes(one)) !== 'dev') return null;
  return 'command: "dev" is for development, and in Python it restarts the agent when a file changes; use "start"';
}

function oldNode(profile: Profile, nodeVersionOf: NodeVersionOf): string | null {
  if (!NODE.test(basename(profile.command[0] ?? ''))) return null;
  const version = nodeVersionOf(profile);
  const [, major = '', minor = ''] = /^v?(\d+)\.(\d+)\./.exec(version ?? '') ?? [];
  if (version === null || major === '') return null;
  const [leastMajor, leastMinor] = STAND_IN.leastNode;
  const isOld = Number(major) < leastMajor || (Number(major) === leastMajor && Number(minor) < leastMinor);
  if (!isOld) return null;
  return `command: "${profile.command[0]}" is Node ${version}; curfew's launcher needs ${leastMajor}.${leastMinor} or newer for livekit_access full and to reconnect without end`;
}

/** A literal of LiveKit's two frameworks. A name from a variable is not known here, and the log tells of it in the first call. */
const NAMES = /\bagent_name\s*=\s*(["'])([^"'\n]*)\1|\bagentName\s*:\s*(["'`])([^"'`\n$]*)\3/g;

function checkName(profile: Profile): LaunchFinding[] {
  const { command, agentName } = profile;
  const script = command[scriptAt(command)];
  const text = scriptText(profile);
  const names = [...new Set([...text.matchAll(NAMES)].map((match) => match[2] ?? match[4] ?? ''))];
  const [name] = names;
  if (names.length !== 1 || name === undefined || name === '' || name === agentName) return [];
  if (agentName === null)
    return [
      {
        level: 'note',
        text: `agent_name: missing, but "${script}" has the name "${name}"; LiveKit's dispatch finds the agent only with agent_name: ${JSON.stringify(name)} in its profile`,
      },
    ];
  return [
    {
      level: 'warning',
      text: `agent_name: "${agentName}" differs from the name "${name}" in "${script}"; LiveKit's dispatch finds the agent as "${agentName}" only`,
    },
  ];
}
