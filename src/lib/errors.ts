/** The one error table: code → HTTP status, CLI exit code, what to do. A test compares docs/reference/errors.md with it. */
interface ErrorRow {
  /** HTTP status of the problem document. */
  status: number;
  /** Exit code of the CLI. */
  exit: number;
  title: string;
  /** The next step of the person or program that made the request. HTTP and CLI show the same text. */
  hint: string;
}

export const ERRORS = {
  invalid_request: {
    status: 400,
    exit: 2,
    title: 'The request is not valid',
    hint: 'Correct the field named in the detail and send the request again.',
  },
  invalid_config: {
    status: 400,
    exit: 2,
    title: 'The configuration is not valid',
    hint: 'Correct what the text above names. `curfew config check FILE` checks the file and starts nothing.',
  },
  unauthorized: {
    status: 401,
    exit: 4,
    title: 'The request has no valid token',
    hint: 'Send the header `Authorization: Bearer TOKEN`; on the command line set --token-file or CURFEW_API_TOKEN. The file admin.token in the state directory holds the first token.',
  },
  forbidden: {
    status: 403,
    exit: 4,
    title: 'The token does not allow this',
    hint: 'Use a token with the scope named in the detail.',
  },
  bad_signature: {
    status: 401,
    exit: 4,
    title: 'The signature of the webhook is not valid',
    hint: "Set webhook.api_key in LiveKit's config to the API key in the livekit section of curfew's config.",
  },
  not_found: {
    status: 404,
    exit: 3,
    title: 'Not found',
    hint: 'Check the path and the id. GET /v1/sessions and `curfew list --all` show the ids that exist.',
  },
  method_not_allowed: {
    status: 405,
    exit: 2,
    title: 'This path does not allow the method',
    hint: 'Read the methods of the path in /openapi.json.',
  },
  room_taken: {
    status: 409,
    exit: 5,
    title: 'The room already has a live session',
    hint: 'Use the session named in the detail, or release it first.',
  },
  id_conflict: {
    status: 409,
    exit: 5,
    title: 'Another session with another body has this id',
    hint: 'Send the same body again, or choose a new id.',
  },
  already_ended: { status: 409, exit: 5, title: 'The session has ended', hint: 'Dispatch a new session.' },
  too_large: {
    status: 413,
    exit: 2,
    title: 'The request is too large',
    hint: 'Send less than the bound named in the detail.',
  },
  unsupported_media_type: {
    status: 415,
    exit: 2,
    title: 'The content type is not supported',
    hint: 'Send the header `Content-Type: application/json`.',
  },
  at_capacity: {
    status: 429,
    exit: 6,
    title: 'A limit is reached',
    hint: 'Try again after the seconds in the header Retry-After, or release a session that holds a slot.',
  },
  stopping: {
    status: 503,
    exit: 4,
    title: 'The supervisor is stopping',
    hint: 'Dispatch to another host, or wait until the supervisor runs again.',
  },
  draining: {
    status: 503,
    exit: 4,
    title: 'The supervisor is draining',
    hint: 'Dispatch to another host, or end the drain with POST /v1/undrain or `curfew undrain`.',
  },
  registry_unavailable: {
    status: 503,
    exit: 4,
    title: 'The session could not be recorded',
    hint: 'Check free space and permissions of the state directory. Live calls go on.',
  },
  no_livekit: {
    status: 503,
    exit: 4,
    title: 'No LiveKit is configured',
    hint: 'Set livekit.url, livekit.api_key and livekit.api_secret in the config.',
  },
  unreachable: {
    status: 503,
    exit: 4,
    title: 'The supervisor is not reachable',
    hint: 'Check that `curfew serve` runs. Give its address with --socket or CURFEW_API.',
  },
  already_running: {
    status: 503,
    exit: 4,
    title: 'Another supervisor uses this state directory',
    hint: 'Stop the other supervisor first, or set another state_dir for this one.',
  },
  newer_schema: {
    status: 503,
    exit: 1,
    title: 'A newer version of curfew wrote the registry',
    hint: 'Install the newer version again, or set another state_dir for this one.',
  },
  old_node: {
    status: 500,
    exit: 1,
    title: 'This version of Node is too old',
    hint: "Run `npx curfew` in curfew's folder, or install curfew with `npm run install:systemd`. Both use the right Node.",
  },
  spawn_failed: {
    status: 500,
    exit: 1,
    title: 'The worker could not be started',
    hint: "Correct the agent's profile: its command, cwd or env, as named in the detail.",
  },
  partly_done: {
    status: 500,
    exit: 7,
    title: 'Only a part of the request succeeded',
    hint: 'Read in the detail what failed, and try again.',
  },
  internal: {
    status: 500,
    exit: 1,
    title: 'An error inside curfew',
    hint: "Find the id of the detail in the supervisor's log, and report the error of that line.",
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** An error that a person reads. `detail`: what failed, with the value. The table's `hint`: what to do. */
export class CurfewError extends Error {
  readonly code: ErrorCode;
  /** Machine-readable fields of the problem document, such as `holder`, `limit`, `retryAfterSeconds`. */
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, detail: string, facts: Record<string, unknown> = {}, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'CurfewError';
    this.code = code;
    this.facts = facts;
  }
}

/** The message of any thrown value, for a log line or an error's detail. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
