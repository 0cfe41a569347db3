/** Builds the extra environment of a worker with `protocol: livekit`: the stand-in's address, its keys, and our launchers. */
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PROJECT_ROOT } from '../../../lib/project-root.ts';
import type { StandIn } from '../../../ports/stand-in.ts';

const KITS = join(PROJECT_ROOT, 'kits');
const PYTHON_LAUNCH = join(KITS, 'python', 'launch');
const NODE_LAUNCH = `--import=${pathToFileURL(join(KITS, 'node', 'launch.mjs')).href}`;

/** `env` is the worker's other environment. Its PYTHONPATH and NODE_OPTIONS stay, and the launchers are added to them. */
export function launchEnv(
  env: Readonly<Record<string, string | undefined>>,
  access: Pick<StandIn, 'url'> & ReturnType<StandIn['keysFor']>,
): Record<string, string> {
  return {
    LIVEKIT_URL: access.url,
    LIVEKIT_API_KEY: access.apiKey,
    LIVEKIT_API_SECRET: access.apiSecret,
    // The launchers read these names, because the agent's code may set the others.
    CURFEW_LIVEKIT_URL: access.url,
    CURFEW_LIVEKIT_API_KEY: access.apiKey,
    CURFEW_LIVEKIT_API_SECRET: access.apiSecret,
    PYTHONPATH: joined([PYTHON_LAUNCH, env.PYTHONPATH], delimiter),
    NODE_OPTIONS: joined([env.NODE_OPTIONS, NODE_LAUNCH], ' '),
  };
}

function joined(parts: readonly (string | undefined)[], separator: string): string {
  return parts.filter((part) => part !== undefined && part !== '').join(separator);
}
