/** The type of fastify for the routes: zod validates each request, and each request has an actor. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Actor } from '../core/model/session.ts';
import type { Access } from './authorize.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Absent: the route needs no rights. */
    access?: Access;
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
