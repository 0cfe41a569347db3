/** Authorization: the actor of a request and its rights. The file mode protects the Unix socket; TCP needs a token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { ApiToken, Scope } from '../api/supervisor-api.ts';
import type { Actor } from '../core/model/session.ts';
import { CurfewError } from '../lib/errors.ts';

/** The rights that a route needs. `ownSession`: a session token is enough for its own session. */
export interface Access {
  readonly scope: Scope;
  readonly ownSession?: boolean;
}

export type Listener =
  | { readonly kind: 'socket' }
  | { readonly kind: 'tcp'; readonly tokens: readonly ApiToken[] };

const ACTOR_CHARS = 64;

/** Returns the actor of the request. Throws `unauthorized` or `forbidden`. */
export function authorize(
  request: FastifyRequest,
  access: Access,
  { listener, sessionOfToken }: { listener: Listener; sessionOfToken: (token: string) => string | null },
): Actor {
  if (listener.kind === 'socket') return { kind: 'local', name: localUser(request) };
  const bearer = bearerOf(request);
  const token = listener.tokens.find((one) => isSame(one.token, bearer));
  if (token !== undefined) return checkScope(token, access.scope);
  return checkSessionToken(request, access, sessionOfToken(bearer));
}

function checkScope({ name, scopes }: ApiToken, scope: Scope): Actor {
  if (scopes.includes('admin') || scopes.includes(scope)) return { kind: 'token', name };
  throw new CurfewError('forbidden', `the token "${name}" has no scope "${scope}"`, { scope });
}

function checkSessionToken(request: FastifyRequest, access: Access, session: string | null): Actor {
  if (session === null) throw new CurfewError('unauthorized', 'this supervisor does not know the token');
  const { id } = request.params as { id?: string };
  if (access.ownSession === true && id === session) return { kind: 'token', name: `session ${session}` };
  throw new CurfewError('forbidden', `this token can read, keep alive and release session ${session} only`, {
    session,
  });
}

function bearerOf(request: FastifyRequest): string {
  const match = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(request.headers.authorization ?? '');
  if (match?.[1] === undefined)
    throw new CurfewError('unauthorized', 'the Authorization header has no bearer token');
  return match[1];
}

/** Compares hashes, because the time of a direct comparison would reveal the token's length. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** The user name that the CLI sends. It is only a claim; access itself depends on the socket's file mode. */
function localUser(request: FastifyRequest): string {
  const claimed = request.headers['x-curfew-actor'];
  const text = (typeof claimed === 'string' ? claimed : '').replace(/[^\w.@-]/g, '').slice(0, ACTOR_CHARS);
  return text === '' ? 'socket' : text;
}
