/** Where curfew's own requests to LiveKit go: the path of `livekit.url`, and the proxy of the environment. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { createIsDeleted } from '../../../src/adapters/livekit/jobs/deleted-dispatch.ts';
import { createRoomClient } from '../../../src/adapters/livekit/rooms/twirp-client.ts';
import { proxyOf } from '../../../src/lib/outgoing-proxy.ts';
import type { ForwardProxy } from '../../support/lib/forward-proxy.ts';
import { startForwardProxy } from '../../support/lib/forward-proxy.ts';
import { until } from '../../support/lib/wait.ts';
import { StandInRig } from '../../support/livekit/standin-rig.ts';
import { FakeServer, REGISTERED } from './fake-livekit.ts';
import { Adapters } from './jobs-rig.ts';

const adapters = new Adapters();
let server: FakeServer;
let proxy: ForwardProxy;
let rigs: StandInRig[];

beforeEach(async () => {
  rigs = [];
  server = await FakeServer.start();
  server.api = () => ({ rooms: [], participants: [], agent_dispatches: [] });
  proxy = await startForwardProxy({ 'livekit.test': '127.0.0.1', 'other.test': '127.0.0.1' });
  for (const name of ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY']) {
    vi.stubEnv(name, '');
    vi.stubEnv(name.toLowerCase(), '');
  }
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await adapters.close();
  await Promise.all(rigs.map((rig) => rig.close()));
  proxy.close();
  await server.close();
});

/** One request of each kind. */
async function askAll(url: string): Promise<void> {
  const keys = { url, apiKey: 'key', apiSecret: 'secret-of-the-test-that-is-long-enough' };
  const client = createRoomClient(keys);
  await client.list([], 5000);
  await client.participants('r', 5000);
  await client.remove('r', { identity: 'ann', revokedBeforeWallMs: 5000 }, 5000);
  await client.delete('r', 5000);
  await client.jobs('r', 5000);
  await createIsDeleted(keys)({ id: 'AD_1', room: 'r' });
  const rig = new StandInRig({ livekit: keys });
  rigs.push(rig);
  await rig.listen();
  rig.know('w-1', ['own']);
  await fetch(`${rig.standIn.url.replace('ws', 'http')}/twirp/livekit.RoomService/DeleteRoom`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await rig.token('w-1')}`, 'content-type': 'application/json' },
    body: '{"room":"own"}',
  });
  const { isRegistered } = adapters.open({ url });
  await until('curfew is registered', () => isRegistered());
}

const CALLS = [
  'RoomService/ListRooms',
  'RoomService/ListParticipants',
  'RoomService/RemoveParticipant',
  'RoomService/DeleteRoom',
  'AgentDispatchService/ListDispatch',
  'AgentDispatchService/ListDispatch',
  'RoomService/DeleteRoom',
];

describe('each request of curfew to LiveKit', () => {
  it.each(['/lk', '/lk/', ''])('keeps the path %j of livekit.url', async (path) => {
    await askAll(`${server.url}${path}`);
    const base = path.replace(/\/$/, '');
    expect(server.paths).toEqual(CALLS.map((call) => `${base}/twirp/livekit.${call}`));
    expect(server.latest.path).toBe(`${base}/agent`);
  });

  it.each(['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy'])('goes through the proxy of %s', async (name) => {
    vi.stubEnv(name, proxy.url);
    const { port } = new URL(server.url);
    await askAll(`ws://livekit.test:${port}/lk`);
    expect(server.paths).toHaveLength(CALLS.length);
    expect(server.latest.path).toBe('/lk/agent');
    expect(new Set(proxy.targets)).toEqual(new Set([`CONNECT livekit.test:${port}`]));
  });

  it('goes past the proxy to a LiveKit on loopback', async () => {
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY']) vi.stubEnv(name, proxy.url);
    await askAll(server.url);
    expect(proxy.targets).toEqual([]);
  });
});

describe('the registration', () => {
  it('has TLS inside the tunnel, and the name of the server is checked', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'curfew-tls-'));
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    const args = [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-days',
      '2',
    ];
    const subject = ['-subj', '/CN=livekit.test', '-addext', 'subjectAltName=DNS:livekit.test'];
    execFileSync('openssl', [...args, ...subject], { stdio: 'ignore' });
    const secure = createServer({ key: readFileSync(key), cert: readFileSync(cert) });
    const sockets = new WebSocketServer({ server: secure });
    sockets.on('connection', (socket) => socket.send(JSON.stringify(REGISTERED)));
    const trusted = tls.getCACertificates('default');
    tls.setDefaultCACertificates([...trusted, readFileSync(cert, 'utf8')]);
    try {
      await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
      const { port } = secure.address() as AddressInfo;
      vi.stubEnv('HTTPS_PROXY', proxy.url);
      const good = adapters.open({ url: `wss://livekit.test:${port}` });
      await until('curfew is registered', () => good.isRegistered());
      const bad = adapters.open({ url: `wss://other.test:${port}` });
      await until('the failure is logged', () => bad.complaints().length > 0);
      expect(bad.isRegistered()).toBe(false);
      expect(proxy.targets).toContain(`CONNECT livekit.test:${port}`);
    } finally {
      tls.setDefaultCACertificates(trusted);
      for (const socket of sockets.clients) socket.terminate();
      secure.close();
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('says so when the proxy refuses it, without the password of the proxy', async () => {
    const { host } = new URL(server.url);
    vi.stubEnv('HTTP_PROXY', `http://ann:pass-of-the-proxy@${host}`);
    const adapter = adapters.open({ url: 'ws://livekit.test:7880' });
    await until('the failure is logged', () =>
      JSON.stringify(adapter.lines).includes(`through the proxy ${host}`),
    );
    expect(JSON.stringify(adapter.lines)).not.toContain('pass-of-the-proxy');
  });
});

describe('the proxy of an address', () => {
  it.each([
    ['ws://livekit.test', 'livekit.test', null],
    ['ws://livekit.test', 'other.test, .test', null],
    ['ws://a.livekit.test', '*.livekit.test', null],
    ['ws://livekit.test', '*', null],
    ['wss://livekit.test', 'livekit.test:443', null],
    ['ws://livekit.test', 'livekit.test:443', 'http://proxy.test:3128/'],
    ['ws://notlivekit.test', 'livekit.test', 'http://proxy.test:3128/'],
    ['ws://localhost:7880', '', null],
    ['ws://127.1.2.3:7880', '', null],
    ['ws://[::1]:7880', '', null],
  ])('for %s with NO_PROXY=%s is %s', (url, excluded, proxied) => {
    vi.stubEnv('HTTP_PROXY', 'proxy.test:3128');
    vi.stubEnv('NO_PROXY', excluded);
    expect(proxyOf(new URL(url))?.href ?? null).toBe(proxied);
  });

  it.each(['socks5://proxy.test', 'http://[', ''])('is none for the value %j', (value) => {
    vi.stubEnv('HTTP_PROXY', value);
    expect(proxyOf(new URL('ws://livekit.test'))).toBeNull();
  });
});
