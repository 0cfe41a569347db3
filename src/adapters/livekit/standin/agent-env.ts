/** Builds the extra environment of a worker with `protocol: livekit`: the stand-in's address, its keys, and our launchers. */
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { LiveKitKeys, Profile } from '../../../core/model/profile.ts';
import { accessOf } from '../../../core/model/profile.ts';
import { PROJECT_ROOT } from '../../../lib/project-root.ts';
import type { StandIn } from '../../../ports/stand-in.ts';

const KITS = join(PROJECT_ROOT, 'kits');
const PYTHON_LAUNCH = join(KITS, 'python', 'launch');
const NODE_LAUNCH = `--import=${pathToFileURL(join(KITS, 'node', 'launch.mjs')).href}`;

type Variables = Readonly<Record<string, string | undefined>>;

/** LiveKit's real address and keys: those of the agent's own variables, else the given ones. `null`: the profile grants the room alone. */
export function realKeys(
  profile: Pick<Profile, 'livekitAccess'>,
  { LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET }: Variables,
  { url, apiKey, apiSecret }: LiveKitKeys,
): LiveKitKeys | null {
  if (accessOf(profile) !== 'full') return null;
  const hasKeys = LIVEKIT_API_KEY !== undefined && LIVEKIT_API_SECRET !== undefined;
  return {
    url: LIVEKIT_URL ?? url,
    ...(hasKeys ? { apiKey: LIVEKIT_API_KEY, apiSecret: LIVEKIT_API_SECRET } : { apiKey, apiSecret }),
  };
}

/** LiveKit as the profile itself names it, in `env`, `env_file` or `livekit`. `null`: it names none, or grants the room alone. */
export async function profileKeys(
  profile: Pick<Profile, 'livekitAccess' | 'env' | 'envFile'>,
  {
    own,
    ours,
    readEnvFile,
  }: { own: LiveKitKeys | null; ours: LiveKitKeys; readEnvFile: (path: string) => Promise<Variables> },
): Promise<LiveKitKeys | null> {
  if (accessOf(profile) !== 'full') return null;
  // A file that cannot be read any more lets no worker start. This worker has started.
  const file = profile.envFile == null ? {} : await readEnvFile(profile.envFile).catch(() => ({}));
  const { LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET }: Variables = { ...file, ...profile.env };
  const given = { LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET };
  const isNamed = own !== null || Object.values(given).some((value) => value !== undefined);
  return isNamed ? realKeys(profile, given, own ?? ours) : null;
}

/** `env` is the worker's other environment. Its PYTHONPATH and NODE_OPTIONS stay, and the launchers are added to them. */
export function launchEnv(
  env: Variables,
  access: Pick<StandIn, 'url'> & ReturnType<StandIn['keysFor']> & { readonly real?: LiveKitKeys | null },
): Record<string, string> {
  return {
    ...realEnv(access.real ?? null),
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

/** The launchers alone put these in place. Until then the agent has curfew's address and its own keys. */
function realEnv(real: LiveKitKeys | null): Record<string, string> {
  if (real === null) return {};
  return {
    CURFEW_REAL_LIVEKIT_URL: real.url,
    CURFEW_REAL_LIVEKIT_API_KEY: real.apiKey,
    CURFEW_REAL_LIVEKIT_API_SECRET: real.apiSecret,
  };
}

function joined(parts: readonly (string | undefined)[], separator: string): string {
  return parts.filter((part) => part !== undefined && part !== '').join(separator);
}
