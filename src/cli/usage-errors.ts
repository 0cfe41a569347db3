/** Errors in a command line. They name the option, even if the supervisor found the error. */
import { CurfewError } from '../lib/errors.ts';

/** Field of the API → option of the command line. */
const FLAGS: Readonly<Record<string, string>> = {
  room: '--room',
  agent: '--agent',
  user: '--user',
  id: '--id',
  metadata: '--metadata',
  label: '--label',
  labels: '--label',
  limit: '--limit',
  state: '--state',
  detail: '--reason',
  forMs: '--for',
  timeoutMs: '--timeout',
  tailBytes: '--tail-bytes',
  match: '--match',
  plan: '--apply',
};

/** `hint`: the next step for the person. */
export function usage(detail: string, hint = 'See --help for the options.'): CurfewError {
  return new CurfewError('invalid_request', detail, { hint });
}

/** The supervisor's error with options in place of fields. An error without a field stays unchanged. */
export function inFlags(error: CurfewError): string {
  const { issues } = error.facts;
  if (error.code !== 'invalid_request' || !Array.isArray(issues)) return error.message;
  return (issues as { field: unknown; message: unknown }[])
    .map(({ field, message }) => `${flagOf(String(field))}: ${String(message)}`)
    .join('\n');
}

function flagOf(field: string): string {
  const [first = '', ...rest] = field.replace(/^(filter|unmanaged)\./, '').split('.');
  if (!Object.hasOwn(FLAGS, first)) return field === '' ? 'the request' : field;
  return [FLAGS[first], ...rest].join(' ');
}
