/** The printed pages say what the code says, and name it as the code does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandsOf, makeProgram } from '../../scripts/cli-reference.ts';
import { routes } from '../../scripts/http-reference.ts';
import { LIMIT_NAMES } from '../../scripts/limit-names.ts';
import { PRINTED_PAGES } from '../../scripts/printed-pages.ts';
import { parseConfig } from '../../src/adapters/config/config-file.ts';
import type { SupervisorApi } from '../../src/api/supervisor-api.ts';
import { makeApp } from '../../src/http/make-app.ts';
import { writeDuration } from '../../src/lib/durations.ts';
import type { LimitName } from '../../src/lib/limits/session-limits.ts';
import { LIMIT_RANGES } from '../../src/lib/limits/session-limits.ts';
import { ROOT } from '../support/daemon/daemon.ts';
import { SILENT } from '../support/lib/test-logs.ts';

it.each(Object.entries(PRINTED_PAGES))('%s is what the code says (npm run docs)', (path, print) => {
  expect(readFileSync(join(ROOT, path), 'utf8')).toBe(print());
});

describe('the HTTP page', () => {
  it('has every route of the OpenAPI document, and no other', async () => {
    const app = await makeApp({ api: {} as SupervisorApi, log: SILENT, listener: { kind: 'socket' } });
    const { paths = {} } = app.swagger() as { paths?: Record<string, object> };
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    await app.close();
    expect(
      routes()
        .map(({ method, path }) => `${method} ${path}`)
        .sort(),
    ).toEqual(documented.sort());
  });
});

describe.each(Object.entries(LIMIT_NAMES))('the limit %s', (limit, { config, option }) => {
  const key = limit as LimitName;
  const [least] = LIMIT_RANGES[key];

  it(`is ${config} in the config`, () => {
    const value = key === 'errorLimit' ? String(least) : writeDuration(least);
    const text = `agents: { a: { command: [x], ${config}: ${value} } }`;
    const { agents } = parseConfig(text, { path: 'curfew.yaml', env: {} });
    expect(agents.a?.limits[key]).toBe(least);
  });

  it(`is ${option} on the command line`, () => {
    const commands = commandsOf(makeProgram());
    for (const name of ['dispatch', 'run'])
      expect(commands.get(name)?.options.map((one) => one.long)).toContain(option);
  });
});
