/** fastify as the routes see it: validated by zod, with the author of each request. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Actor } from '../core/model/session.ts';
import type { Access } from './authorize.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Without it a route is open to all. */
    access?: Access;
  }
  interface FastifyRequest {
    author: Actor;
  }
}

export type App = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;
