/** The printed pages of docs/reference/: path → text. `npm run docs` writes them, a test compares them. */
import { cliReference } from './cli-reference.ts';
import { configReference } from './config-reference.ts';
import { httpReference } from './http-reference.ts';
import { reasonsReference } from './reasons-reference.ts';

export const PRINTED_PAGES: Readonly<Record<string, () => string>> = {
  'docs/reference/cli.md': cliReference,
  'docs/reference/config.md': configReference,
  'docs/reference/http-api.md': httpReference,
  'docs/reference/reasons.md': reasonsReference,
};
