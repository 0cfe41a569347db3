/** Texts that come from outside, and what they may be. */
import { z } from 'zod';
import { TEXT } from '../lib/limits/api-limits.ts';
import { CLEANUP } from '../lib/limits/cleanup-limits.ts';

export const upTo = (max: number) => z.string().max(max, `must have at most ${max} characters`);

/** Printable, no control characters: room names may be unicode, but never end a log line or a terminal's. */
export const printable = (max: number) =>
  upTo(max)
    .min(1, 'must not be empty')
    .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, 'must not contain control characters');

export const idText = upTo(TEXT.idChars)
  .min(1, 'must not be empty')
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._:-]*$/,
    'must be letters, digits, ".", "_", ":" or "-", and begin with a letter or digit',
  );

/** A part of a command line; `*` stands for anything between two parts. */
export const patternText = printable(CLEANUP.patternChars).refine(
  (value) => value.replaceAll('*', '').trim().length >= CLEANUP.patternLeastChars,
  `must have at least ${CLEANUP.patternLeastChars} characters beside *`,
);
