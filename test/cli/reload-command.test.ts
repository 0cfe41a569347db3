/** `curfew reload` says what happened, and fails with what is wrong. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CurfewError } from '../../src/lib/errors.ts';
import type { Doors } from '../support/listeners.ts';
import { openDoors } from '../support/listeners.ts';
import { cli } from '../support/terminal.ts';

let doors: Doors;
beforeAll(async () => {
  doors = await openDoors();
});
afterAll(() => doors.close());

describe('curfew reload', () => {
  it('names what changed and what needs a restart', async () => {
    const { code, out } = await cli(['--socket', doors.socketPath, 'reload']);
    expect(code).toBe(0);
    expect(out).toBe('changed: agents.default\nafter the next restart (calls go on over it): listen\n');
    expect(doors.api.asked.at(-1)).toMatchObject({ what: 'reload', by: { kind: 'local' } });
  });

  it('exits with 2 and every line of the error', async () => {
    doors.api.reload = async () => {
      throw new CurfewError('invalid_config', 'c.yaml:1: one\nc.yaml:2: two');
    };
    const { code, err } = await cli(['--socket', doors.socketPath, 'reload']);
    expect(code).toBe(2);
    expect(err).toMatch(/^error: c\.yaml:1: one\nerror: c\.yaml:2: two\n/);
  });
});
