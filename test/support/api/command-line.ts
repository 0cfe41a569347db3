/** The command line on a terminal that records its output. */
import type { CleanupRequest } from '../../../src/api/cleanup-api.ts';
import type { Daemons, RunOptions, Terminal } from '../../../src/cli/command-context.ts';
import { runCli } from '../../../src/cli/program.ts';

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly isTty?: boolean;
  readonly answer?: string;
}

export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly questions: readonly string[];
  readonly ran: readonly RunOptions[];
  /** The requests to a cleanup without a supervisor. */
  readonly cleaned: readonly CleanupRequest[];
}

export async function cli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const out: string[] = [];
  const err: string[] = [];
  const questions: string[] = [];
  const ran: RunOptions[] = [];
  const terminal: Terminal = {
    env: options.env ?? {},
    isTty: options.isTty ?? false,
    out: (text) => out.push(`${text}\n`),
    raw: (bytes) => out.push(Buffer.from(bytes).toString()),
    err: (text) => err.push(`${text}\n`),
    ask: async (question) => {
      questions.push(question);
      return options.answer ?? '';
    },
  };
  const cleaned: CleanupRequest[] = [];
  const daemons: Daemons = {
    serve: async () => 0,
    begins: async () => undefined,
    endRun: async () => 0,
    dev: async () => 0,
    run: async (given) => {
      ran.push(given);
      return 14;
    },
    cleanup: async (_config, request) => {
      cleaned.push(request);
      return {
        dryRun: request.dryRun,
        plan: 'abc123',
        verdicts: [],
        appeared: [],
        remarks: [],
        scanned: 3,
        tookMs: 1,
      };
    },
  };
  const code = await runCli(args, { terminal, daemons, commit: 'abc1234' });
  return { code, out: out.join(''), err: err.join(''), questions, ran, cleaned };
}
