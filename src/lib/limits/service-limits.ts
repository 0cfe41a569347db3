/** Bounds of the commands that run a supervisor: serve, run, dev. Milliseconds and bytes. */
import { HOUR_MS, SECOND_MS } from './time-units.ts';

/**
 * `maxMs`: the longest bound of a drain.
 * `exitUnderSystemd`: exit code after a drain; the unit does not start again after it.
 */
export const DRAIN = { maxMs: 7 * 24 * HOUR_MS, exitUnderSystemd: 8 } as const;

/** A stop of the supervisor. */
export const SHUTDOWN = {
  /** Bound of a whole stop. More than the default ladder takes. */
  boundMs: 60 * SECOND_MS,
  /** A command that is over exits after this, even if something keeps the process alive. */
  lingerMs: 500,
} as const;

/** Requests and messages to systemd. */
export const SYSTEMD = {
  /** Bound for one run of systemd-notify. */
  notifyMs: 5 * SECOND_MS,
  /** If systemd does not answer within this, the unit's job is unknown and the workers go on. */
  jobMs: 2 * SECOND_MS,
  /** Interval of the status line where systemd sets no watchdog. */
  statusMs: 15 * SECOND_MS,
  /** systemd gets the bound of the stop plus this, so that the stop ends first. */
  extendMs: 15 * SECOND_MS,
} as const;

/** `curfew run`. */
export const RUN = {
  /** The command prints at most this much of the output before its start. */
  tailBytes: 16 * 1024 * 1024,
  /** After the last output the command waits this long for the session's end. */
  afterMs: 60 * SECOND_MS,
  /** Name of a run's state directory, before its random part. */
  dirPrefix: 'curfew-run-',
  /** After a run's death: checks of its lock, and rounds that end its workers. A round has the bounds of a cleanup. */
  lockTries: 50,
  endTries: 8,
  againMs: 100,
  /** Exit code when a worker survived. */
  survivedExit: 7,
  /** Variables of the shell that curfew uses for itself and never passes to a worker. */
  withheldEnv: [
    'LIVEKIT_URL',
    'LIVEKIT_API_KEY',
    'LIVEKIT_API_SECRET',
    'LIVEKIT_TOKEN',
    'CURFEW_API',
    'CURFEW_API_TOKEN',
    'CURFEW_CONFIG',
    'CURFEW_TOKEN',
    'CURFEW_WORKER',
    'CURFEW_SOCKET',
  ] as readonly string[],
  /** Variables of systemd for the supervisor itself. A worker with NOTIFY_SOCKET could report to systemd in its name. */
  systemdEnv: [
    'NOTIFY_SOCKET',
    'WATCHDOG_USEC',
    'WATCHDOG_PID',
    'LISTEN_FDS',
    'LISTEN_PID',
    'LISTEN_PIDFDID',
    'LISTEN_FDNAMES',
    'INVOCATION_ID',
    'JOURNAL_STREAM',
    'LOG_NAMESPACE',
    'CREDENTIALS_DIRECTORY',
    'ENCRYPTED_CREDENTIALS_DIRECTORY',
    'MAINPID',
    'MAINPIDFDID',
    'MANAGERPID',
    'MANAGERPIDFDID',
    'SYSTEMD_EXEC_PID',
    'MEMORY_PRESSURE_WATCH',
    'MEMORY_PRESSURE_WRITE',
    'FDSTORE',
    'REMOTE_ADDR',
    'REMOTE_PORT',
    'TRIGGER_UNIT',
    'TRIGGER_PATH',
    'TRIGGER_TIMER_REALTIME_USEC',
    'TRIGGER_TIMER_MONOTONIC_USEC',
    'SERVICE_RESULT',
    'EXIT_CODE',
    'EXIT_STATUS',
    'RUNTIME_DIRECTORY',
    'STATE_DIRECTORY',
    'CACHE_DIRECTORY',
    'LOGS_DIRECTORY',
    'CONFIGURATION_DIRECTORY',
  ] as readonly string[],
} as const;

/** `pass_env: ["*"]` passes no variable that begins so. */
export const WITHHELD_PREFIXES = ['CURFEW_'] as const;

/** `curfew dev`. All of it listens on loopback only. */
export const DEV = {
  dir: '.curfew',
  /** Differs from the default of a config, so that a supervisor with a config can run at the same time. */
  httpPort: 7889,
  livekitPort: 7880,
  /** Each attempt takes other ports, because another program may take one in between. */
  livekitAttempts: 3,
  livekitStartMs: 15 * SECOND_MS,
  /** Time between two SIGTERM. After the first one the server waits for participants, after the second it does not. */
  livekitForceMs: 500,
  /** Time from the first SIGTERM to SIGKILL. */
  livekitStopMs: 10 * SECOND_MS,
  /** Interval of the check if the server answers. */
  probeMs: 100,
  /** An error quotes this much of the server's last log line. */
  lastLineChars: 300,
  apiKey: 'devkey',
} as const;
