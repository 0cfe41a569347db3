/** Parses a line into a message, or into an error that names the field. */
import type { z } from 'zod';
import type { Hello, WorkerMessage } from '../../core/model/control-protocol.ts';
import { helloSchema, PROTOCOL_VERSION, workerMessageSchema } from '../../core/model/control-protocol.ts';
import { CHANNEL } from '../../lib/limits/worker-limits.ts';

export interface Malformed {
  readonly code: string;
  readonly message: string;
  readonly field: string | null;
  /** The worker chose the field's name. It may go into the answer to the worker, but never into our log. */
  readonly isUnknownField?: true;
}

export type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: Malformed };

export function readHello(line: string): Read<Hello> {
  const json = readJson(line);
  if (!json.ok) return json;
  const version = fieldOf(json.value, 'v');
  if (
    fieldOf(json.value, 'type') === 'hello' &&
    typeof version === 'number' &&
    version !== PROTOCOL_VERSION
  ) {
    return malformed(
      'wrong_version',
      `version ${version} is not supported; use version ${PROTOCOL_VERSION}`,
      'v',
    );
  }
  return check(helloSchema, json.value);
}

export function readWorkerMessage(line: string): Read<WorkerMessage> {
  const json = readJson(line);
  return json.ok ? check(workerMessageSchema, json.value) : json;
}

function readJson(line: string): Read<unknown> {
  try {
    return { ok: true, value: JSON.parse(line) };
  } catch {
    return malformed('not_json', 'the line is not JSON', null);
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown): Read<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const [issue] = parsed.error.issues;
  if (issue === undefined) return malformed('malformed', 'the message is not valid', null);
  if (issue.code === 'unrecognized_keys') {
    const field = issue.keys.join(', ').slice(0, CHANNEL.fieldChars);
    const error = {
      code: 'malformed',
      message: `${field}: unknown field`,
      field,
      isUnknownField: true,
    } as const;
    return { ok: false, error };
  }
  const field = issue.path.join('.');
  return malformed(
    'malformed',
    `${field === '' ? 'message' : field}: ${issue.message}`,
    field === '' ? null : field,
  );
}

function fieldOf(value: unknown, key: string): unknown {
  return value !== null && typeof value === 'object' && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

function malformed(code: string, message: string, field: string | null): { ok: false; error: Malformed } {
  return { ok: false, error: { code, message, field } };
}
