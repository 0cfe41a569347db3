/** Recognises a container whose stdout is the log of the container. */
import { existsSync } from 'node:fs';

/** Docker, then Podman. */
const FILES = ['/.dockerenv', '/run/.containerenv'];
/** Podman, LXC and systemd-nspawn set the first name; Kubernetes sets the second, whatever runs its containers. */
const NAMES = ['container', 'KUBERNETES_SERVICE_HOST'];

interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly exists: (path: string) => boolean;
}

/**
 * False for a service of a systemd in a container, because there the journal is the log.
 * JOURNAL_STREAM is set for each service whose output goes to the journal. Source: systemd.exec(5).
 */
export function isInContainer({ env, pid, exists }: Surroundings = PROCESS): boolean {
  if ((env.JOURNAL_STREAM ?? '') !== '' || (env.INVOCATION_ID ?? '') !== '') return false;
  return pid === 1 || NAMES.some((name) => (env[name] ?? '') !== '') || FILES.some(exists);
}

const PROCESS: Surroundings = { env: process.env, pid: process.pid, exists: existsSync };
