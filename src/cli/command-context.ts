/** The context of a command of the CLI. */

import type { Config } from '../adapters/config/config.ts';
import type { CleanupRequest, CleanupView } from '../api/cleanup-api.ts';
import type { LimitOverrides } from '../api/session-schemas.ts';
import type { WorkerProtocol } from '../core/model/profile.ts';
import type { Client } from './daemon-client.ts';
import type { Paint } from './terminal-text.ts';

export interface RunOptions {
  readonly room: string;
  readonly agent: string;
  /** The arguments after `--`. They replace the agent's command; empty: the agent's command runs. */
  readonly command: readonly string[];
  /** Of `command`. */
  readonly protocol: WorkerProtocol;
  /** The folder in which the agent runs. null: that of the profile, or this process's. */
  readonly cwd: string | null;
  readonly metadata: Record<string, unknown>;
  readonly limits: LimitOverrides;
  readonly configPath: string | null;
}

/** Commands that need adapters. serve, dev and run return their exit code. All reject with CurfewError. */
export interface Daemons {
  /** The command line is valid, and its command runs next. */
  begins(command: string): Promise<void>;
  /** `reread` reads the config from its file again, for a reload. */
  serve(config: Config, reread: () => Config): Promise<number>;
  dev(): Promise<number>;
  run(options: RunOptions): Promise<number>;
  /** Ends what a dead run left in this state directory. */
  endRun(stateDir: string): Promise<number>;
  /** A cleanup without a supervisor. */
  cleanup(config: Config, request: CleanupRequest): Promise<CleanupView>;
}

/** The process around the program. Tests replace it. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isTty: boolean;
  out(text: string): void;
  /** Writes bytes unchanged. */
  raw(bytes: Uint8Array): void;
  err(text: string): void;
  /** Asks a question on the terminal and resolves with the answer. */
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
  /** Prints the data as JSON with --json, else as text. */
  readonly show: (data: unknown, text: () => string) => void;
  /** Sets the command's exit code. Without a call it is 0. */
  readonly exitWith: (code: number) => void;
}
