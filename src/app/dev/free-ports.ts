/** Free ports for servers that need a port number before they start. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

interface Held {
  readonly port: number;
  release(): void;
}

/**
 * For each wanted port of 127.0.0.1 the port itself, or another one that is free for TCP and UDP.
 * Holds each port until the last one is found, so that no port appears twice. Rejects when no port is free.
 */
export async function freePorts<const Wanted extends readonly number[]>(
  wanted: Wanted,
): Promise<{ [Index in keyof Wanted]: number }> {
  const held: Held[] = [];
  try {
    for (const port of wanted) held.push((await hold(port)) ?? (await holdAny()));
    return held.map(({ port }) => port) as { [Index in keyof Wanted]: number };
  } finally {
    for (const one of held) one.release();
  }
}

const TRIES = 20;

async function holdAny(): Promise<Held> {
  for (let tried = 0; tried < TRIES; tried += 1) {
    const held = await hold(0);
    if (held !== null) return held;
  }
  throw new Error('no free port on 127.0.0.1');
}

/** null: another program uses the port. */
async function hold(wanted: number): Promise<Held | null> {
  const tcp = createServer();
  const port = await new Promise<number | null>((resolve) => {
    tcp.once('error', () => resolve(null));
    tcp.listen(wanted, '127.0.0.1', () => {
      const address = tcp.address();
      resolve(typeof address === 'object' ? (address?.port ?? null) : null);
    });
  });
  if (port === null) return null;
  const udp = createSocket('udp4');
  const isFreeForBoth = await new Promise<boolean>((resolve) => {
    udp.once('error', () => resolve(false));
    udp.bind(port, '127.0.0.1', () => resolve(true));
  });
  const release = () => {
    tcp.close();
    udp.close();
  };
  if (isFreeForBoth) return { port, release };
  release();
  return null;
}
