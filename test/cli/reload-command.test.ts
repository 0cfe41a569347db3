/** `curfew reload` prints the changes, or fails with the faults of the config. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CurfewError } from '../../src/lib/errors.ts';
import { cli } from '../support/api/command-line.ts';
import type { TestListeners } from '../support/api/listeners.ts';
import { openListeners } from '../support/api/listeners.ts';

let listeners: TestListeners;
beforeAll(async () => {
  listeners = await openListeners();
});
afterAll(() => listeners.close());

describe('the command curfew reload', () => {
  it('names the keys that changed and those that need a restart', async () => {
    const { code, out } = await cli(['--socket', listeners.socketPath, 'reload']);
    expect(code).toBe(0);
    expect(out).toBe('changed: agents.default\nafter the next restart (calls go on over it): listen\n');
    expect(listeners.api.requests).toMatchObject([{ what: 'reload', by: { kind: 'local' } }]);
  });

  it('exits with 2 and prints every line of the error', async () => {
    listeners.api.reload = async () => {
      throw new CurfewError('invalid_config', 'c.yaml:1: one\nc.yaml:2: two');
    };
    const { code, err } = await cli(['--socket', listeners.socketPath, 'reload']);
    expect(code).toBe(2);
    expect(err).toMatch(/^error: c\.yaml:1: one\nerror: c\.yaml:2: two\n/);
  });
});
