/** The profiles of an upgraded host: one of each protocol, kit and framework. */
import { join } from 'node:path';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { ROOT } from '../support/daemon/daemon.ts';

const FIXTURES = join(ROOT, 'test/fixtures/upgrade');
const PYTHON = findPythonAgents();
/** Compilation is a quarter of a Node agent's start. */
const COMPILE_CACHE = process.env.NODE_COMPILE_CACHE ?? '';

/** LiveKit's own dispatch finds the agent of agents-js by this name. */
export const AGENT_NAME = 'upgraded';

/** Profiles of agents that join their room. */
export const AGENTS = [
  'none',
  'kit-node',
  'livekit-node',
  ...(PYTHON === null ? [] : ['kit-python', 'livekit-python']),
];

type Framework = 'livekit-node' | 'livekit-python';

/** The framework, where it is installed. */
export function framework(wanted: Framework): Framework {
  return AGENTS.includes(wanted) ? wanted : 'livekit-node';
}

/** No deadline ends a call or a step, however loaded the machine is. */
const PATIENT = {
  start_timeout: '5m',
  agent_absent: '10m',
  heartbeat_stale: '10m',
  no_caller: '10m',
  callers_lost: '10m',
  callers_left: '10m',
  wrap_up: '10m',
  ladder: { aclose: '5m', disconnect: '5m', term: '5m' },
};

/** `kits`: the kits of the installation. `finish`: no agent finishes its teardown before this file exists. `warm`: profiles that keep a warm worker. */
export function profiles(kits: string, finish: string, warm: readonly string[]): Record<string, object> {
  const node = (file: string) => ({
    ...PATIENT,
    command: [process.execPath, join(FIXTURES, file), 'start'],
    env: { FINISH: finish, KIT: join(kits, 'node/curfew.mjs'), NODE_COMPILE_CACHE: COMPILE_CACHE },
  });
  const python = (file: string) => ({
    ...PATIENT,
    command: [PYTHON ?? 'python3', join(FIXTURES, file), 'start'],
    env: { FINISH: finish, PYTHONPATH: join(kits, 'python') },
  });
  const every: Record<string, object> = {
    none: node('plain.mjs'),
    'kit-node': { ...node('agent.mjs'), protocol: 'curfew' },
    'kit-python': { ...python('agent.py'), protocol: 'curfew' },
    'livekit-node': { ...node('voice.mjs'), protocol: 'livekit', agent_name: AGENT_NAME },
    'livekit-python': { ...python('voice.py'), protocol: 'livekit' },
  };
  const used = AGENTS.map((name) => [name, { ...every[name], warm: warm.includes(name) ? 1 : 0 }] as const);
  return { ends: { ...PATIENT, command: [join(FIXTURES, 'ends.sh')] }, ...Object.fromEntries(used) };
}
