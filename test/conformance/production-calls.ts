/** Ten kinds of calls of an agent of the usual shape: test/conformance/agents/production.*. */
import type { Scenario } from './scenarios.ts';
import { WAYS } from './ways.ts';

const call = (
  name: string,
  act: Scenario['act'],
  { after = 'returned', ...more }: Partial<Scenario> = {},
): Scenario => ({
  name: `production_${name}`,
  file: 'production',
  script: {},
  act,
  after,
  lookAfter: after === 'request' ? after : 'tool_begins',
  ...more,
});

const UNDER_CURFEW = WAYS.filter((way) => way !== 'livekit');

export const PRODUCTION: readonly Scenario[] = [
  call('hang_up', 'hang_up'),
  call('recording', 'hang_up', { script: { record: true } }),
  call('closed', 'none', { script: { closed: true }, after: 'request', hasJob: false }),
  call('reload', 'reload', { next: ['dispatch-cold', 'dispatch-warm', 'dispatch-forked'], roomStaysS: 15 }),
  call('release', 'release'),
  call('deletes_room', 'none', { script: { last: 'delete_room' }, after: 'tool_ends' }),
  call('sip_hang_up', 'hang_up', { callerKind: 'sip' }),
  call('crash', 'wait', { script: { last: 'crash' }, after: 'tool_ends', next: UNDER_CURFEW, dies: true }),
  call('exception', 'none', { script: { last: 'raise' }, after: 'tool_ends' }),
  call('max_duration', 'max_duration'),
  call('supervisor_killed', 'kill_supervisor', { alone: true }),
  call('livekit_restarted', 'restart_livekit', { alone: true }),
];
