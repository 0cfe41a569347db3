/** A cleanup over the wire: the request, and a verdict on each process. */
import { z } from 'zod';
import { patternText } from './text-rules.ts';

/** An error shows this much of a wrong plan. */
const PLAN_CHARS = 64;

const outcomeSchema = z.enum(['ended', 'gone', 'changed', 'denied', 'survived']).nullable();

/** The verdict on one process and its tree. */
const verdictSchema = z.object({
  pid: z.number().describe("Process id of the tree's first process."),
  startedAt: z.iso.datetime().describe('When it started.'),
  session: z.string().nullable().describe('Its session. `null`: not known.'),
  room: z.string().nullable().describe('Its room. `null`: not known.'),
  worker: z.string().nullable().describe('Id of the worker. `null`: curfew did not start it.'),
  instance: z.string().nullable().describe('Id of the other instance whose worker it is. `null`: none.'),
  stateDir: z.string().nullable().describe('State directory of that instance. `null`: not known, or none.'),
  kind: z.enum(['orphan', 'overdue', 'stuck', 'doubled', 'unmanaged', 'abandoned']).describe('What it is.'),
  action: z.enum(['kill', 'leave']).describe('The action of a real run.'),
  why: z.string().describe('The rule that decided.'),
  command: z.string().describe('Its command line.'),
  ageMs: z.number().describe('Its age.'),
  rssBytes: z
    .number()
    .describe('Resident set size of the whole tree. A shared page counts once per process.'),
  livekit: z.boolean().nullable().describe('Whether it holds a connection to LiveKit. `null`: not known.'),
  tree: z.array(z.number()).describe('Process ids of the tree.'),
  processes: z
    .array(
      z.object({
        pid: z.number().describe('Process id.'),
        command: z.string().describe('Its command line.'),
        outcome: outcomeSchema.describe('Its outcome. `null`: nothing was done.'),
      }),
    )
    .describe('The processes of the tree.'),
  outcome: outcomeSchema.describe(
    'The outcome of the tree: the worst of its processes. `null`: nothing was done.',
  ),
});
export type VerdictView = z.infer<typeof verdictSchema>;

export const cleanupRequestSchema = z
  .strictObject({
    dryRun: z.boolean().default(true).describe('`false`: ends processes.'),
    plan: z
      .string()
      .regex(/^[0-9a-f]{1,64}$/, {
        error: ({ input }) =>
          `${JSON.stringify(String(input).slice(0, PLAN_CHARS))} is not the id of a plan; a dry run shows one`,
      })
      .optional()
      .describe('Plan of a dry run: ends exactly what it showed.'),
    askerPid: z
      .number()
      .int()
      .positive()
      .optional()
      .describe('Process id of the asker. Neither it nor its parents are ended, even if they match.'),
    match: patternText.optional().describe('Also shows matching processes that curfew did not start.'),
    unmanaged: z
      .strictObject({
        match: patternText.describe('Parts of a command line, with `*` for anything.'),
        olderThanMs: z.number().int().min(0).describe('The least age.'),
      })
      .optional()
      .describe('Also ends matching processes of this age that curfew did not start.'),
    abandoned: z
      .string()
      .startsWith('/', 'is not an absolute path')
      .optional()
      .describe('A state directory: also ends its workers if its supervisor is gone.'),
  })
  .refine((one) => one.plan === undefined || !one.dryRun, 'a plan needs "dryRun": false')
  .refine(
    (one) =>
      one.plan === undefined ||
      (one.match === undefined && one.unmanaged === undefined && one.abandoned === undefined),
    'a plan already names its processes: send it without "match", "unmanaged" and "abandoned"',
  );
export type CleanupRequest = z.infer<typeof cleanupRequestSchema>;

export const cleanupSchema = z.object({
  dryRun: z.boolean().describe('As asked.'),
  plan: z.string().describe('Id of the plan.'),
  verdicts: z.array(verdictSchema).describe('Each process that should not be there.'),
  appeared: z.array(verdictSchema).describe('Found after the plan and not in it. curfew did not end them.'),
  remarks: z.array(z.string()).describe('Reasons why the scan may be incomplete.'),
  scanned: z.number().describe('How many processes were scanned.'),
  tookMs: z.number().describe('How long it took.'),
});
export type CleanupView = z.infer<typeof cleanupSchema>;
