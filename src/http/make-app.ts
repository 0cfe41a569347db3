/** One fastify application per listener: the same routes, but another check of the actor. */
import swagger from '@fastify/swagger';
import fastify from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { jsonSchemaTransform, serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import type { SupervisorApi } from '../api/supervisor-api.ts';
import type { Actor } from '../core/model/session.ts';
import { CurfewError } from '../lib/errors.ts';
import { HTTP, TEXT } from '../lib/limits/api-limits.ts';
import type { Log } from '../ports/log.ts';
import type { Access, Listener } from './authorize.ts';
import { authorize } from './authorize.ts';
import type { App } from './fastify-app.ts';
import { asCurfewError, sendProblem } from './problems.ts';
import { hostRoutes } from './routes-host.ts';
import { sessionRoutes } from './routes-sessions.ts';

export interface AppOptions {
  readonly api: SupervisorApi;
  readonly log: Log;
  readonly listener: Listener;
}

export async function makeApp(options: AppOptions): Promise<App> {
  const app = fastify({
    bodyLimit: TEXT.bodyBytes,
    forceCloseConnections: 'idle',
    requestTimeout: HTTP.requestMs,
    // Because: with Node's defaults a slow client has up to three times as long.
    http: { headersTimeout: HTTP.requestMs, connectionsCheckingInterval: HTTP.requestCheckMs },
    routerOptions: { maxParamLength: TEXT.idChars },
    exposeHeadRoutes: false,
    // Because: fastify's own answer while it closes is not a problem document. The supervisor answers with the reason.
    return503OnClosing: false,
    // Because: a path that cannot be decoded reaches no route and no error handler.
    frameworkErrors: (error, request, reply) =>
      sendProblem(reply, asCurfewError(error, { request, log: options.log })),
  }).withTypeProvider<ZodTypeProvider>();
  app.removeContentTypeParser('text/plain');
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  addErrorHandlers(app, options);
  addChecks(app, options);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'curfew',
        description: 'Supervises voice-agent processes, one per LiveKit room.',
        version: '1',
      },
    },
    transform: jsonSchemaTransform,
  });
  app.after(() => {
    sessionRoutes(app, options.api);
    hostRoutes(app, options.api);
  });
  await app.ready();
  return app;
}

/** Unknown paths, wrong methods and thrown errors become problem documents. */
function addErrorHandlers(app: App, { log }: AppOptions): void {
  app.setErrorHandler((error, request, reply) => sendProblem(reply, asCurfewError(error, { request, log })));
  app.setNotFoundHandler((request, reply) => {
    const [path = '/'] = request.url.split('?');
    const allowed = HTTP.methods.filter(
      (method) => app.findRoute({ method, url: path }) !== null || app.hasRoute({ method, url: path }),
    );
    if (allowed.length === 0)
      return sendProblem(
        reply,
        new CurfewError('not_found', `there is no path ${path}; /openapi.json lists all paths`),
      );
    reply.header('allow', allowed.join(', '));
    return sendProblem(
      reply,
      new CurfewError(
        'method_not_allowed',
        `${path} does not allow ${request.method}; it allows ${allowed.join(', ')}`,
        { allowed },
      ),
    );
  });
}

interface DeclaredRoute {
  readonly method: string | string[];
  readonly url: string;
  readonly config?: { readonly access?: Access | 'public' };
}

/** Stops the start for a route that does not declare its rights, so that no route is open by mistake. */
export function requireAccess({ method, url, config }: DeclaredRoute): void {
  if (config?.access === undefined)
    throw new Error(
      `the route ${String(method)} ${url} does not say which rights it needs; set config.access`,
    );
}

/** Checks the token before the body is read, so that a client without rights costs little work. */
function addChecks(app: App, { api, listener, log }: AppOptions): void {
  const sessionOfToken = (token: string) => api.sessionOfToken(token);
  app.addHook('onRoute', requireAccess);
  app.decorateRequest('actor', { getter: () => UNKNOWN_ACTOR });
  app.addHook('onRequest', async (request) => {
    const { access } = request.routeOptions.config;
    // An unknown path has no route, so no rights.
    if (access === undefined || access === 'public') return;
    const actor = authorize(request, access, { listener, sessionOfToken });
    Object.defineProperty(request, 'actor', { value: actor });
  });
  // Deeper nesting could exhaust the stack of a recursive check.
  app.addHook('preValidation', async ({ body }) => {
    if (hasLevels(body, TEXT.bodyLevels + 1))
      throw new CurfewError(
        'invalid_request',
        `the body nests lists and maps more than ${TEXT.bodyLevels} levels deep`,
      );
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    log.debug(
      {
        method: request.method,
        route,
        status: reply.statusCode,
        tookMs: Math.round(reply.elapsedTime),
        request: request.id,
      },
      'request',
    );
  });
}

function hasLevels(value: unknown, levels: number): boolean {
  let level = [value];
  for (let count = 0; count < levels && level.length > 0; count++)
    level = level
      .filter((one) => one !== null && typeof one === 'object')
      .flatMap((one) => Object.values(one as object));
  return level.length > 0;
}

const UNKNOWN_ACTOR: Actor = { kind: 'token', name: 'nobody' };
