/** What a command of the CLI works with. */

import type { Config } from '../adapters/config/config.ts';
import type { CleanupRequest, CleanupView } from '../api/cleanup-api.ts';
import type { LimitOverrides } from '../api/session-schemas.ts';
import type { Client } from './daemon-client.ts';
import type { Paint } from './terminal-text.ts';

export interface RunOptions {
  readonly room: string;
  readonly agent: string;
  /** Given after `--`: runs this instead of the agent's command. */
  readonly command: readonly string[];
  readonly metadata: Record<string, unknown>;
  readonly limits: LimitOverrides;
  readonly configPath: string | null;
}

/** The long-running commands, which need the adapters; loaded only when asked for. Each answers its exit code. */
export interface Daemons {
  /** `reread`: the same file once more. */
  serve(config: Config, reread: () => Config): Promise<number>;
  dev(): Promise<number>;
  run(options: RunOptions): Promise<number>;
  /** A sweep without a supervisor. */
  cleanup(config: Config, request: CleanupRequest): Promise<CleanupView>;
}

/** The process around the program, so that tests can stand in its place. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isTty: boolean;
  out(text: string): void;
  /** Bytes as they are. */
  raw(bytes: Uint8Array): void;
  err(text: string): void;
  /** A question on the terminal; the answer. */
  ask(question: string): Promise<string>;
}

export interface GlobalOptions {
  readonly socket?: string;
  readonly tokenFile?: string;
  readonly config?: string;
  readonly json?: boolean;
  readonly color?: boolean;
}

export interface Context {
  readonly terminal: Terminal;
  readonly daemons: Daemons;
  readonly global: () => GlobalOptions;
  readonly client: () => Promise<Client>;
  readonly paint: () => Paint;
  /** Data as JSON with --json, else as text. */
  readonly show: (data: unknown, text: () => string) => void;
  /** The command's exit code, when it is not 0. */
  readonly exitWith: (code: number) => void;
}
