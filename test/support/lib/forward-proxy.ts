/** A forward proxy as companies have it: CONNECT, and requests with a whole URL. It notes each target. */
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ForwardProxy {
  readonly url: string;
  /** Method and address of each request, in order. */
  readonly targets: readonly string[];
  close(): void;
}

/** `hosts`: names that this proxy alone can resolve, with their addresses. */
export async function startForwardProxy(hosts: Readonly<Record<string, string>> = {}): Promise<ForwardProxy> {
  const targets: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer((incoming, outgoing) => {
    const url = new URL(incoming.url ?? '/', 'http://no-proxy-request');
    const { method, headers } = incoming;
    targets.push(`${method} ${url.host}${url.pathname}`);
    const sent = request(url, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    sent.on('error', () => outgoing.destroy());
    incoming.pipe(sent);
  });
  server.on('connection', (socket: Duplex) => sockets.add(socket));
  server.on('connect', ({ url = '' }: { url?: string }, client: Duplex) => {
    targets.push(`CONNECT ${url}`);
    const [host = '', port] = url.split(':');
    const target = connect(Number(port), hosts[host] ?? host);
    sockets.add(target);
    for (const [from, to] of [[client, target] as const, [target, client] as const])
      from.on('error', () => to.destroy()).on('close', () => to.destroy());
    target.once('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(client).pipe(target);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    targets,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
