/** Who asks, and what they may. The Unix socket is protected by its file mode; TCP always wants a token. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { ApiToken, Scope } from '../api/supervisor-api.ts';
import type { Actor } from '../core/model/session.ts';
import { CurfewError } from '../lib/errors.ts';

/** What a route asks of its caller: a scope, and whether a session's own token is enough. */
export interface Access {
  readonly scope: Scope;
  readonly ownSession?: boolean;
}

export type Listener =
  | { readonly kind: 'socket' }
  | { readonly kind: 'tcp'; readonly tokens: readonly ApiToken[] };

const ACTOR_CHARS = 64;

/** Rejects unauthorized or forbidden; answers who it is. */
export function authorize(
  request: FastifyRequest,
  access: Access,
  { door, sessionOfToken }: { door: Listener; sessionOfToken: (token: string) => string | null },
): Actor {
  if (door.kind === 'socket') return { kind: 'local', name: actorOf(request) };
  const given = bearerOf(request);
  const token = door.tokens.find((one) => isSame(one.token, given));
  if (token !== undefined) return checkScope(token, access.scope);
  return ownSession(request, access, sessionOfToken(given));
}

function checkScope({ name, scopes }: ApiToken, scope: Scope): Actor {
  if (scopes.includes('admin') || scopes.includes(scope)) return { kind: 'token', name };
  throw new CurfewError('forbidden', `the token "${name}" has no scope "${scope}"`, { scope });
}

function ownSession(request: FastifyRequest, access: Access, session: string | null): Actor {
  if (session === null) throw new CurfewError('unauthorized', 'the token is not known here');
  const { id } = request.params as { id?: string };
  if (access.ownSession === true && id === session) return { kind: 'token', name: `session ${session}` };
  throw new CurfewError(
    'forbidden',
    "a session's own token may watch, keep alive and release that session only",
    { session },
  );
}

function bearerOf(request: FastifyRequest): string {
  const match = /^Bearer ([\x21-\x7e]{1,4096})$/i.exec(request.headers.authorization ?? '');
  if (match?.[1] === undefined)
    throw new CurfewError('unauthorized', 'there is no bearer token in the Authorization header');
  return match[1];
}

/** Hashed first, so that the time says nothing of the length either. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** The local user that the CLI states: believed as far as the socket's mode lets anybody in. */
function actorOf(request: FastifyRequest): string {
  const stated = request.headers['x-curfew-actor'];
  const text = (typeof stated === 'string' ? stated : '').replace(/[^\w.@-]/g, '').slice(0, ACTOR_CHARS);
  return text === '' ? 'socket' : text;
}
