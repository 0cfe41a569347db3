/**
 * The proxy of curfew's own connections to LiveKit, from HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as LiveKit's runner takes them.
 * A connection goes through the proxy by CONNECT, also without TLS. Because: few proxies pass on a WebSocket in another way.
 */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import tls from 'node:tls';
import { Agent, ProxyAgent } from 'undici';
import { messageOf } from './errors.ts';

const LOOPBACK = /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/;

/** `null`: the connection goes to the address itself. An address on loopback never uses a proxy. Only proxies with HTTP count. */
export function proxyOf(url: URL): URL | null {
  if (LOOPBACK.test(url.hostname) || isExcluded(url)) return null;
  const isSecure = url.protocol === 'https:' || url.protocol === 'wss:';
  const names = isSecure ? ['HTTPS_PROXY', 'HTTP_PROXY'] : ['HTTP_PROXY', 'HTTPS_PROXY'];
  const value = names.map(variable).find((one) => one !== '') ?? '';
  const proxy = URL.parse(value.includes('://') ? value : `http://${value}`);
  return proxy !== null && /^https?:$/.test(proxy.protocol) ? proxy : null;
}

function variable(name: string): string {
  return process.env[name] || process.env[name.toLowerCase()] || '';
}

/** NO_PROXY: hosts with their subdomains, each with an optional port, or `*`. */
function isExcluded({ hostname, port, protocol }: URL): boolean {
  const used = port || (/^(https|wss):$/.test(protocol) ? '443' : '80');
  return variable('NO_PROXY')
    .split(/[\s,]+/)
    .some((entry) => {
      const [, host = '', only = used] = /^\*?\.?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
      if (entry === '*') return true;
      return host !== '' && only === used && (hostname === host || hostname.endsWith(`.${host}`));
    });
}

/** For HTTP requests to this address. Each request names an address that is no URL. */
export function dispatcherFor(address: string, options: Agent.Options = {}): Agent | ProxyAgent {
  const url = URL.parse(address);
  const proxy = url && proxyOf(url);
  return proxy === null
    ? new Agent(options)
    : new ProxyAgent({ ...options, uri: proxy.href, proxyTunnel: true });
}

/** Opens a connection to the address through the proxy, with TLS if the address has it. Rejects when the signal aborts. */
export async function openTunnel(proxy: URL, target: URL, signal: AbortSignal): Promise<Socket> {
  const isSecure = target.protocol === 'wss:';
  const host = `${target.hostname}:${target.port || (isSecure ? 443 : 80)}`;
  const plain = await connectThrough(proxy, host, signal);
  if (!isSecure) return plain;
  const name = target.hostname.replace(/^\[|\]$/g, '');
  return tls.connect({ socket: plain, host: name, servername: isIP(name) === 0 ? name : '' });
}

function connectThrough(proxy: URL, host: string, signal: AbortSignal): Promise<Socket> {
  const user = [proxy.username, proxy.password].map(decodeURIComponent).join(':');
  const { request } = proxy.protocol === 'https:' ? https : http;
  return new Promise((resolve, reject) => {
    const sent = request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port || undefined,
      method: 'CONNECT',
      path: host,
      headers: {
        host,
        ...(user !== ':' && { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` }),
      },
      agent: false,
      signal,
    });
    sent.on('error', (error) => reject(failure(proxy, messageOf(error))));
    sent.once('response', ({ statusCode }) => reject(failure(proxy, `it answered ${statusCode}`)));
    sent.once('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket as Socket);
      socket.destroy();
      reject(failure(proxy, `it answered ${statusCode}`));
    });
    sent.end();
  });
}

/** Without the user and the password of the proxy. */
function failure({ host }: URL, what: string): Error {
  return new Error(
    `LiveKit cannot be reached through the proxy ${host}: ${what}. NO_PROXY of curfew's environment names hosts without the proxy`,
  );
}
