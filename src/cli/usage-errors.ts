/** What a person typed wrong: named by its flag, whether the command line or the supervisor found it. */
import { CurfewError } from '../lib/errors.ts';

/** Field of the API → what is typed for it. */
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

/** `hint`: what to do now. */
export function usage(detail: string, hint = 'See --help for what it takes.'): CurfewError {
  return new CurfewError('invalid_request', detail, { hint });
}

/** The supervisor's answer in the words of the command line; the error as it is where it names no field. */
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
