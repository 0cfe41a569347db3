/** Free ports, for servers that need their port before they start. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

interface Held {
  readonly port: number;
  release(): Promise<void>;
}

/** Finds different ports of 127.0.0.1 that are free for TCP and UDP. All are held until the last one is found. */
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

/** Below the kernel's range for outgoing connections, so that no such connection takes the port before its server. */
const FIRST_PORT = 10_000;
const PORT_COUNT = 20_000;

/** `null`: another program uses the port for TCP or UDP. */
async function holdOne(): Promise<Held | null> {
  const port = FIRST_PORT + Math.floor(Math.random() * PORT_COUNT);
  const tcp = createServer();
  const listening = await new Promise<boolean>((resolve) => {
    tcp.once('error', () => resolve(false));
    tcp.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (!listening) return null;
  const releaseTcp = () => new Promise<void>((resolve) => tcp.close(() => resolve()));
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
