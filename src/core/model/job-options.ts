/** Options that a LiveKit job gives curfew: a `curfew` key in the metadata of the dispatch or the room, or attributes `curfew.*`. */
import type { Json, Metadata } from '../ids.ts';

/** The LiveKit job that asked for the session. Source: `Job` of the LiveKit agent protocol. */
export interface JobOrigin {
  readonly id: string;
  readonly agentName: string;
  /** As LiveKit gave it, or as it was changed before a caller's return, for an agent that reads its job's metadata. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** The rest of LiveKit's message, for the worker alone: it names rooms and people. Records of 0.1.0 lack it. */
  readonly message?: JobMessage;
}

/** LiveKit's `Job` as JSON, without the facts that `JobOrigin` has. Without `room`: the message was too large to keep it. */
export type JobMessage = Readonly<Record<string, Json>>;

export interface JobText {
  /** The dispatch's metadata: a JSON object, or any text. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly roomMetadata: string;
}

export interface JobOptions {
  /** The configuration that the agent reads, without the key `curfew`. */
  readonly metadata: Metadata;
  /** `user`, `labels`, `limits` as in a dispatch, not yet validated. */
  readonly curfew: Readonly<Record<string, unknown>>;
}

const KEY = 'curfew';
const PREFIX = 'curfew.';

/** The dispatch's metadata overrides its attributes, and both override the room's metadata. */
export function readJobOptions({ metadata, attributes, roomMetadata }: JobText): JobOptions {
  const said = objectIn(metadata);
  const room = objectIn(roomMetadata);
  const fromAttributes = Object.entries(attributes)
    .filter(([key]) => key.startsWith(PREFIX))
    .map(([key, value]) => [key.slice(PREFIX.length), readValue(value)] as const);
  return {
    metadata: said === null ? textMetadata(metadata) : withoutKey(said),
    curfew: { ...optionsIn(room), ...Object.fromEntries(fromAttributes), ...optionsIn(said) },
  };
}

/** The metadata of a job as its agent reads it. */
export function metadataText(metadata: Metadata): string {
  return Object.keys(metadata).length === 0 ? '' : JSON.stringify(metadata);
}

function optionsIn(value: Metadata | null): Record<string, unknown> {
  const options = value?.[KEY];
  return isObject(options) ? { ...options } : {};
}

/** Metadata that is no JSON object belongs to the agent and is passed on unchanged. */
function textMetadata(text: string): Metadata {
  return text === '' ? {} : { metadata: text };
}

function withoutKey({ [KEY]: _options, ...rest }: Metadata): Metadata {
  return rest;
}

function objectIn(text: string): Metadata | null {
  const value = parse(text);
  return isObject(value) ? value : null;
}

/** An attribute such as `{"maxDurationMs": 60000}` is JSON. An attribute such as `ann` is a text. */
function readValue(text: string): unknown {
  const value = parse(text);
  return isObject(value) ? value : text;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, Json> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
