/** The one error table: code → HTTP status, CLI exit code, what to do. docs/reference/errors.md is held to it by a test. */
interface ErrorRow {
  /** HTTP status of the problem document. */
  status: number;
  /** Exit code of the CLI. */
  exit: number;
  title: string;
  /** What the person or program should do now. */
  hint: string;
}

export const ERRORS = {
  invalid_request: {
    status: 400,
    exit: 2,
    title: 'The request is not valid',
    hint: 'Correct the field that is named and send it again.',
  },
  invalid_config: {
    status: 400,
    exit: 2,
    title: 'The configuration is not valid',
    hint: 'Correct the key that is named; `curfew config check` tries it without starting anything.',
  },
  unauthorized: {
    status: 401,
    exit: 4,
    title: 'No valid token',
    hint: 'Send `Authorization: Bearer TOKEN` (curfew itself: --token-file or CURFEW_API_TOKEN); the first token is in admin.token in the state directory.',
  },
  forbidden: {
    status: 403,
    exit: 4,
    title: 'The token does not allow this',
    hint: 'Use a token with the scope that is named.',
  },
  bad_signature: {
    status: 401,
    exit: 4,
    title: 'The webhook is not signed by our LiveKit',
    hint: 'Set webhook.api_key in LiveKit to the key in the livekit section of the config.',
  },
  not_found: {
    status: 404,
    exit: 3,
    title: 'Not found',
    hint: 'Look at `curfew list --all` for the ids that exist.',
  },
  method_not_allowed: {
    status: 405,
    exit: 2,
    title: 'Method not allowed',
    hint: 'See /openapi.json for the methods of this path.',
  },
  room_taken: {
    status: 409,
    exit: 5,
    title: 'The room already has a live session',
    hint: 'Use the session that is named, or release it first.',
  },
  id_conflict: {
    status: 409,
    exit: 5,
    title: 'The id was used with another body',
    hint: 'Send the same body again, or choose a new id.',
  },
  already_ended: { status: 409, exit: 5, title: 'The session has ended', hint: 'Dispatch a new session.' },
  too_large: {
    status: 413,
    exit: 2,
    title: 'The request is too large',
    hint: 'Keep within the bound that is named.',
  },
  unsupported_media_type: {
    status: 415,
    exit: 2,
    title: 'Unsupported content type',
    hint: 'Send application/json.',
  },
  at_capacity: {
    status: 429,
    exit: 6,
    title: 'A limit is reached',
    hint: 'Try again after Retry-After seconds, or release a session that holds a slot.',
  },
  stopping: {
    status: 503,
    exit: 4,
    title: 'The supervisor is stopping',
    hint: 'Dispatch to another host, or wait until it is back.',
  },
  draining: {
    status: 503,
    exit: 4,
    title: 'The supervisor is draining',
    hint: 'Dispatch to another host; `curfew undrain` takes the drain back.',
  },
  registry_unavailable: {
    status: 503,
    exit: 4,
    title: 'The session could not be recorded',
    hint: 'Look at free space and permissions of the state directory; live calls go on.',
  },
  no_livekit: {
    status: 503,
    exit: 4,
    title: 'No LiveKit is configured',
    hint: 'Set livekit.url, api_key and api_secret in the config.',
  },
  unreachable: {
    status: 503,
    exit: 4,
    title: 'The supervisor is not reachable',
    hint: 'Is `curfew serve` running? Name its socket with --socket or CURFEW_API.',
  },
  already_running: {
    status: 503,
    exit: 4,
    title: 'Another supervisor uses this state directory',
    hint: 'Stop it first, or give this one a state_dir of its own.',
  },
  newer_schema: {
    status: 503,
    exit: 1,
    title: 'The registry was written by a newer curfew',
    hint: 'Install that version again, or give this one a state_dir of its own.',
  },
  old_node: {
    status: 500,
    exit: 1,
    title: 'This Node is too old',
    hint: 'Type `npx curfew` in its folder, or install it (`npm run install:systemd`): both bring the Node it needs.',
  },
  spawn_failed: {
    status: 500,
    exit: 1,
    title: 'The worker could not be started',
    hint: "Correct what is named in the agent's profile: its command, folder or environment.",
  },
  partly_done: {
    status: 500,
    exit: 7,
    title: 'Only a part could be done',
    hint: 'See what is named and try again.',
  },
  internal: {
    status: 500,
    exit: 1,
    title: 'An error inside curfew',
    hint: 'See the log of the supervisor for this request id, and report it.',
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** An error that a person reads: what failed, with which value (`detail`), and what to do (the table's hint). */
export class CurfewError extends Error {
  readonly code: ErrorCode;
  /** Machine-readable facts added to the problem document, such as `holder`, `limit`, `retryAfterSeconds`. */
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, detail: string, facts: Record<string, unknown> = {}, cause?: unknown) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'CurfewError';
    this.code = code;
    this.facts = facts;
  }
}

/** The message of anything thrown, for a log line or an error's detail. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
