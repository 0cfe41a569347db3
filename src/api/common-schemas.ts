/** Schemas that several files use. */
import { z } from 'zod';
import { FAILED_REASONS, RELEASED_REASONS } from '../core/model/reasons.ts';
import { TEXT } from '../lib/limits/api-limits.ts';

export const time = z.iso.datetime();

export const ms = z.number();

export const metadataSchema = z
  .record(z.string(), z.json())
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= TEXT.metadataBytes,
    `must be at most ${TEXT.metadataBytes} bytes as JSON`,
  );

export const stateSchema = z.enum(['queued', 'starting', 'live', 'closing', 'released', 'failed']);

export const reasonSchema = z.enum([...RELEASED_REASONS, ...FAILED_REASONS]);
