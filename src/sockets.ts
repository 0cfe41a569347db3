/** Unix sockets that supervisors listen on. */
import { existsSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { CHANNEL } from './limits.ts';

/** Removes a socket file that a dead process left. Rejects when somebody answers, or the path is too long for Linux. */
export async function makeWay(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > CHANNEL.socketPathBytes) {
    throw new Error(
      `it has ${bytes} bytes, Linux allows ${CHANNEL.socketPathBytes}; choose a shorter directory`,
    );
  }
  if (!existsSync(path)) return;
  if (await answers(path)) throw new Error('somebody already listens there');
  rmSync(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    const finish = (answered: boolean) => {
      probe.destroy();
      resolve(answered);
    };
    probe.setTimeout(CHANNEL.helloMs, () => finish(true));
    probe.once('connect', () => finish(true));
    probe.once('error', () => finish(false));
  });
}
