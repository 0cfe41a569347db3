/** Routes of the sessions. The schemas of src/api/ validate, type and document them. */
import { z } from 'zod';
import { problemSchema } from '../api/host-schemas.ts';
import {
  dispatchSchema,
  keepAliveSchema,
  listQuerySchema,
  listSchema,
  metadataPatchSchema,
  releasedManySchema,
  releaseManySchema,
  releaseSchema,
  sessionSchema,
} from '../api/session-schemas.ts';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import { CurfewError } from '../lib/errors.ts';
import { HTTP } from '../lib/limits/api-limits.ts';
import type { App } from './fastify-app.ts';
import { followLogs, readLogs } from './log-stream.ts';

const problems = {
  400: problemSchema,
  401: problemSchema,
  403: problemSchema,
  404: problemSchema,
  409: problemSchema,
  503: problemSchema,
};
const params = z.object({ id: z.string().min(1) });
const waitQuery = z.strictObject({
  wait: z.enum(['live', 'ended']).optional(),
  timeoutMs: z.coerce.number().int().min(0).max(HTTP.waitMaxMs).default(HTTP.waitMs),
});
const logsQuery = z.strictObject({
  tailBytes: z.coerce.number().int().min(0).max(HTTP.logBytes).default(HTTP.logBytes),
  follow: z.enum(['0', '1', 'true', 'false']).default('0'),
});

export function sessionRoutes(app: App, api: SupervisorApi): void {
  dispatchRoute(app, api);
  readRoutes(app, api);
  changeRoutes(app, api);
  endRoutes(app, api);
}

function dispatchRoute(app: App, api: SupervisorApi): void {
  app.post(
    '/v1/sessions',
    {
      config: { access: { scope: 'dispatch' } },
      schema: {
        summary: 'Start a worker for a room',
        description:
          'With your own `id` the request is idempotent: a repeat with the same body answers 200 with the same session.',
        body: dispatchSchema,
        querystring: waitQuery,
        response: { 201: sessionSchema, 200: sessionSchema, 429: problemSchema, ...problems },
      },
    },
    async (request, reply) => {
      const { session, created } = await api.dispatch(request.body, request.actor);
      reply.code(created ? 201 : 200).header('location', `/v1/sessions/${session.id}`);
      const { wait, timeoutMs } = request.query;
      return wait === undefined ? session : api.wait(session.id, wait, timeoutMs);
    },
  );
}

function readRoutes(app: App, api: SupervisorApi): void {
  const own = { access: { scope: 'read', ownSession: true } } as const;
  app.get(
    '/v1/sessions',
    {
      config: { access: { scope: 'read' } },
      schema: {
        summary: 'Sessions, newest first',
        querystring: listQuerySchema,
        response: { 200: listSchema, ...problems },
      },
    },
    async (request) => api.list(request.query),
  );
  app.get(
    '/v1/sessions/:id',
    {
      config: own,
      schema: { summary: 'One session', params, response: { 200: sessionSchema, ...problems } },
    },
    async (request) => api.get(request.params.id),
  );
  app.get(
    '/v1/sessions/:id/live',
    {
      config: own,
      schema: {
        summary: 'Whether the session is live, for frequent requests',
        params,
        response: {
          200: z.object({ live: z.boolean(), state: z.string(), reason: z.string().nullable() }),
          ...problems,
        },
      },
    },
    async (request) => {
      const { state, reason } = await api.get(request.params.id);
      return { live: state === 'live', state, reason };
    },
  );
  app.get(
    '/v1/sessions/:id/logs',
    {
      config: { access: { scope: 'read' } },
      schema: {
        summary: "The output of the session's workers as text. follow=1 continues until the session ends",
        params,
        querystring: logsQuery,
        response: {
          200: { description: 'Text', content: { 'text/plain': { schema: z.unknown() } } },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const paths = await api.logPaths(request.params.id);
      reply.type('text/plain; charset=utf-8').header('x-content-type-options', 'nosniff');
      const { tailBytes, follow } = request.query;
      const isFollowing = follow === '1' || follow === 'true';
      return reply.send(
        isFollowing ? followLogs(api, request.params.id, tailBytes) : readLogs(paths, tailBytes),
      );
    },
  );
}

function changeRoutes(app: App, api: SupervisorApi): void {
  const own = { access: { scope: 'release', ownSession: true } } as const;
  app.post(
    '/v1/sessions/:id/keep_alive',
    {
      config: own,
      schema: {
        summary: 'Restart the idle timeout of the session',
        params,
        body: keepAliveSchema.nullish(),
        response: { 200: sessionSchema, ...problems },
      },
    },
    async (request) => api.keepAlive(request.params.id, request.body?.forMs ?? null, request.actor),
  );
  app.patch(
    '/v1/sessions/:id/metadata',
    {
      config: { access: { scope: 'dispatch' } },
      schema: {
        summary: 'Replace the metadata and send it to the worker',
        params,
        body: metadataPatchSchema,
        response: { 200: sessionSchema, ...problems },
      },
    },
    async (request) => api.setMetadata(request.params.id, request.body.metadata, request.actor),
  );
}

function endRoutes(app: App, api: SupervisorApi): void {
  const own = { access: { scope: 'release', ownSession: true } } as const;
  app.post(
    '/v1/sessions/:id/release',
    {
      config: own,
      schema: {
        summary: 'End the session',
        params,
        querystring: waitQuery,
        body: releaseSchema.nullish(),
        response: { 202: sessionSchema, 200: sessionSchema, ...problems },
      },
    },
    async (request, reply) => {
      const released = await api.release(request.params.id, request.actor, request.body?.detail ?? null);
      const session =
        request.query.wait === undefined
          ? released
          : await api.wait(released.id, 'ended', request.query.timeoutMs);
      return reply.code(session.endedAt === null ? 202 : 200).send(session);
    },
  );
  app.post(
    '/v1/sessions/:id/token',
    {
      config: { access: { scope: 'dispatch' } },
      schema: {
        summary: 'A token that can read, keep alive and release this session only',
        params,
        response: { 200: z.object({ token: z.string() }), ...problems },
      },
    },
    async (request) => ({ token: await api.sessionToken(request.params.id) }),
  );
  app.post(
    '/v1/sessions/release',
    {
      config: { access: { scope: 'release' } },
      schema: {
        summary: 'End many sessions',
        body: releaseManySchema,
        response: { 200: releasedManySchema, ...problems },
      },
    },
    async (request) => {
      if (request.body === undefined)
        throw new CurfewError('invalid_request', 'the body is empty; send a filter or "all": true');
      return { dryRun: request.body.dryRun, sessions: await api.releaseMany(request.body, request.actor) };
    },
  );
}
