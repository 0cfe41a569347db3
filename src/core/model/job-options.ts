/** What a LiveKit job says of how curfew should run it: a `curfew` key in the dispatch's or the room's metadata, or attributes `curfew.*`. */
import type { Json, Metadata } from '../ids.ts';

/** The LiveKit job that asked for the session. Source: `Job` of the LiveKit agent protocol. */
export interface JobOrigin {
  readonly id: string;
  readonly agentName: string;
  /** As LiveKit gave it, for an agent that reads its job's metadata. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export interface JobText {
  /** Of the dispatch: JSON with an object, or any text. */
  readonly metadata: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly roomMetadata: string;
}

export interface JobOptions {
  /** What the agent reads as its configuration, without the key `curfew`. */
  readonly metadata: Metadata;
  /** `user`, `labels`, `limits` as in a dispatch, not yet validated. */
  readonly curfew: Readonly<Record<string, unknown>>;
}

const KEY = 'curfew';
const PREFIX = 'curfew.';

/** The dispatch's own word counts before its attributes, and both before the room's. */
export function readJobOptions({ metadata, attributes, roomMetadata }: JobText): JobOptions {
  const said = objectIn(metadata);
  const room = objectIn(roomMetadata);
  const fromAttributes = Object.entries(attributes)
    .filter(([key]) => key.startsWith(PREFIX))
    .map(([key, value]) => [key.slice(PREFIX.length), readValue(value)] as const);
  return {
    metadata: said === null ? textMetadata(metadata) : withoutKey(said),
    curfew: { ...wishesIn(room), ...Object.fromEntries(fromAttributes), ...wishesIn(said) },
  };
}

function wishesIn(value: Metadata | null): Record<string, unknown> {
  const wishes = value?.[KEY];
  return isObject(wishes) ? { ...wishes } : {};
}

/** Metadata that is no JSON object is the agent's own affair: handed on as it is. */
function textMetadata(text: string): Metadata {
  return text === '' ? {} : { metadata: text };
}

function withoutKey({ [KEY]: _wishes, ...rest }: Metadata): Metadata {
  return rest;
}

function objectIn(text: string): Metadata | null {
  const value = parse(text);
  return isObject(value) ? value : null;
}

/** `{"maxDurationMs": 60000}` as an attribute is JSON, `ann` is a text. */
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
