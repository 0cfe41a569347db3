/** docs/reference/http-api.md: every route with its scope, body, answers and errors, read off the routes and their schemas. No server runs. */
import { z } from 'zod';
import { cleanupSchema } from '../src/api/cleanup-api.ts';
import { capacitySchema, problemSchema, readySchema, reloadSchema } from '../src/api/host-schemas.ts';
import { listSchema, sessionSchema } from '../src/api/session-schemas.ts';
import type { SupervisorApi } from '../src/api/supervisor-api.ts';
import type { Access } from '../src/http/authorize.ts';
import type { App } from '../src/http/fastify-app.ts';
import { hostRoutes } from '../src/http/routes-host.ts';
import { sessionRoutes } from '../src/http/routes-sessions.ts';
import type { ErrorCode } from '../src/lib/errors.ts';
import { ERRORS } from '../src/lib/errors.ts';
import { HTTP, TEXT } from '../src/lib/limits/api-limits.ts';
import { ADMISSION } from '../src/lib/limits/session-limits.ts';
import { LIMIT_NAMES } from './limit-names.ts';
import { code, page, table } from './markdown.ts';
import { rowsOf } from './schema-rows.ts';

interface Route {
  readonly method: string;
  readonly path: string;
  readonly access: Access | null;
  readonly schema: {
    readonly summary?: string;
    readonly description?: string;
    readonly hide?: boolean;
    readonly body?: z.ZodType;
    readonly querystring?: z.ZodType;
    readonly response?: Readonly<Record<string, unknown>>;
  };
}

type Options = { schema: Route['schema']; config?: { access?: Access | 'public' } };

/** The routes as they are registered, by an app that only notes them. */
export function routes(): Route[] {
  const found: Route[] = [];
  const note =
    (method: string) =>
    (path: string, { schema, config }: Options) => {
      found.push({
        method,
        path: path.replaceAll(/:(\w+)/g, '{$1}'),
        access: config?.access === undefined || config.access === 'public' ? null : config.access,
        schema,
      });
    };
  const app = {
    get: note('GET'),
    post: note('POST'),
    patch: note('PATCH'),
    register: (plugin: (scope: unknown) => unknown) => plugin(app),
    removeAllContentTypeParsers: () => undefined,
    addContentTypeParser: () => undefined,
  };
  sessionRoutes(app as unknown as App, {} as SupervisorApi);
  hostRoutes(app as unknown as App, {} as SupervisorApi);
  return found.filter(({ schema }) => schema.hide !== true);
}

const NAMED = new Map<unknown, string>([
  [sessionSchema, 'Session'],
  [listSchema, 'Sessions'],
  [capacitySchema, 'Capacity'],
  [cleanupSchema, 'Cleanup'],
  [readySchema, 'Readiness'],
  [reloadSchema, 'Reload'],
  [problemSchema, 'Problem'],
]);
const VERDICT = cleanupSchema.shape.verdicts.element;

/** Errors beyond those of every route. A test of the routes' statuses would not say which of a status they are. */
const ERRORS_OF: Readonly<Record<string, readonly ErrorCode[]>> = {
  'POST /v1/sessions': [
    'room_taken',
    'id_conflict',
    'at_capacity',
    'stopping',
    'draining',
    'registry_unavailable',
  ],
  'GET /v1/sessions': ['registry_unavailable'],
  'GET /v1/sessions/{id}': ['not_found', 'registry_unavailable'],
  'GET /v1/sessions/{id}/live': ['not_found', 'registry_unavailable'],
  'GET /v1/sessions/{id}/logs': ['not_found', 'registry_unavailable'],
  'POST /v1/sessions/{id}/keep_alive': ['not_found', 'already_ended', 'registry_unavailable'],
  'PATCH /v1/sessions/{id}/metadata': ['not_found', 'already_ended', 'registry_unavailable'],
  'POST /v1/sessions/{id}/release': ['not_found', 'registry_unavailable'],
  'POST /v1/sessions/{id}/token': ['not_found', 'registry_unavailable'],
  'POST /v1/sessions/release': [],
  'GET /v1/capacity': [],
  'GET /metrics/agents/{agent}': ['not_found'],
  'POST /v1/reload': ['invalid_config'],
  'POST /v1/sweep': ['not_found'],
  'POST /v1/drain': [],
  'POST /v1/undrain': [],
  'POST /webhooks/livekit': ['bad_signature', 'no_livekit'],
  'GET /healthz': [],
  'GET /readyz': [],
};

const ANSWERS: Readonly<Record<string, string>> = {
  200: 'OK',
  201: 'created',
  202: 'under way',
  204: 'no body',
  503: 'not ready',
};

const NOTES: Readonly<Record<string, readonly string[]>> = {
  'POST /v1/sessions': [
    'With an `id` of your own the call is idempotent: the same body again answers 200 and the same session. Another body answers 409 `id_conflict`.',
    'The answer has the header `Location`. The answer after a wait that ran out has the same form: read `state`.',
  ],
  'GET /v1/sessions': ['Without `state` the answer includes ended sessions.'],
  'GET /v1/sessions/{id}/logs': ['The answer is text. `follow` takes 1, true, 0 and false.'],
  'POST /v1/sessions/{id}/release': [
    'Answers 202 at once, or after the wait, while the teardown is under way; 200 when the session has ended. A session that had ended is answered as it is. With `wait`, `live` means `ended` here.',
  ],
  'POST /v1/sessions/{id}/token': ['Answers `{"token": "…"}`. The token works for this session only.'],
  'POST /v1/sessions/release': ['Several filters must all match. An empty filter needs `"all": true`.'],
  'PATCH /v1/sessions/{id}/metadata': ['The new metadata replaces the whole object.'],
  'POST /v1/sweep': [
    'Ends nothing without `"dryRun": false`. The dry run answers a plan, which the real run takes.',
  ],
  'GET /readyz': ['Answers 503 while it takes no sessions, or cannot record them.'],
  'POST /webhooks/livekit': [
    'Takes `application/webhook+json`. The signature covers the raw body and is valid for 5 minutes.',
  ],
};

const QUERY: Readonly<Record<string, string>> = {
  wait: 'Waits until the session is this.',
  timeoutMs: 'The longest wait. It has no effect without `wait`.',
  tailBytes: 'At most so many bytes, from the end.',
  follow: 'Goes on until the session has ended.',
};

function scopeText({ access, path }: Route): string {
  if (access === null) return path.startsWith('/webhooks') ? "LiveKit's signature" : 'open';
  return access.ownSession === true
    ? `${code(access.scope)}, or the session's own token`
    : code(access.scope);
}

function keyOf({ method, path }: Route): string {
  return `${method} ${path}`;
}

function answers({ schema }: Route): string[] {
  return Object.entries(schema.response ?? {}).flatMap(([status, body]) => {
    if (body === problemSchema) return [];
    const name = NAMED.get(body);
    const shown = name === undefined ? inlineAnswer(body) : `[${name}](#${name.toLowerCase()})`;
    return [`- ${status}, ${ANSWERS[status] ?? ''}${shown === '' ? '' : `: ${shown}`}`];
  });
}

function inlineAnswer(body: unknown): string {
  if (!(body instanceof z.ZodObject)) return '';
  return Object.keys(body.shape).map(code).join(', ');
}

/** Throws for a code whose status the route does not document. */
function errorsOf(route: Route): string {
  const own = ERRORS_OF[keyOf(route)];
  if (own === undefined) throw new Error(`http-reference.ts: ERRORS_OF has no entry for ${keyOf(route)}`);
  const missing = own.find((one) => !Object.hasOwn(route.schema.response ?? {}, ERRORS[one].status));
  if (missing !== undefined) throw new Error(`${keyOf(route)} does not document the status of ${missing}`);
  const guarded: ErrorCode[] = route.access === null ? [] : ['unauthorized', 'forbidden'];
  const read: ErrorCode[] =
    (route.schema.body ?? route.schema.querystring) === undefined ? [] : ['invalid_request'];
  return [...read, ...guarded, ...own].map((one) => `${code(one)} ${ERRORS[one].status}`).join(', ');
}

function fieldRows(schema: z.ZodType): string[][] {
  return rowsOf(named(schema), { named: NAMED });
}

/** Meanings that the schema does not carry: limits have their names in the config, waits are the same everywhere. */
function named(schema: z.ZodType): z.ZodType {
  const found = inner(schema);
  if (!(found instanceof z.ZodObject)) return found;
  const shape = Object.entries(found.shape as Record<string, z.ZodType>).map(([key, field]) => {
    if (key === 'limits') return [key, described(field)] as const;
    return [
      key,
      field.description === undefined && QUERY[key] !== undefined ? field.describe(QUERY[key]) : field,
    ] as const;
  });
  return z.object(Object.fromEntries(shape));
}

function described(limits: z.ZodType): z.ZodType {
  const { shape } = inner(limits) as z.ZodObject<Record<string, z.ZodType>>;
  const fields = Object.entries(shape).map(([key, field]) => {
    const { config } = LIMIT_NAMES[key as keyof typeof LIMIT_NAMES];
    return [
      key,
      field.describe(
        `In place of the agent's \`${config}\`.${key === 'noActiveStreamMs' ? ' `null`: off.' : ''}`,
      ),
    ];
  });
  return z
    .object(Object.fromEntries(fields))
    .default({})
    .describe(limits.description ?? '');
}

function inner(schema: z.ZodType): z.ZodType {
  const isWrapper =
    schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault;
  return isWrapper ? inner(schema.unwrap() as z.ZodType) : schema;
}

const FIELD_HEAD = ['field', 'type', 'default', 'meaning'];

function routePart(route: Route): string[] {
  const { schema } = route;
  const { body, querystring } = schema;
  const notes = NOTES[keyOf(route)] ?? [];
  const isOptional = body !== undefined && inner(body) !== body;
  const errors = errorsOf(route);
  return [
    `## ${code(keyOf(route))}`,
    '',
    `${schema.summary}.`,
    ...notes.flatMap((one) => ['', one]),
    '',
    `Scope: ${scopeText(route)}.`,
    ...(querystring === undefined
      ? []
      : ['', 'Query:', '', ...table(['parameter', ...FIELD_HEAD.slice(1)], fieldRows(querystring))]),
    ...(body === undefined
      ? []
      : ['', `Body${isOptional ? ', which may be absent' : ''}:`, '', ...table(FIELD_HEAD, fieldRows(body))]),
    '',
    'Answers:',
    '',
    ...answers(route),
    ...(errors === '' ? [] : ['', `Errors: ${errors}.`]),
  ];
}

function shapePart(schema: unknown, name: string): string[] {
  const rows = rowsOf(schema, { named: new Map([...NAMED, [VERDICT, 'Verdict']]), isAnswer: true });
  return [`## ${name}`, '', ...table(['field', 'type', 'meaning'], rows)];
}

const EXAMPLE = [
  '## Example',
  '',
  '```sh',
  'curl --unix-socket /run/curfew/curfew.sock http://curfew/v1/sessions \\',
  "  -H 'content-type: application/json' \\",
  `  -d '{"room":"call-17","id":"my-call-17","limits":{"maxDurationMs":600000}}'`,
  '',
  'curl http://127.0.0.1:7890/v1/capacity -H "authorization: Bearer $(sudo cat /var/lib/curfew/admin.token)"',
  '```',
];

function overview(all: readonly Route[]): string[] {
  const rows = all.map((one) => [code(keyOf(one)), one.schema.summary ?? '', scopeText(one)]);
  return ['## Routes', '', ...table(['route', 'what it does', 'scope'], rows)];
}

const RULES = [
  'The API has two listeners with the same routes: the Unix socket `listen.socket`, and TCP at `listen.http`.',
  '',
  '- The Unix socket asks for no token. Its mode is 0600. The header `x-curfew-actor` may name the person, for the audit file.',
  '- TCP asks for `Authorization: Bearer TOKEN`. The first token is in `admin.token` in the state directory. `api.tokens` adds others.',
  "- A token has scopes: `read`, `dispatch`, `release`, `admin`. `admin` includes all. A session's own token works for its session only.",
  '- Bodies are JSON in camelCase. An unknown field is an error. A field that ends in `Ms` is in milliseconds.',
  '- Times are ISO 8601 in UTC. A nullable field is always present in an answer.',
  `- A body may have ${TEXT.bodyBytes} bytes and ${TEXT.bodyLevels} levels, a webhook of LiveKit ${HTTP.webhookBytes} bytes. A request must arrive within ${HTTP.requestMs / 1000} s.`,
  `- \`at_capacity\` has the header \`Retry-After: ${ADMISSION.retryAfterSeconds}\`.`,
  '- Errors are [problem documents](errors.md) (RFC 9457, `application/problem+json`).',
  '- `GET /openapi.json` answers the same as an OpenAPI 3.1 document. It is open to all.',
  '',
  'Every route may also answer `not_found`, `method_not_allowed`, `too_large`, `unsupported_media_type` and `internal`.',
];

export function httpReference(): string {
  const all = routes();
  return page('HTTP API', 'the routes in src/http/ and the schemas in src/api/', [
    RULES,
    EXAMPLE,
    overview(all),
    ...all.map(routePart),
    ...[...NAMED].map(([schema, name]) => shapePart(schema, name)),
    shapePart(VERDICT, 'Verdict'),
  ]);
}
