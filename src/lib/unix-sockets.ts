/** Unix sockets that supervisors listen on. */
import { lstatSync, readFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { CHANNEL } from './limits/worker-limits.ts';

/**
 * Removes a socket file that a dead process left. Rejects when the owner may live or the path is too long for Linux.
 * Rejects, and leaves the file, when the path is not a socket.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > CHANNEL.socketPathBytes) {
    throw new Error(
      `the path has ${bytes} bytes, Linux allows ${CHANNEL.socketPathBytes}; choose a shorter directory`,
    );
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error('a file that is not a socket has this path; remove it');
  if (!(await isDead(path))) throw new Error('another process already listens on this path');
  rmSync(path, { force: true });
}

/** Linux refuses a connection only if no process listens. A full backlog or a missing permission proves nothing. */
function isDead(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    const finish = (dead: boolean) => {
      probe.destroy();
      resolve(dead);
    };
    probe.setTimeout(CHANNEL.helloMs, () => finish(false));
    probe.once('connect', () => finish(false));
    probe.once('error', ({ code }: NodeJS.ErrnoException) =>
      finish(code === 'ECONNREFUSED' || code === 'ENOENT'),
    );
  });
}

/**
 * Most connections of one server: `share` of the open files that this process may have. Infinity: the limit is unknown.
 * Node raises the soft limit to the hard one. Source: proc(5), `/proc/self/limits`.
 */
export function mostConnections(share: number): number {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return limit === undefined ? Number.POSITIVE_INFINITY : Math.floor(Number(limit) * share);
}
