/** The wire of a sweep: what is asked, and what it says of each process. */
import { z } from 'zod';
import { patternText } from './text-rules.ts';

const outcomeSchema = z.enum(['ended', 'gone', 'changed', 'denied', 'survived']).nullable();

/** What a sweep says of one process and its tree. */
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
  /** Of the whole tree. */
  rssBytes: z.number(),
  /** Whether it holds a connection to LiveKit; null: not known. */
  livekit: z.boolean().nullable(),
  tree: z.array(z.number()),
  processes: z.array(z.object({ pid: z.number(), command: z.string(), outcome: outcomeSchema })),
  /** What became of the tree in a real run: of its processes the worst; null: nothing was done. */
  outcome: outcomeSchema,
});
export type VerdictView = z.infer<typeof verdictSchema>;

export const cleanupRequestSchema = z
  .strictObject({
    dryRun: z.boolean().default(true),
    /** Of a dry run: ends exactly what it showed. */
    plan: z
      .string()
      .regex(/^[0-9a-f]{1,64}$/, 'is not the id of a plan')
      .optional(),
    /** Who asks: neither it nor what it runs in is ended, whatever its command line matches. */
    askerPid: z.number().int().positive().optional(),
    /** Shows processes whose command matches, that curfew did not start. */
    match: patternText.optional(),
    /** Ends those that match and are at least so old. */
    unmanaged: z.strictObject({ match: patternText, olderThanMs: z.number().int().min(0) }).optional(),
  })
  .refine((one) => one.plan === undefined || !one.dryRun, 'a plan is applied with "dryRun": false')
  .refine(
    (one) => one.plan === undefined || (one.match === undefined && one.unmanaged === undefined),
    'a plan names its processes itself: give it alone',
  );
export type CleanupRequest = z.infer<typeof cleanupRequestSchema>;

export const cleanupSchema = z.object({
  dryRun: z.boolean(),
  plan: z.string(),
  verdicts: z.array(verdictSchema),
  /** Not in the plan, found right after it: left alone. */
  appeared: z.array(verdictSchema),
  /** What kept the look from being whole. */
  remarks: z.array(z.string()),
  scanned: z.number(),
  tookMs: z.number(),
});
export type CleanupView = z.infer<typeof cleanupSchema>;
