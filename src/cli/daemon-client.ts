/** The CLI's client for the supervisor's HTTP API, over the Unix socket or a URL. Each request has a bound. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import type { Problem } from '../api/host-schemas.ts';
import type { ErrorCode } from '../lib/errors.ts';
import { CurfewError, ERRORS, messageOf } from '../lib/errors.ts';
import { CLI } from '../lib/limits/api-limits.ts';
import { userNameForHeader } from '../lib/user-name.ts';
import { usage } from './usage-errors.ts';

export interface Target {
  /** The address as a person wrote it, for error messages. */
  readonly name: string;
  readonly baseUrl: string;
  /** null: over TCP. */
  readonly socketPath: string | null;
  /** null: none was given. */
  readonly token: string | null;
}

export interface Client {
  /** true: over TCP. The supervisor may run on another host, so this command cannot scan its processes. */
  readonly isRemote: boolean;
  /** true: the supervisor answers a health request within the bound. Never rejects. */
  answers(boundMs: number): Promise<boolean>;
  /** All requests reject with the CurfewError of the answer, or with `unreachable`. */
  get(path: string): Promise<unknown>;
  post(path: string, body: unknown): Promise<unknown>;
  stream(path: string): Promise<Readable>;
}

/**
 * The first of these: --socket, CURFEW_API (each a path or a URL), the config's socket, the socket of `npm start` in
 * this folder, the default socket. A URL needs a token. The variable CURFEW_TOKEN belongs to workers and is never sent.
 */
export function findTarget(
  { socket, tokenFile }: { readonly socket?: string; readonly tokenFile?: string },
  env: Readonly<Record<string, string | undefined>>,
  configured: string | null,
): Target {
  const given = socket ?? env.CURFEW_API ?? configured;
  if (given?.startsWith('http://') || given?.startsWith('https://')) {
    return {
      name: given,
      baseUrl: given.replace(/\/$/, ''),
      socketPath: null,
      token: tokenFile === undefined ? (env.CURFEW_API_TOKEN ?? null) : readToken(tokenFile),
    };
  }
  const dev = resolve(CLI.devSocket);
  const path = given?.replace(/^unix:/, '') ?? (existsSync(dev) ? dev : CLI.defaultSocket);
  return { name: path, baseUrl: 'http://curfew', socketPath: path, token: null };
}

function readToken(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw usage(
      `--token-file: "${path}" cannot be read: ${messageOf(error)}`,
      'Give a file that this user can read.',
    );
  }
}

export async function connect(target: Target): Promise<Client> {
  const { Agent, request } = await import('undici');
  const dispatcher = new Agent({
    ...(target.socketPath === null ? {} : { connect: { socketPath: target.socketPath } }),
    connectTimeout: CLI.connectMs,
  });
  const call = async (method: 'GET' | 'POST', path: string, body?: unknown) => {
    try {
      return await request(`${target.baseUrl}${path}`, {
        method,
        dispatcher,
        headersTimeout: CLI.answerMs,
        bodyTimeout: 0,
        headers: headersFor(target, body !== undefined),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw unreachable(target, error);
    }
  };
  const json = async (method: 'GET' | 'POST', path: string, body?: unknown) => {
    const answer = await call(method, path, body);
    const text = await answer.body.text();
    if (answer.statusCode >= 400) throw toError(text, answer.statusCode);
    return JSON.parse(text) as unknown;
  };
  return {
    isRemote: target.socketPath === null,
    answers: async (boundMs) => {
      try {
        const signal = AbortSignal.timeout(boundMs);
        const answer = await request(`${target.baseUrl}/healthz`, { method: 'GET', dispatcher, signal });
        await answer.body.dump();
        return answer.statusCode === 200;
      } catch {
        return false;
      }
    },
    get: (path) => json('GET', path),
    post: (path, body) => json('POST', path, body),
    stream: async (path) => {
      const answer = await call('GET', path);
      if (answer.statusCode >= 400) throw toError(await answer.body.text(), answer.statusCode);
      return answer.body;
    },
  };
}

function headersFor({ token }: Target, hasBody: boolean): Record<string, string> {
  return {
    'x-curfew-actor': userNameForHeader(),
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    ...(hasBody ? { 'content-type': 'application/json' } : {}),
  };
}

function unreachable(target: Target, error: unknown): CurfewError {
  const { code } = error as { code?: unknown };
  const detail = `no supervisor answers at ${target.name}: ${messageOf(error)}`;
  return new CurfewError('unreachable', detail, { cause: code ?? null, socket: target.socketPath });
}

/** The error of a problem document, as the supervisor threw it. */
function toError(text: string, status: number): CurfewError {
  const problem = readProblem(text);
  if (problem === null)
    return new CurfewError('internal', `the supervisor answered with status ${status} and gave no reason`);
  const { code, detail, type: _type, title: _title, status: _status, hint: _hint, ...facts } = problem;
  return new CurfewError(Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : 'internal', detail, facts);
}

function readProblem(text: string): Problem | null {
  try {
    const value = JSON.parse(text) as Partial<Problem>;
    return typeof value.code === 'string' && typeof value.detail === 'string' ? (value as Problem) : null;
  } catch {
    return null;
  }
}
