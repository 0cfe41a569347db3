/** Rules for texts in requests and in the config. */
import { z } from 'zod';
import { TEXT } from '../lib/limits/api-limits.ts';
import { CLEANUP } from '../lib/limits/cleanup-limits.ts';

export const upTo = (max: number) => z.string().max(max, `must have at most ${max} characters`);

/** Any Unicode text without control characters, because these would break a log line or a terminal. */
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

/** A part of a command line. `*` stands for any text. */
export const patternText = printable(CLEANUP.patternChars).refine(
  (value) => value.replaceAll('*', '').trim().length >= CLEANUP.patternLeastChars,
  `must have at least ${CLEANUP.patternLeastChars} characters without *`,
);
