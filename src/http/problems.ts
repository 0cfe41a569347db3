/** Errors as RFC 9457 problem documents. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import type { Problem } from '../api/host-schemas.ts';
import type { ErrorCode } from '../lib/errors.ts';
import { CurfewError, ERRORS, messageOf } from '../lib/errors.ts';
import type { Log } from '../ports/log.ts';

const PROBLEM_TYPE = 'application/problem+json';

/** Requests that fastify refuses before they reach a route, by fastify's own code. */
const FASTIFY_CODES: Readonly<Record<string, { code: ErrorCode; detail: string }>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'unsupported_media_type',
    detail: 'the content type of the body is not application/json',
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'invalid_request', detail: 'the body is empty; send a JSON object' },
  FST_ERR_CTP_INVALID_JSON_BODY: {
    code: 'invalid_request',
    detail: 'the body is not valid JSON, or has a key __proto__ or constructor.prototype',
  },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'invalid_request',
    detail: 'the length of the body differs from the header Content-Length',
  },
};

function toProblem(error: CurfewError): Problem {
  const { status, title, hint } = ERRORS[error.code];
  return {
    ...error.facts,
    type: `urn:curfew:error:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    hint,
  };
}

export function sendProblem(reply: FastifyReply, error: CurfewError): FastifyReply {
  const problem = toProblem(error);
  const { retryAfterSeconds } = error.facts;
  if (typeof retryAfterSeconds === 'number') reply.header('retry-after', String(retryAfterSeconds));
  if (error.code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
  return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

/** Any thrown value as an error of the table. Only the log gets the text of an unknown error, because it may be secret. */
export function asCurfewError(
  error: unknown,
  { request, log }: { request: FastifyRequest; log: Log },
): CurfewError {
  if (error instanceof CurfewError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) return invalid(error);
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new CurfewError('too_large', `the body has more than ${request.routeOptions.bodyLimit} bytes`);
  const known = code === undefined || !Object.hasOwn(FASTIFY_CODES, code) ? undefined : FASTIFY_CODES[code];
  if (known !== undefined) return new CurfewError(known.code, known.detail);
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new CurfewError('invalid_request', messageOf(error));
  log.error({ request: request.id, error: messageOf(error) }, 'a request failed inside curfew');
  return new CurfewError('internal', `request ${request.id} failed inside curfew`, { request: request.id });
}

interface SchemaIssue {
  readonly instancePath: string;
  readonly message?: string | undefined;
  readonly params?: unknown;
}

function invalid(error: {
  validation: readonly SchemaIssue[];
  validationContext?: string | undefined;
}): CurfewError {
  const issues = error.validation.map((issue) => ({
    field: fieldOf(issue),
    message: issue.message ?? 'is not valid',
  }));
  const detail = issues
    .map(({ field, message }) => `${field === '' ? (error.validationContext ?? 'body') : field}: ${message}`)
    .join('; ');
  return new CurfewError('invalid_request', detail, { field: issues[0]?.field ?? null, issues });
}

function fieldOf({ instancePath }: SchemaIssue): string {
  return instancePath.replace(/^\//, '').replaceAll('/', '.');
}
