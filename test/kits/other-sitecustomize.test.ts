/** The Python launcher beside a tool of observability, which has a sitecustomize, too. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const LAUNCH = join(ROOT, 'kits/python/launch');
const AGENT = `
import os, subprocess, sys
print(sys.argv[1:], "launcher", hasattr(sys, "_curfew_launch"), "tool", os.environ.get("TOOL"), flush=True)
print("finders", sum(one.__name__ == "_Finder" for one in sys.meta_path if isinstance(one, type)), flush=True)
if sys.argv[1:] == ["main"]: subprocess.run([sys.executable, __file__, "job"])
`;
/** As \`opentelemetry-instrument\` and \`ddtrace-run\` begin. */
const WRAPPER = `
import os, sys
os.environ["PYTHONPATH"] = sys.argv[1] + os.pathsep + os.environ["PYTHONPATH"]
os.execl(sys.executable, sys.executable, *sys.argv[2:])
`;
const TOOL = `
import os
os.environ["TOOL"] = os.environ.get("TOOL", "") + "+"
here = os.path.dirname(__file__)
os.environ["PYTHONPATH"] = os.pathsep.join([here] + [one for one in os.environ["PYTHONPATH"].split(os.pathsep) if one != here])
`;
/** It runs the sitecustomize that it hides, as that of \`ddtrace-run\` does. */
const POLITE_TOOL = `${TOOL}
import sys
sys.path.remove(here)
own = sys.modules.pop("sitecustomize")
import sitecustomize
sys.path.insert(0, here)
`;

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'curfew-sitecustomize-'));
  mkdirSync(join(dir, 'tool'));
  writeFileSync(join(dir, 'agent.py'), AGENT);
  writeFileSync(join(dir, 'wrapper.py'), WRAPPER);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

it.each([
  ['hides the launcher', TOOL],
  ['runs what it hides', POLITE_TOOL],
])('a tool that %s: both are loaded once in the agent, and once in its job process', (_what, tool) => {
  writeFileSync(join(dir, 'tool/sitecustomize.py'), tool);
  const args = ['wrapper.py', join(dir, 'tool'), 'agent.py', 'main'];
  const { stdout, stderr } = spawnSync('python3', args, {
    cwd: dir,
    env: { PATH: process.env.PATH, PYTHONPATH: LAUNCH },
    encoding: 'utf8',
  });
  expect(stdout.trim().split('\n'), stderr).toEqual([
    "['main'] launcher True tool +",
    'finders 1',
    "['job'] launcher True tool ++",
    'finders 1',
  ]);
});
