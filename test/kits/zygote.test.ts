/** The parts of a Python zygote alone: what makes a process unfit to be forked, and the environment of a forked worker. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/daemon/daemon.ts';

const LAUNCH = join(ROOT, 'kits/python/launch');

/** Runs Python code with the launcher's modules on its path, and returns its output. */
function python(code: string, env: Record<string, string> = {}): string {
  const { stdout, stderr, status } = spawnSync('python3', ['-c', code], {
    encoding: 'utf8',
    timeout: 30_000,
    env: { PATH: process.env.PATH ?? '', PYTHONPATH: LAUNCH, LC_ALL: 'C.UTF-8', ...env },
  });
  expect(status, stderr).toBe(0);
  return stdout.trim();
}

const check = (before: string) =>
  python(`
import os, socket, subprocess, threading
# The test runner passes on descriptors of its own.
os.closerange(3, 256)
helper = None
${before}
from curfew_launch import fork_check
print(fork_check.why_not(), flush=True)
if helper: helper.kill()
os._exit(0)`);

it.each([
  ['nothing', '', /^None$/],
  [
    'a thread',
    't = threading.Thread(target=threading.Event().wait, name="poller"); t.start()',
    /thread \(poller\)/,
  ],
  [
    'a listening socket',
    's = socket.create_server(("127.0.0.1", 0))',
    /listening socket on 127\.0\.0\.1:\d+/,
  ],
  [
    'a connection',
    's = socket.create_server(("127.0.0.1", 0)); c = socket.create_connection(s.getsockname()); p = s.accept(); s.close()',
    /a connection to 127\.0\.0\.1:\d+/,
  ],
  [
    'a connected UDP socket',
    's = socket.socket(type=socket.SOCK_DGRAM); s.connect(("127.0.0.1", 9))',
    /UDP socket to/,
  ],
  ['a pair of Unix sockets', 'a, b = socket.socketpair()', /a Unix socket/],
  ['a pipe', 'a, b = os.pipe()', /a pipe/],
  [
    'a pipe of its parent alone',
    'a, b = os.pipe(); os.set_inheritable(a, True); child = os.fork(); child and (os.waitpid(child, 0), os._exit(0))',
    /^None$/,
  ],
  [
    'a child process',
    'helper = subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)',
    /a child process/,
  ],
  [
    'a file for writing',
    'f = open("/dev/shm/curfew-test-%d" % os.getpid(), "w"); os.unlink(f.name)',
    /for writing/,
  ],
  ['a file for reading', 'f = open("/proc/self/stat")', /^None$/],
  ['a socket that is not connected', 's = socket.socket()', /^None$/],
  ['an event loop', 'import asyncio; loop = asyncio.new_event_loop()', /eventpoll|a Unix socket/],
])('workers of an agent whose import leaves %s are forked or start cold', (_what, before, expected) => {
  expect(check(before)).toMatch(expected);
});

it('a forked worker shows its own mark and has its own variables, whatever their length', () => {
  const out = python(
    `
import os, subprocess, sys
from curfew_launch import env_area
env_area.replace({"A": "x" * 5000, "CURFEW_WORKER": "i/" + "w" * 150, "B": "2", "PATH": os.environ["PATH"]}, "CURFEW_WORKER")
shown = open("/proc/self/environ").read().split("\\0")
child = subprocess.run(["env"], capture_output=True, text=True).stdout.splitlines()
print(shown[0] == "CURFEW_WORKER=i/" + "w" * 150, "B=2" in shown, os.environ["A"] == "x" * 5000)
print("B=2" in child, "A=" + "x" * 5000 in child, any(one.startswith("OLD") for one in child), os.environ.get("OLD"))`,
    { OLD: 'old', PADDING: 'p'.repeat(400), CURFEW_WORKER: 'i/zygote' },
  );
  expect(out).toBe('True True True\nTrue True False None');
});

it('a forked worker keeps the variables that the import set, and none of the zygote', () => {
  const out = python(
    `
import os
from curfew_launch import own_variables
os.environ["SET"] = "by the import"
del os.environ["REMOVED"]
os.environ["CURFEW_TOKEN"] = "changed"
print(own_variables.carried_over({"CURFEW_TOKEN": "of the worker", "REMOVED": "1", "KEPT": "new"}))`,
    { KEPT: 'old', REMOVED: '1', CURFEW_TOKEN: 'of the zygote', ZYGOTE_ONLY: '1' },
  );
  expect(out).toBe("{'CURFEW_TOKEN': 'of the worker', 'KEPT': 'new', 'SET': 'by the import'}");
});

it('an import that overwrites the environment area makes the workers start cold', () => {
  const checked = (overwritten: string) =>
    python(
      `
import ctypes, os
os.closerange(3, 256)
from curfew_launch import env_area, fork_check
start, size = env_area.bounds()
ctypes.memmove(start, ${overwritten}, size)
print(fork_check.why_not())`,
      { CURFEW_WORKER: 'i/zygote-1.1' },
    );
  expect(checked('b"my-agent: waits" + b"\\0" * size')).toMatch(/setproctitle/);
  expect(checked('start')).toBe('None');
});

it('a forked worker has its own keys, and the address that curfew has now', () => {
  const own = (port: number, key: string) => ({
    CURFEW_LIVEKIT_URL: `ws://127.0.0.1:${port}`,
    CURFEW_LIVEKIT_API_KEY: key,
    CURFEW_LIVEKIT_API_SECRET: 's',
  });
  const out = python(
    `
import os
from curfew_launch import own
os.environ.update(${JSON.stringify(own(2, 'of the worker'))})
own.reload()
print(own.URL, own.KEY, own.OWN["LIVEKIT_URL"])`,
    own(1, 'of the zygote'),
  );
  expect(out).toBe('ws://127.0.0.1:2 of the worker ws://127.0.0.1:2');
});

it('the children of a forked worker get its own keys, also when the real ones have changed since the zygote began', () => {
  const names = ['LIVEKIT_URL', 'LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET'];
  const values = (prefix: string, value: string) =>
    Object.fromEntries(names.map((name) => [`${prefix}${name}`, value]));
  const out = python(
    `
import os
from curfew_launch import child_env, own
child_env.show(${JSON.stringify(values('', 'old'))})
os.environ.update(${JSON.stringify(values('', 'own'))})
child_env.show(${JSON.stringify(values('', 'new'))})
print(os.environ["LIVEKIT_API_KEY"], child_env.for_child(os.environ)["LIVEKIT_API_KEY"])`,
    { ...values('CURFEW_', 'own'), ...values('', 'own') },
  );
  expect(out).toBe('new own');
});

it('each of a hundred forks becomes a worker whose status is written, and none stays below the zygote', () => {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-forks-'));
  try {
    const out = python(`
import os, sys, time
from functools import partial
from curfew_launch import forked
pause = partial(time.sleep, 0.01)
folders = []
for number in range(100):
    folder = os.path.join(${JSON.stringify(dir)}, str(number))
    os.mkdir(folder)
    for name in ("order", "log"):
        open(os.path.join(folder, name), "w").close()
    folders.append(folder)
    order = {"folder": folder, "cwd": "/", "umask": "022", "maxFileBytes": 1 << 20, "bootId": "b",
             "env": {"CURFEW_WORKER": "i/w-%d" % number}}
    if forked.birth(order, lambda: None):
        print("hello", flush=True)
        os._exit(7)
until = time.monotonic() + 20
statuses = [os.path.join(one, "status") for one in folders]
def is_whole(path):
    return os.path.exists(path) and open(path).read().endswith("\\n")
while time.monotonic() < until and not all(map(is_whole, statuses)):
    pause()
print(sum(os.path.exists(one) and open(one).read() == "7\\n" for one in statuses))
print(sum(open(os.path.join(one, "log")).read() == "hello\\n" for one in folders))
print(repr(open("/proc/self/task/%d/children" % os.getpid()).read()))`);
    expect(out).toBe("100\n100\n''");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

it('a zygote that the supervisor does not know waits longer before each attempt, and after a welcome short again', () => {
  const out = python(
    `
from curfew_launch import zygote
answers, waits = ["error", "error", "error", "welcome", "error"], []
def messages(self, reason):
    yield {"type": answers[len(waits)], "code": "unknown_worker"}
def sleep(seconds):
    waits.append(seconds)
    if len(waits) == len(answers): raise SystemExit(print(*waits))
zygote.Connection._messages, zygote.time.sleep = messages, sleep
zygote.Connection().run(None, None)`,
    { CURFEW_SOCKET: 's', CURFEW_WORKER: 'w', CURFEW_TOKEN: 't' },
  );
  expect(out).toBe('0.05 0.1 0.2 0.05 0.1');
});
