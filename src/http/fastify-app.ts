/** The type of fastify for the routes: zod validates each request, and each request has an actor. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Actor } from '../core/model/session.ts';
import type { Access } from './authorize.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `public`: the route needs no rights. A route without this key is refused at the start. */
    access?: Access | 'public';
  }
  interface FastifyRequest {
    actor: Actor;
  }
}

export type App = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;
