/** A reload of the config applies all or nothing, and names the keys that need a restart. */
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/adapters/config/config-file.ts';
import { liveConfig } from '../../../src/adapters/config/live-config.ts';
import { CurfewError } from '../../../src/lib/errors.ts';

const FIRST = 'state_dir: /a\nlimits: {sessions: 3}\nagents: {a: {command: [sh]}, b: {command: [sh]}}';

function reloadable(first: string) {
  const logged: string[] = [];
  const log = (level: string) => (_fields: object, message: string) =>
    void logged.push(`${level}: ${message}`);
  const file = { text: first };
  const read = () => parseConfig(file.text, { path: 'c.yaml', env: {} });
  const live = liveConfig(read(), {
    read,
    log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
  });
  return { file, live, logged };
}

describe('a reload of the config', () => {
  it('names the keys that hold now and those that need a restart, and leaves the latter unchanged', async () => {
    const { file, live } = reloadable(FIRST);
    expect(await live.reload()).toEqual({ changed: [], restartNeeded: [] });
    file.text =
      'state_dir: /b\nlog: {level: debug}\nlimits: {sessions: 4}\nagents: {a: {command: [sh, -x]}, c: {command: [sh]}}';
    const view = {
      changed: ['agents.a', 'agents.b', 'agents.c', 'limits'],
      restartNeeded: ['state_dir', 'log'],
    };
    expect(await live.reload()).toEqual(view);
    expect(live.current()).toMatchObject({ stateDir: '/a', log: { level: 'info' }, limits: { sessions: 4 } });
    expect(Object.keys(live.current().agents)).toEqual(['a', 'c']);
    expect(await live.reload()).toEqual({ changed: [], restartNeeded: ['state_dir', 'log'] });
  });

  it('refuses what a start logs as a warning, because the other agents must run', () => {
    const { logged } = reloadable('agents: {a: {command: [sh], cwd: /nowhere}, b: {command: [sh]}}');
    expect(logged).toEqual(['warn: agents.a.cwd: "/nowhere" is not a directory']);
  });

  it.each([
    ['limits: {sesions: 3}', 'did you mean "sessions"'],
    ['limits: {sessions: x', 'not valid YAML'],
    ['agents: {}', 'agents: the map is empty'],
    ['agents: {a: {command: [no-such-program-here]}}', '"no-such-program-here" is not found'],
  ])('changes nothing and reports the fault of %j', async (text, why) => {
    const { file, live, logged } = reloadable(FIRST);
    const before = live.current();
    file.text = text;
    const error = await live.reload().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CurfewError);
    expect(error).toMatchObject({ code: 'invalid_config', message: expect.stringContaining(why) });
    expect(live.current()).toBe(before);
    expect(logged).toEqual([
      'error: the reload failed: the new config has errors, and the current one stays',
    ]);
  });
});
