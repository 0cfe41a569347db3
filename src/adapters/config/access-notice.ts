/** Tells what a missing `livekit_access` means, because 0.1.0 gave an agent less. */
import type { Config } from './config.ts';

/** `null`: each LiveKit agent of the config names its access. */
export function accessNotice({ unnamedAccess }: Pick<Config, 'unnamedAccess'>): string | null {
  if (unnamedAccess.length === 0) return null;
  const agents = unnamedAccess.map((name) => `agents.${name}`).join(', ');
  return `${agents}: livekit_access is missing and means full: the agent gets LiveKit's real address and keys. Write livekit_access: full, or room for keys of its own that reach the call's rooms only`;
}
