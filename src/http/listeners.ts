/** The two listeners of the HTTP API: the Unix socket and TCP. */
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ApiToken, SupervisorApi } from '../api/supervisor-api.ts';
import { CurfewError, messageOf } from '../lib/errors.ts';
import { HTTP } from '../lib/limits/api-limits.ts';
import { CONNECTION_SHARES, LISTEN_BACKLOG } from '../lib/limits/worker-limits.ts';
import { mostConnections, removeStaleSocket } from '../lib/unix-sockets.ts';
import type { Log } from '../ports/log.ts';
import type { App } from './fastify-app.ts';
import { makeApp } from './make-app.ts';

export interface HttpListenersOptions {
  readonly api: SupervisorApi;
  readonly log: Log;
  readonly listen: {
    readonly socket: string;
    readonly http: { readonly host: string; readonly port: number } | null;
  };
  readonly tokens: readonly ApiToken[];
}

export interface HttpListeners {
  /** Builds the routes, so that `listen` takes less time. Optional. */
  prepare(): Promise<void>;
  /** `port`: null without TCP. Rejects `invalid_config` when a listener cannot be opened. */
  listen(): Promise<{ port: number | null }>;
  close(): Promise<void>;
}

export function createHttpListeners(options: HttpListenersOptions): HttpListeners {
  const { api, log, listen, tokens } = options;
  let made: Promise<Apps> | null = null;
  const make = async (): Promise<Apps> => ({
    socket: await makeApp({ api, log, listener: { kind: 'socket' } }),
    tcp: listen.http === null ? null : await makeApp({ api, log, listener: { kind: 'tcp', tokens } }),
  });
  const apps = () => {
    made ??= make();
    return made;
  };
  return {
    prepare: async () => void (await apps()),
    listen: async () => {
      const { socket, tcp } = await apps();
      await openSocket(socket, listen.socket);
      if (tcp === null || listen.http === null) return { port: null };
      return { port: await openTcp(tcp, listen.http) };
    },
    close: async () => {
      const { socket, tcp } = (await made) ?? { socket: null, tcp: null };
      await Promise.all([socket, tcp].filter((one) => one !== null).map(closeBounded));
    },
  };
}

interface Apps {
  readonly socket: App;
  readonly tcp: App | null;
}

/** Bounded, because a client may follow a log or wait for an end that is hours away. */
async function closeBounded(app: App): Promise<void> {
  const timer = setTimeout(() => app.server.closeAllConnections(), HTTP.closeMs);
  await app.close();
  clearTimeout(timer);
}

async function openSocket(app: App, path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true });
    await removeStaleSocket(path);
    app.server.maxConnections = mostConnections(CONNECTION_SHARES.http);
    await app.listen({ path, backlog: LISTEN_BACKLOG });
    chmodSync(path, 0o600);
  } catch (error) {
    throw new CurfewError('invalid_config', `listen.socket: cannot listen on "${path}": ${messageOf(error)}`);
  }
}

const TAKEN = 'Set another port in listen.http, or turn TCP off with `listen: { http: off }`.';

async function openTcp(app: App, { host, port }: { host: string; port: number }): Promise<number> {
  try {
    app.server.maxConnections = mostConnections(CONNECTION_SHARES.http);
    await app.listen({ host, port, backlog: LISTEN_BACKLOG });
  } catch (error) {
    const detail = `listen.http: cannot listen on ${host}:${port}: ${messageOf(error)}`;
    const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    throw new CurfewError('invalid_config', detail, isTaken ? { hint: TAKEN } : {});
  }
  const address = app.server.address();
  return address === null || typeof address === 'string' ? port : address.port;
}
