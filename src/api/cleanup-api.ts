/** The cleanup over the wire: the request, and a verdict for each process. JSON, camelCase, milliseconds. */
import { z } from 'zod';
import { patternText } from './text-rules.ts';

const outcomeSchema = z.enum(['ended', 'gone', 'changed', 'denied', 'survived']).nullable();

/** The verdict on one process and its tree. */
const verdictSchema = z.object({
  pid: z.number(),
  startedAt: z.iso.datetime(),
  session: z.string().nullable(),
  room: z.string().nullable(),
  worker: z.string().nullable(),
  kind: z.enum(['orphan', 'overdue', 'stuck', 'doubled', 'unmanaged']),
  action: z.enum(['kill', 'leave']),
  why: z.string(),
  command: z.string(),
  ageMs: z.number(),
  /** Sum over the whole tree. */
  rssBytes: z.number(),
  /** True: the tree has a connection to LiveKit. null: unknown. */
  livekit: z.boolean().nullable(),
  tree: z.array(z.number()),
  processes: z.array(z.object({ pid: z.number(), command: z.string(), outcome: outcomeSchema })),
  /** The worst outcome of the tree's processes in a real run. null: nothing was done. */
  outcome: outcomeSchema,
});
export type VerdictView = z.infer<typeof verdictSchema>;

export const cleanupRequestSchema = z
  .strictObject({
    dryRun: z.boolean().default(true),
    /** Id of a dry run's plan. A real run with it ends exactly the processes of that dry run. */
    plan: z
      .string()
      .regex(/^[0-9a-f]{1,64}$/, 'is not the id of a plan')
      .optional(),
    /** Pid of the command that asks. A cleanup ends neither this process nor its parents, even if a pattern matches them. */
    askerPid: z.number().int().positive().optional(),
    /** Also lists processes with a matching command line that curfew did not start. */
    match: patternText.optional(),
    /** Ends such processes that match and are at least `olderThanMs` old. */
    unmanaged: z.strictObject({ match: patternText, olderThanMs: z.number().int().min(0) }).optional(),
  })
  .refine((one) => one.plan === undefined || !one.dryRun, 'a plan needs "dryRun": false')
  .refine(
    (one) => one.plan === undefined || (one.match === undefined && one.unmanaged === undefined),
    'a plan already names its processes: send it without "match" and "unmanaged"',
  );
export type CleanupRequest = z.infer<typeof cleanupRequestSchema>;

export const cleanupSchema = z.object({
  dryRun: z.boolean(),
  plan: z.string(),
  verdicts: z.array(verdictSchema),
  /** Processes that are not in the plan and were found right after it. The cleanup leaves them. */
  appeared: z.array(verdictSchema),
  /** Reasons why the scan may be incomplete. */
  remarks: z.array(z.string()),
  scanned: z.number(),
  tookMs: z.number(),
});
export type CleanupView = z.infer<typeof cleanupSchema>;
