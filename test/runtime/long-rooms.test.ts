/** Rooms with more than 256 bytes in their name, into which LiveKit lets nobody, and LiveKit that does not describe a room. */
import { expect, it } from 'vitest';
import type { Job } from '../../src/ports/jobs.ts';
import type { Log } from '../../src/ports/log.ts';
import type { Rooms } from '../../src/ports/rooms.ts';
import type { JobSourceOptions } from '../../src/runtime/dispatch/job-source.ts';
import { JobSource } from '../../src/runtime/dispatch/job-source.ts';
import type { RoomSourceOptions } from '../../src/runtime/dispatch/room-source.ts';
import { RoomSource } from '../../src/runtime/dispatch/room-source.ts';
import { makeAgentJob } from '../../src/runtime/workers/agent-job-message.ts';
import { Play, profile } from '../core/support.ts';
import { SILENT } from '../support/lib/test-logs.ts';

const LONG = '\u{1F600}'.repeat(128);
const settled = () => new Promise((resolve) => setImmediate(resolve));

function setUp() {
  const logged: unknown[] = [];
  const dispatched: unknown[] = [];
  const refused: string[] = [];
  const note = (...line: unknown[]) => void logged.push(line);
  const log: Log = { ...SILENT, warn: note, error: note };
  const voice = profile({ agentName: 'voice', rooms: '*' });
  const options = {
    deps: {
      log,
      agents: ['default'],
      profileOf: () => voice,
      clock: { now: () => ({ bootMs: 0, wallMs: 0 }) },
    },
    sessions: { all: () => [] },
    roomRouter: null,
    dispatcher: { dispatch: async (request: unknown) => void dispatched.push(request) },
    onRefused: (room: string) => void refused.push(room),
  };
  return { options, logged, dispatched, refused };
}

it('a LiveKit job for such a room is refused, and nothing is dispatched', async () => {
  const { options, dispatched } = setUp();
  const source = new JobSource(options as unknown as JobSourceOptions);
  const job = {
    id: 'AJ_1',
    agentName: 'voice',
    metadata: '',
    attributes: {},
    room: { name: LONG, metadata: '' },
  };
  expect(await source.offered(job as unknown as Job)).toEqual({ accepted: false, why: 'invalid_request' });
  expect(dispatched).toEqual([]);
});

it('such a room with a matching name gets no session, and curfew says so once, without the name', async () => {
  const { options, logged, dispatched, refused } = setUp();
  const source = new RoomSource(options as unknown as RoomSourceOptions);
  for (let poll = 0; poll < 3; poll += 1) {
    source.found({ project: 'default', name: LONG }, 'RM_1');
    await settled();
  }
  expect(dispatched).toEqual([]);
  expect(refused).toEqual([]);
  expect(logged).toHaveLength(1);
  expect(JSON.stringify(logged)).not.toContain('\u{1F600}');
});

it('a LiveKit that does not describe the room in time leaves the job with what curfew knows', async () => {
  const { session } = Play.live();
  const rooms: Partial<Rooms> = { describe: () => Promise.reject(new Error('no answer in time')) };
  const { message } = await makeAgentJob(session, rooms as Rooms);
  expect(message).toEqual({ room: { name: session.spec.room.name, sid: session.presence.roomSid ?? '' } });
});
