/** Environments in which people start LiveKit agents: wrappers, .env files, proxies, keys of their own. Real frameworks and a real server. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPythonAgents } from '../../scripts/python-agents.mjs';
import { Daemon, ROOT } from '../support/daemon/daemon.ts';
import type { ForwardProxy } from '../support/lib/forward-proxy.ts';
import { startForwardProxy } from '../support/lib/forward-proxy.ts';
import { freePorts } from '../support/lib/free-ports.ts';
import { until } from '../support/lib/wait.ts';
import { SLOW_START, START_MS } from '../support/livekit/framework-agents.ts';
import { HAS_LIVEKIT, KEY, LiveKit, OTHER, SECRET } from '../support/livekit/livekit-server.ts';

/** More agents would wait for each other's imports. */
const AT_ONCE = 3;
const FILES = join(ROOT, 'test/fixtures/agents');
const PYTHON = findPythonAgents();
const isRun = HAS_LIVEKIT && PYTHON !== null;

interface Way {
  readonly name: string;
  readonly command: readonly string[];
  readonly profile?: Record<string, unknown>;
  readonly env?: Record<string, string>;
  /** The key that the agent's own code must see. `curfew`: curfew's address and the worker's own keys. */
  readonly sees: typeof KEY | typeof OTHER.key | 'curfew';
}

/** The same server under another name, as an agent in another network has it. */
const elsewhere = (url: string) => url.replace('127.0.0.1', 'localhost');

describe('a LiveKit agent', () => {
  const dir = mkdtempSync(join(tmpdir(), 'curfew-environments-'));
  let livekit: LiveKit;
  let proxy: ForwardProxy;
  let daemon: Daemon;
  let ways: readonly Way[] = [];

  beforeAll(async () => {
    if (!isRun) return;
    livekit = await LiveKit.start({ logLevel: 'info' });
    proxy = await startForwardProxy();
    ways = waysOf();
    const ports = await freePorts(ways.length);
    const agents = ways.map(({ name, command, profile, env }) => {
      const common = { protocol: 'livekit', ...SLOW_START, no_caller: '10m' };
      const own = { TEST_PORT: String(ports.pop()), ...env };
      return [name, { ...common, command, env: own, ladder: { term: '2s' }, ...profile }] as const;
    });
    const config = {
      ...livekit.config(join(dir, 'c.sock')),
      limits: { start_rate: '100/s' },
      agents: Object.fromEntries(agents),
    };
    // The supervisor's own environment has LiveKit's keys, too, as a shell of a developer has.
    const env = { LIVEKIT_URL: livekit.url, LIVEKIT_API_KEY: KEY, LIVEKIT_API_SECRET: SECRET };
    daemon = await new Daemon({ config, dir, env }).start();
  }, 60_000);
  afterAll(async () => {
    proxy?.close();
    await daemon?.close();
    await livekit?.close();
  });

  function waysOf(): Way[] {
    const python = PYTHON ?? '';
    const node = process.execPath;
    const [py, js] = [join(FILES, 'access.py'), join(FILES, 'access.mjs')];
    const names = { LIVEKIT_URL: livekit.url, LIVEKIT_API_KEY: OTHER.key, LIVEKIT_API_SECRET: OTHER.secret };
    const test = Object.fromEntries(Object.entries(names).map(([name, value]) => [`TEST_${name}`, value]));
    const file = join(dir, 'own.env');
    writeFileSync(
      file,
      Object.entries(names)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
    const proxies = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url, NODE_USE_ENV_PROXY: '1' };
    // Because: LiveKit's client library goes through the proxy, and a second participant would ask curfew for a room.
    const room = { env: { ...proxies, TEST_ALONE: '1' }, profile: { livekit_access: 'room' } };
    const start = [python, py, 'start'];
    const other = { url: elsewhere(livekit.url), api_key: OTHER.key, api_secret: OTHER.secret };
    return [
      { name: 'module', command: [python, '-m', 'access', 'start'], profile: { cwd: FILES }, sees: KEY },
      { name: 'wrapper', command: ['sh', '-c', `${start.join(' ')}; exit $?`], sees: KEY },
      { name: 'set-first', command: start, env: { ...test, TEST_KEYS: 'first' }, sees: OTHER.key },
      {
        name: 'set-in-room',
        command: start,
        env: { ...test, TEST_KEYS: 'module' },
        profile: { livekit_access: 'room' },
        sees: OTHER.key,
      },
      { name: 'env-file', command: start, profile: { env_file: file }, sees: OTHER.key },
      { name: 'own-livekit', command: start, profile: { livekit: other }, sees: OTHER.key },
      { name: 'proxy', command: start, env: proxies, sees: KEY },
      { name: 'proxy-room', command: start, ...room, sees: 'curfew' },
      { name: 'js-env-file', command: [node, `--env-file=${file}`, js, 'start'], sees: KEY },
      {
        name: 'js-set-first',
        command: [node, join(FILES, 'access-late.mjs'), 'start'],
        env: test,
        sees: OTHER.key,
      },
      { name: 'js-proxy', command: [node, js, 'start'], env: proxies, sees: KEY },
      { name: 'js-proxy-room', command: [node, js, 'start'], ...room, sees: 'curfew' },
    ];
  }

  /** Dispatches one call, and waits until the agent has printed the last of its lines. */
  async function logOf({ name }: Way): Promise<string> {
    const { body } = await daemon.dispatch({ room: `room-${name}`, agent: name });
    const log = () => readFileSync(join(daemon.stateDir, 'workers', `${body.id}.1`, 'log'), 'utf8');
    return until(
      `the agent ${name} has done all of it`,
      async () => {
        const { state, reason } = await daemon.session(body.id);
        const text = await Promise.resolve()
          .then(log)
          .catch(() => '');
        if (!/second participant: /.test(text))
          throw new Error(`${name}: ${state}, ${reason}: ${text.slice(-2000)}`);
        return text;
      },
      START_MS,
    );
  }

  it.runIf(isRun)(
    'sees the address and keys that its environment and code give it, in each of these, and registers at curfew',
    async () => {
      const logs: { way: Way; log: string }[] = [];
      for (let first = 0; first < ways.length; first += AT_ONCE) {
        const some = ways.slice(first, first + AT_ONCE);
        logs.push(...(await Promise.all(some.map(async (way) => ({ way, log: await logOf(way) })))));
      }
      const standIn = Number(readFileSync(join(daemon.stateDir, 'agents.port'), 'utf8'));
      for (const { way, log } of logs) {
        const { name, sees } = way;
        const own = name === 'own-livekit' ? elsewhere(livekit.url) : livekit.url;
        const address = sees === 'curfew' ? `ws://127.0.0.1:${standIn}` : own;
        // The agent joins its room at the address and with the keys that its profile has.
        if (name === 'own-livekit') expect(log).toContain(`job url: ${own} ${OTHER.key}\n`);
        const key = sees === 'curfew' ? '\\S*curfew\\S*' : sees;
        expect(log, `${name}: ${log}`).toMatch(new RegExp(`environment: ${address}/? ${key}\n`));
        expect(log, name).not.toContain('framework_unknown');
        expect(log, name).toMatch(
          sees === 'curfew'
            ? /egress: permission_denied: .*livekit_access: full/
            : /egress: (unavailable|no answer in time)/,
        );
        if (sees !== 'curfew') expect(log, name).toContain('second participant: joined');
      }
      expect(livekit.log).not.toContain('worker registered');
      expect(daemon.stderr).not.toContain(SECRET);
      expect(daemon.stderr).not.toContain(OTHER.secret);
      expect(proxy.targets.filter((target) => target.includes(`:${standIn}`))).toEqual([]);
    },
    400_000,
  );
});
