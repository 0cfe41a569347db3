/** The host over the wire: capacity, readiness, drain, reload and problems. JSON, camelCase, milliseconds. */
import { z } from 'zod';
import { DRAIN } from '../lib/limits/service-limits.ts';
import { ms, reasonSchema, stateSchema, time } from './common-schemas.ts';

const quota = z.object({
  name: z.string().describe('`host`, `agent:NAME` or `user:NAME`.'),
  limit: z.number().describe('Slots.'),
  used: z.number().describe('Slots in use.'),
  holders: z.array(z.string()).describe('Ids of the sessions that hold them.'),
});

const livekit = z.object({
  configured: z.boolean().describe('Whether the config names a LiveKit.'),
  reachable: z.boolean().nullable().describe('`null`: not asked yet.'),
  since: time.nullable().describe('Since when. `null`: not asked yet.'),
  error: z.string().nullable().describe('Why LiveKit does not answer.'),
});

const registry = z.object({
  writable: z.boolean().describe('Whether sessions can be recorded.'),
  error: z.string().nullable().describe('Why they cannot.'),
  setAside: z.string().nullable().describe('Where the last damaged database is. `null`: there was none.'),
});

const drainSchema = z.object({
  since: time.describe('When the drain began.'),
  by: z.string().describe('The person or program that asked.'),
  leftMs: ms.nullable().describe('Until the rest is released. `null`: the drain has no bound.'),
  open: z.number().describe('Sessions that have not ended.'),
});

export type DrainView = z.infer<typeof drainSchema>;

export const drainRequestSchema = z.strictObject({
  timeoutMs: z
    .number()
    .int()
    .min(0)
    .max(DRAIN.maxMs)
    .optional()
    .describe('After this the rest is released. Without it the drain has no bound.'),
});

const dropped = z.object({
  lines: z.number().describe('Lines that were not forwarded, because the reader was slow.'),
  bytes: z.number().describe('Bytes of these lines.'),
  cutBytes: z.number().describe('Bytes that a cut of the log removed before curfew read them.'),
});

export const capacitySchema = z.object({
  host: z.string().describe('Name of this host.'),
  accepting: z.boolean().describe('`false` while the supervisor stops or drains.'),
  draining: drainSchema.nullable().describe('The drain under way. `null`: there is none.'),
  quotas: z.array(quota).describe('Each quota and its holders.'),
  load: z
    .object({
      cpuPercent: z.number().describe('Smoothed use of the processor, of the host or its container.'),
      cpuLimitPercent: z.number().nullable().describe('`limits.cpu`. `null`: off.'),
      memoryFreePercent: z.number().nullable().describe('Smoothed free memory. `null`: not known.'),
      memoryFreeLimitPercent: z.number().nullable().describe('`limits.memory_free`. `null`: off.'),
      over: z
        .array(z.enum(['cpu', 'memory_free']))
        .describe('Limits that the host is over. New sessions wait, unless the host has none.'),
    })
    .describe('Load of the host.'),
  queue: z
    .object({
      length: z.number().describe('Sessions that wait.'),
      limit: z.number().describe('How many may wait.'),
      sessions: z.array(z.string()).describe('Their ids.'),
    })
    .describe('The queue for a slot.'),
  sessions: z.record(stateSchema, z.number()).describe('How many sessions are in each state.'),
  unkillable: z
    .array(
      z.object({
        session: z.string().describe('Id of the session.'),
        pid: z.number().nullable().describe("Process id of the worker's command. `null`: not known."),
      }),
    )
    .describe('Sessions whose worker could not be killed. Each still holds its slot and claim.'),
  held: z
    .array(
      z.object({
        session: z.string().describe('Id of the session.'),
        reason: reasonSchema.describe('The ending that is held.'),
        until: time.describe('When curfew re-checks it.'),
      }),
    )
    .describe('Sessions whose ending the mass-end budget holds.'),
  livekit: livekit.describe('Whether LiveKit answers.'),
  jobs: z
    .array(
      z.object({
        agentName: z.string().describe('Name of the agent at LiveKit.'),
        state: z.enum(['connecting', 'registered']).describe('Whether LiveKit knows this host.'),
        since: time.describe('Since when.'),
        error: z.string().nullable().describe('Why it is not registered.'),
      }),
    )
    .describe("This host's registrations for LiveKit's own dispatch."),
  warm: z
    .array(
      z.object({
        agent: z.string().describe('Name of the agent in the config.'),
        wanted: z.number().describe('How many the config asks for.'),
        ready: z.number().describe('How many can take a call.'),
        starting: z.number().describe('How many are on their way.'),
        crashes: z.number().describe('Deaths in a row.'),
        lastCrash: z.string().nullable().describe('Reason of the last one.'),
        startsAgainInMs: ms.nullable().describe('Until the next start. `null`: none waits.'),
      }),
    )
    .describe('Warm workers of each agent.'),
  zygotes: z
    .array(
      z.object({
        agent: z.string().describe('Name of the agent in the config.'),
        ready: z.number().describe('How many can fork a worker. Only the newest does.'),
        starting: z.number().describe("How many import the agent's file."),
        cold: z
          .string()
          .nullable()
          .describe(
            'Why workers of this agent start cold now. `null`: they are forked. Of a JavaScript agent: why they share no inference process.',
          ),
        old: z
          .string()
          .nullable()
          .describe(
            "Why the renewal of its zygote failed. Workers then have the agent's older code. `null`: it did not fail.",
          ),
      }),
    )
    .describe('Zygotes of each agent with `prefork`.'),
  removedAgents: z
    .object({
      watched: z.number().describe('Agents of ended sessions whose token is still valid.'),
      removedAgain: z.number().describe('How often one of them came back and was removed.'),
      roomsClosed: z.number().describe('Rooms that one of them had made alone, and that were closed.'),
      dropped: z.number().describe('Watches that ended early, because there were too many.'),
    })
    .nullable()
    .describe(
      "Agents that were removed from their room. Counts since the supervisor's start. `null`: no LiveKit.",
    ),
  registry: registry.describe('Whether the registry works.'),
  forwarding: z
    .object({
      to: z.enum(['stdout', 'journald']).describe('`logs.forward`.'),
      waitingBytes: z.number().describe('Lines that wait for the reader.'),
      dropped: dropped.describe("Since the supervisor's start."),
      workers: z
        .array(dropped.extend({ worker: z.string().describe('Id of the worker.') }))
        .describe('Living workers with dropped lines.'),
      error: z.string().nullable().describe('Why the last write failed. `null`: it did not.'),
    })
    .nullable()
    .describe('Forwarded lines of workers. `null`: off.'),
});

export type CapacityView = z.infer<typeof capacitySchema>;

/** Open to all. Only /v1/capacity names errors and paths. */
export const readySchema = z.object({
  ready: z.boolean().describe('Whether it takes sessions and can record them.'),
  accepting: z.boolean().describe('`false` while the supervisor stops or drains.'),
  livekit: livekit.omit({ error: true }).describe('Whether LiveKit answers.'),
  registry: registry.pick({ writable: true }).describe('Whether the registry works.'),
});

export type ReadyView = z.infer<typeof readySchema>;

export const reloadSchema = z.object({
  changed: z.array(z.string()).describe('Keys that apply from now on, to new sessions.'),
  restartNeeded: z.array(z.string()).describe('Changed keys that apply after the next restart.'),
});

export type ReloadView = z.infer<typeof reloadSchema>;

/** A problem document. Further fields carry the error's facts. Source: RFC 9457. */
export const problemSchema = z
  .object({
    type: z.string().describe('`urn:curfew:error:CODE`.'),
    title: z.string().describe('Meaning of the code.'),
    status: z.number().describe('HTTP status.'),
    code: z.string().describe('The code, see errors.md.'),
    detail: z.string().describe('The failure, with the value.'),
    hint: z.string().describe('What to do.'),
  })
  .loose();

export type Problem = z.infer<typeof problemSchema>;
