/** The `env_file` of an agent: the start and each dispatch name a fault, and a mended file helps. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Daemon } from '../support/daemon/daemon.ts';

let daemon: Daemon;
afterEach(() => daemon?.close());

const SECRET = 'sk-very-secret';

it('a missing or wrong env_file is named at the start and at each dispatch without its values, and a mended one counts at once', async () => {
  const agent = { command: ['sh', '-c', 'test "$KEY" = fine && exec sleep 1000'] };
  daemon = new Daemon({
    config: {
      agents: {
        wrong: { ...agent, env_file: 'wrong.env' },
        missing: { ...agent, env_file: 'missing.env' },
        default: { command: ['sleep', '1000'] },
      },
    },
  });
  const wrong = join(daemon.dir, 'wrong.env');
  const missing = join(daemon.dir, 'missing.env');
  writeFileSync(wrong, `KEY=fine\nexport ${SECRET}\n`);
  await daemon.start();
  expect(daemon.stderr).toContain('agents.wrong.env_file');
  expect(daemon.stderr).toMatch(/agents\.missing\.env_file: .*ENOENT/);

  const { body: other } = await daemon.dispatch({ room: 'other' });
  expect(await daemon.reaches(other.id, ['live'])).toMatchObject({ reason: null });
  for (const [agentName, path, fault] of [
    ['wrong', wrong, 'line 2 is not NAME=value'],
    ['missing', missing, 'ENOENT'],
  ] as const) {
    const { body } = await daemon.dispatch({ room: agentName, agent: agentName });
    const ended = await daemon.ended(body.id);
    expect(ended).toMatchObject({ state: 'failed', reason: 'crashed', evidence: { cause: 'spawn_failed' } });
    expect(ended.evidence?.detail).toContain(`env_file: "${path}" cannot be read: `);
    expect(ended.evidence?.detail).toContain(fault);
    expect(ended.evidence?.detail).toContain('correct the file, or remove the key');
  }
  const refused = await daemon.call('POST', '/v1/reload', {});
  expect([refused.status, refused.body]).toMatchObject([400, { code: 'invalid_config' }]);
  expect(JSON.stringify(refused.body)).toContain('line 2 is not NAME=value');

  for (const path of [wrong, missing]) writeFileSync(path, 'KEY=fine\n');
  expect((await daemon.call('POST', '/v1/reload', {})).status).toBe(200);
  for (const agentName of ['wrong', 'missing']) {
    const { body } = await daemon.dispatch({ room: agentName, agent: agentName });
    await daemon.reaches(body.id, ['live']);
  }
  expect(daemon.stderr + JSON.stringify(refused.body)).not.toContain(SECRET);
});
