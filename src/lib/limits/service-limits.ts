/** Bounds of the commands that run a supervisor: serve, run, dev. Milliseconds and bytes. */
import { HOUR_MS, SECOND_MS } from './time-units.ts';

/** `maxMs`: the longest bound of a drain. `exitUnderSystemd`: told apart from an end after which the unit is to start again. */
export const DRAIN = { maxMs: 7 * 24 * HOUR_MS, exitUnderSystemd: 8 } as const;

/** The bound of a whole stop (SIGTERM) beyond the slowest ladder. */
export const SHUTDOWN = {
  boundMs: 60 * SECOND_MS,
  /** An ended supervisor that something still holds up exits after this. */
  lingerMs: 500,
} as const;

/** What is asked of systemd and told to it. */
export const SYSTEMD = {
  notifyMs: 5 * SECOND_MS,
  /** No answer within this: the unit's job is not known, and the workers are left. */
  jobMs: 2 * SECOND_MS,
  /** How often the status line is told where no watchdog is set. */
  statusMs: 15 * SECOND_MS,
  /** More than the bound of the stop itself. */
  extendMs: 15 * SECOND_MS,
} as const;

/** `curfew run`. */
export const RUN = {
  tailBytes: 16 * 1024 * 1024,
  afterMs: 60 * SECOND_MS,
  /** curfew's own, never a worker's. */
  withheldEnv: [
    'LIVEKIT_API_KEY',
    'LIVEKIT_API_SECRET',
    'CURFEW_API',
    'CURFEW_API_TOKEN',
    'CURFEW_CONFIG',
    'CURFEW_TOKEN',
    'CURFEW_WORKER',
    'CURFEW_SOCKET',
  ] as readonly string[],
} as const;

/** `curfew dev`. Nothing listens but on loopback. */
export const DEV = {
  dir: '.curfew',
  /** Not the default of a config, whose supervisor runs beside it. */
  httpPort: 7889,
  livekitPort: 7880,
  /** On other ports each time. */
  livekitAttempts: 3,
  livekitStartMs: 15 * SECOND_MS,
  /** Between the first SIGTERM, which waits for participants, and the second, which does not. */
  livekitForceMs: 500,
  livekitStopMs: 10 * SECOND_MS,
  probeMs: 100,
  lastWordsChars: 300,
  apiKey: 'devkey',
} as const;
