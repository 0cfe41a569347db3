/** The HTTP listeners on a real Unix socket and a real TCP port, over an API in memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { createLog } from '../../../src/adapters/telemetry/pino-log.ts';
import type { Problem } from '../../../src/api/host-schemas.ts';
import type { ApiToken } from '../../../src/api/supervisor-api.ts';
import { createHttpListeners } from '../../../src/http/listeners.ts';
import type { MemoryApi } from './memory-api.ts';
import { memoryApi } from './memory-api.ts';

export const TOKENS: readonly ApiToken[] = (['read', 'dispatch', 'release', 'admin'] as const).map(
  (scope) => ({
    name: `${scope}-only`,
    token: `the-token-with-scope-${scope}`,
    scopes: [scope],
  }),
);

export function tokenWith(scope: ApiToken['scopes'][number]): string {
  const found = TOKENS.find(({ scopes }) => scopes.includes(scope));
  if (found === undefined) throw new Error(`no token with the scope ${scope}`);
  return found.token;
}

/** A request that a test sends. */
export interface TestRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE' | 'HEAD' | 'OPTIONS';
  readonly path: string;
  /** An object is sent as JSON, a string unchanged. */
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

export interface TestResponse {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

export interface TestListeners {
  readonly api: MemoryApi;
  readonly socketPath: string;
  readonly port: number;
  local(given: TestRequest): Promise<TestResponse>;
  tcp(given: TestRequest): Promise<TestResponse>;
  close(): Promise<void>;
}

export async function openListeners(): Promise<TestListeners> {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-http-'));
  const socketPath = join(dir, 'c.sock');
  const api = memoryApi();
  const log = createLog({ level: 'silent', format: 'text' });
  const http = createHttpListeners({
    api,
    log,
    tokens: TOKENS,
    listen: { socket: socketPath, http: { host: '127.0.0.1', port: 0 } },
  });
  const { port } = await http.listen();
  const local = new Agent({ connect: { socketPath } });
  const tcp = new Agent();
  return {
    api,
    socketPath,
    port: port ?? 0,
    local: (given) => send('http://curfew', local, given),
    tcp: (given) => send(`http://127.0.0.1:${port}`, tcp, given),
    close: async () => {
      await Promise.all([local.destroy(), tcp.destroy()]);
      await http.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function send(
  base: string,
  dispatcher: Agent,
  { method = 'GET', path, body, headers }: TestRequest,
): Promise<TestResponse> {
  const answer = await request(`${base}${path}`, {
    method,
    dispatcher,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await answer.body.text();
  return { status: answer.statusCode, headers: answer.headers, text, json: readJson(text) };
}

function readJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

export function problemOf(response: TestResponse): Problem {
  return response.json as unknown as Problem;
}
