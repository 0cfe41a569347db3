/** Routes of the host: capacity, health, reload, cleanup, drain, LiveKit's webhooks and the API's description. */
import { z } from 'zod';
import { cleanupRequestSchema, cleanupSchema } from '../api/cleanup-api.ts';
import {
  capacitySchema,
  drainRequestSchema,
  problemSchema,
  readySchema,
  reloadSchema,
} from '../api/host-schemas.ts';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import { HTTP } from '../lib/limits/api-limits.ts';
import type { App } from './fastify-app.ts';

export function hostRoutes(app: App, api: SupervisorApi): void {
  app.get(
    '/v1/capacity',
    {
      config: { access: { scope: 'read' } },
      schema: {
        summary: 'Limits, the sessions that use them, and problems of this host',
        response: { 200: capacitySchema, 401: problemSchema, 403: problemSchema },
      },
    },
    async () => api.capacity(),
  );
  metricsRoute(app, api);
  reloadRoute(app, api);
  sweepRoute(app, api);
  drainRoutes(app, api);
  app.get(
    '/healthz',
    {
      config: { access: 'public' },
      schema: {
        summary: 'Answers while the process runs',
        response: { 200: z.object({ ok: z.literal(true) }) },
      },
    },
    async () => ({ ok: true as const }),
  );
  app.get(
    '/readyz',
    {
      config: { access: 'public' },
      schema: {
        summary: 'Whether the host accepts sessions, and since when LiveKit answers or does not',
        response: { 200: readySchema, 503: readySchema },
      },
    },
    async (_request, reply) => {
      const ready = api.ready();
      return reply.code(ready.ready ? 200 : 503).send(ready);
    },
  );
  app.get(
    '/openapi.json',
    { config: { access: 'public' }, schema: { hide: true } },
    async (_request, reply) => reply.type('application/json').send(JSON.stringify(app.swagger())),
  );
  webhookRoute(app, api);
}

function metricsRoute(app: App, api: SupervisorApi): void {
  app.get(
    '/metrics/agents/:agent',
    {
      config: { access: { scope: 'read' } },
      schema: {
        summary: "The metrics of an agent's workers, live and ended, in the text format of Prometheus",
        description:
          'Workers with protocol livekit in Python write them. Counters begin again at a start of the supervisor.',
        params: z.object({ agent: z.string() }),
        response: {
          200: { description: 'Text', content: { 'text/plain': { schema: z.unknown() } } },
          401: problemSchema,
          403: problemSchema,
          404: problemSchema,
        },
      },
    },
    async (request, reply) => {
      const text = await api.agentMetrics(request.params.agent);
      reply.header('x-content-type-options', 'nosniff');
      return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text);
    },
  );
}

function reloadRoute(app: App, api: SupervisorApi): void {
  app.post(
    '/v1/reload',
    {
      config: { access: { scope: 'admin' } },
      schema: {
        summary: 'Read the config again',
        description:
          'The new config applies to new sessions. After an error the old config stays in use, and the error names the key.',
        response: { 200: reloadSchema, 400: problemSchema, 401: problemSchema, 403: problemSchema },
      },
    },
    async (request) => api.reload(request.actor),
  );
}

/** The signature covers the raw body, so this route alone keeps it as text. */
function webhookRoute(app: App, api: SupervisorApi): void {
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      ['application/webhook+json', 'application/json'],
      { parseAs: 'string' },
      (_request, body, done) => done(null, body),
    );
    scope.post(
      '/webhooks/livekit',
      {
        bodyLimit: HTTP.webhookBytes,
        config: { access: 'public' },
        schema: {
          summary: 'Receives the webhooks of LiveKit. Their signature replaces a token',
          response: { 204: z.void(), 401: problemSchema, 503: problemSchema },
        },
      },
      async (request, reply) => {
        await api.webhook(
          typeof request.body === 'string' ? request.body : '',
          request.headers.authorization,
        );
        return reply.code(204).send();
      },
    );
  });
}

function sweepRoute(app: App, api: SupervisorApi): void {
  app.post(
    '/v1/sweep',
    {
      config: { access: { scope: 'admin' } },
      schema: {
        summary: 'Lists processes that should not be there. Ends them only with "dryRun": false',
        body: cleanupRequestSchema.nullish(),
        response: {
          200: cleanupSchema,
          400: problemSchema,
          401: problemSchema,
          403: problemSchema,
          404: problemSchema,
        },
      },
    },
    async (request) => api.cleanup(request.body ?? { dryRun: true }, request.actor),
  );
}

function drainRoutes(app: App, api: SupervisorApi): void {
  app.post(
    '/v1/drain',
    {
      config: { access: { scope: 'admin' } },
      schema: {
        summary: 'Refuse new sessions, wait for the calls to end, then stop',
        body: drainRequestSchema.nullish(),
        response: { 200: capacitySchema, 400: problemSchema, 401: problemSchema, 403: problemSchema },
      },
    },
    async (request) => api.drain(request.body?.timeoutMs ?? null, request.actor),
  );
  app.post(
    '/v1/undrain',
    {
      config: { access: { scope: 'admin' } },
      schema: {
        summary: 'End the drain and accept sessions again',
        response: { 200: capacitySchema, 401: problemSchema, 403: problemSchema },
      },
    },
    async (request) => api.undrain(request.actor),
  );
}
