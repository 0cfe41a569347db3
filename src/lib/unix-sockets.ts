/** Sockets that supervisors listen on. */
import { lstatSync, readFileSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { CHANNEL } from './limits/worker-limits.ts';

/**
 * Removes a socket file that a dead process left. Rejects when its owner may live, when something else
 * has that name (it is left alone), or when the path is too long for Linux.
 */
export async function makeWay(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > CHANNEL.socketPathBytes) {
    throw new Error(
      `it has ${bytes} bytes, Linux allows ${CHANNEL.socketPathBytes}; choose a shorter directory`,
    );
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error('something that is no socket has this name already');
  if (!(await isDead(path))) throw new Error('somebody already listens there');
  rmSync(path, { force: true });
}

/** Linux refuses a connection only where nobody listens; a full backlog or a missing permission says nothing of the kind. */
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

/** How many connections a server may hold at once. Source: proc(5), `/proc/self/limits`; Node raises the soft limit to the hard one. */
export function mostConnections(share: number): number {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return limit === undefined ? Number.POSITIVE_INFINITY : Math.floor(Number(limit) * share);
}
