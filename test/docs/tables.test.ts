/** Pages that are written by hand and name what the code decides: the state directory, the control protocol and the tested versions. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ensureAdminToken, LOCK_FILE, openInstance } from '../../src/adapters/registry/instance-dir.ts';
import { REGISTRY_FILE } from '../../src/adapters/registry/registry-client.ts';
import { folderOf } from '../../src/adapters/worker/folder/worker-folder.ts';
import { workerId } from '../../src/core/ids.ts';
import { supervisorMessageSchema, workerMessageSchema } from '../../src/core/model/control-protocol.ts';
import { STAND_IN } from '../../src/lib/limits/livekit-limits.ts';
import { STATE_FILES } from '../../src/lib/limits/storage-limits.ts';
import { CHANNEL } from '../../src/lib/limits/worker-limits.ts';
import { ROOT } from '../support/daemon/daemon.ts';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Names in code in the first column of every table. */
function firstColumn(text: string): Set<string> {
  const cells = text.split('\n').flatMap((line) => /^\| ([^|]+) \|/.exec(line)?.[1] ?? []);
  const names = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? ''));
  return new Set(names.map((name) => name.replace(/\/$/, '')));
}

describe('docs/reference/state-directory.md', () => {
  const listed = firstColumn(read('docs/reference/state-directory.md'));

  it('lists every name that the code knows in a state directory', () => {
    const known = [
      ...Object.values(STATE_FILES),
      CHANNEL.socketName,
      STAND_IN.portFile,
      REGISTRY_FILE,
      LOCK_FILE,
    ];
    expect(known.filter((name) => !listed.has(name))).toEqual([]);
  });

  it('lists every file that a start creates', () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-docs-'));
    try {
      const { release } = openInstance(dir);
      ensureAdminToken(dir);
      expect(readdirSync(dir).filter((name) => !listed.has(name))).toEqual([]);
      release();
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it("lists every file of a worker's folder", () => {
    const { path, ...files } = folderOf('/workers', workerId('a.1'));
    const names = [...Object.values(files).map((file) => file.slice(path.length + 1)), STAND_IN.jobFile];
    expect(names.filter((name) => !listed.has(name))).toEqual([]);
  });
});

describe('docs/reference/control-protocol.md', () => {
  const page = read('docs/reference/control-protocol.md');
  const rowsUnder = (heading: string) => {
    const [, section = ''] = page.split(`## ${heading}\n`);
    const [own = ''] = section.split('\n## ');
    return [...own.matchAll(/^\| `(\w+)(?: \{([^}]*)\})?` \|/gm)].map(([, type, fields = '']) => ({
      type,
      fields: fields.split(/[?, ]+/).filter((name) => name !== ''),
    }));
  };

  it.each([
    ['What the worker sends', workerMessageSchema],
    ['What curfew sends', supervisorMessageSchema],
  ] as const)('has every message under "%s", with its fields, and no other', (heading, schema) => {
    const known = schema.options.map(({ shape }) => {
      const { type, v: _version, ...fields } = shape as Record<string, unknown> & { type: { value: string } };
      return { type: type.value, fields: Object.keys(fields) };
    });
    const byType = (a: { type: string | undefined }, b: { type: string | undefined }) =>
      (a.type ?? '').localeCompare(b.type ?? '');
    expect(rowsUnder(heading).sort(byType)).toEqual(known.sort(byType));
  });
});

describe('docs/reference/frameworks.md', () => {
  const rows = read('docs/reference/frameworks.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  const tested = (what: string) => rows.find((row) => row[1]?.includes(what))?.[2];
  const { devDependencies } = JSON.parse(read('package.json')) as {
    devDependencies: Record<string, string>;
  };
  const python = (name: string) =>
    new RegExp(`'${name}==([^']+)'`).exec(read('scripts/python-agents.mjs'))?.[1];

  it.each([
    ['Node that runs curfew', devDependencies.node],
    ['`@livekit/agents`)', devDependencies['@livekit/agents']],
    ['`@livekit/rtc-node`', devDependencies['@livekit/rtc-node']],
    ['`livekit-agents`', python('livekit-agents')],
    ['`pipecat-ai`', python('pipecat-ai')],
    ['LiveKit server', /VERSION = 'v([^']+)'/.exec(read('scripts/livekit-binary.mjs'))?.[1]],
  ])('names the version of %s that is pinned', (what, pinned) => {
    expect(pinned).toBeDefined();
    expect(tested(what)).toBe(pinned);
  });

  it('names the server version that the stand-in tells to agents', () => {
    expect(tested('LiveKit server')).toBe(STAND_IN.serverVersion);
  });

  it('names the Debian whose systemd is booted', () => {
    const suite = /SUITE = '([^']+)'/.exec(read('scripts/debian-tree.mjs'))?.[1];
    expect(tested('systemd')).toContain(suite);
  });
});
