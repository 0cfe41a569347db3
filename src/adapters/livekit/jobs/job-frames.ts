/** Parses and builds the JSON frames of LiveKit's agent protocol. Source: `ServerMessage` and `WorkerMessage` of its protocol. */
import { Job } from '@livekit/protocol';
import { z } from 'zod';
import type { Json } from '../../../core/ids.ts';
import type { JobMessage } from '../../../core/model/job-options.ts';
import { JOBS } from '../../../lib/limits/livekit-limits.ts';
import type { JobAnswer, JobLoad, JobStatus } from '../../../ports/jobs.ts';

/** The server omits empty fields. Newer servers may send more fields, which are ignored. */
const jobSchema = z.object({
  id: z.string().min(1),
  dispatchId: z.string().default(''),
  type: z.union([z.string(), z.number()]).default('JT_ROOM'),
  room: z
    .object({
      name: z.string().min(1),
      sid: z.string().default(''),
      metadata: z.string().default(''),
    })
    .optional(),
  metadata: z.string().default(''),
  attributes: z.record(z.string(), z.string()).default({}),
});

const frameSchema = z.object({
  register: z
    .object({
      serverInfo: z
        .object({ agentProtocol: z.number().default(0), version: z.string().default('') })
        .optional(),
    })
    .optional(),
  availability: z.object({ job: jobSchema }).optional(),
  /** Its token and url are ignored: our workers get a token of their own. */
  assignment: z.object({ job: z.object({ id: z.string().min(1) }) }).optional(),
  termination: z.object({ jobId: z.string().min(1) }).optional(),
});

/** `message`: the rest of LiveKit's message. The worker gets all of it. */
export type OfferedJob = z.infer<typeof jobSchema> & { readonly message: JobMessage };

export type ServerFrame =
  | { readonly type: 'register'; readonly agentProtocol: number; readonly version: string }
  | { readonly type: 'availability'; readonly job: OfferedJob }
  | { readonly type: 'assignment'; readonly jobId: string }
  | { readonly type: 'termination'; readonly jobId: string }
  /** A valid frame that curfew does not use. */
  | { readonly type: 'other' };

/** `null`: the text is not a frame. */
export function readFrame(text: string): ServerFrame | null {
  const json = parseJson(text);
  const frame = frameSchema.safeParse(json).data;
  if (frame === undefined) return null;
  const { register, availability, assignment, termination } = frame;
  if (register !== undefined) {
    const { agentProtocol = 0, version = '' } = register.serverInfo ?? {};
    return { type: 'register', agentProtocol, version };
  }
  if (availability !== undefined)
    return { type: 'availability', job: { ...availability.job, message: jobMessageOf(json) } };
  if (assignment !== undefined) return { type: 'assignment', jobId: assignment.job.id };
  if (termination !== undefined) return { type: 'termination', jobId: termination.jobId };
  return { type: 'other' };
}

const offerSchema = z.object({ availability: z.object({ job: z.record(z.string(), z.json()) }) });

/** Bounded, because each record of the session has it. Without the room the worker's job gets LiveKit's room of that moment. */
function jobMessageOf(json: unknown): JobMessage {
  const offer = offerSchema.safeParse(json).data;
  if (offer === undefined || !isJob(offer.availability.job)) return {};
  const { id: _id, metadata: _metadata, attributes: _attributes, ...message } = offer.availability.job;
  if (isSmall(message)) return message;
  const { room: _room, participant: _participant, ...rest } = message;
  return isSmall(rest) ? rest : {};
}

function isJob(json: JobMessage): boolean {
  try {
    Job.fromJson({ ...json }, { ignoreUnknownFields: true });
    return true;
  } catch {
    return false;
  }
}

function isSmall(message: Readonly<Record<string, Json>>): boolean {
  return Buffer.byteLength(JSON.stringify(message)) <= JOBS.messageBytes;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export type WorkerFrame =
  | { readonly register: object }
  | { readonly updateWorker: object }
  | { readonly availability: object }
  | { readonly updateJob: object };

/** The permissions of an agent in its room. */
const PERMISSIONS = { canSubscribe: true, canPublish: true, canPublishData: true, canUpdateMetadata: true };

export function registerFrame({ agentName, version }: { agentName: string; version: string }): WorkerFrame {
  return { register: { type: 'JT_ROOM', agentName, version, allowedPermissions: PERMISSIONS } };
}

export function loadFrame({ load, full, jobs }: JobLoad): WorkerFrame {
  const scaled = Math.min(1, Math.max(0, load)) * JOBS.loadMost;
  return { updateWorker: { status: full ? 'WS_FULL' : 'WS_AVAILABLE', load: scaled, jobCount: jobs } };
}

export function answerFrame(jobId: string, answer: JobAnswer): WorkerFrame {
  if (!answer.accepted) {
    const terminate = answer.isFinal === true ? { terminate: true } : {};
    return { availability: { jobId, available: false, ...terminate } };
  }
  // With the identity the server connects the participant to its job.
  const participant = {
    participantIdentity: answer.identity,
    participantName: answer.name,
    ...(answer.metadata !== undefined && { participantMetadata: answer.metadata }),
    ...(answer.attributes !== undefined && { participantAttributes: answer.attributes }),
  };
  return { availability: { jobId, available: true, ...participant } };
}

const STATUS = { running: 'JS_RUNNING', success: 'JS_SUCCESS', failed: 'JS_FAILED' } as const;

export function reportFrame(jobId: string, report: { status: JobStatus; error: string | null }): WorkerFrame {
  return { updateJob: { jobId, status: STATUS[report.status], error: report.error ?? '' } };
}
