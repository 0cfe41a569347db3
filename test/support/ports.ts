/** Free ports, for servers that must be told theirs before they start. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

interface Held {
  readonly port: number;
  release(): Promise<void>;
}

/** As many different ports of 127.0.0.1, free for TCP and UDP when they were asked for. All are held until the last is found. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Held[] = [];
  try {
    while (held.length < count) {
      const one = await holdOne();
      if (one !== null) held.push(one);
    }
    return held.map(({ port }) => port);
  } finally {
    await Promise.all(held.map((one) => one.release()));
  }
}

/** null: its UDP twin is taken. */
async function holdOne(): Promise<Held | null> {
  const tcp = createServer();
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', reject);
    tcp.listen(0, '127.0.0.1', resolve);
  });
  const releaseTcp = () => new Promise<void>((resolve) => tcp.close(() => resolve()));
  const address = tcp.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const udp = createSocket('udp4');
  const bound = await new Promise<boolean>((resolve) => {
    udp.once('error', () => resolve(false));
    udp.bind(port, '127.0.0.1', () => resolve(true));
  });
  const releaseUdp = () => new Promise<void>((resolve) => udp.close(() => resolve()));
  if (bound) return { port, release: async () => void (await Promise.all([releaseTcp(), releaseUdp()])) };
  await Promise.all([releaseTcp(), releaseUdp()]);
  return null;
}
