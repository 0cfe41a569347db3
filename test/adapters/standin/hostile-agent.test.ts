/** Which connections the stand-in accepts, and how it answers nonsense. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { AccessToken } from 'livekit-server-sdk';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerId } from '../../../src/core/ids.ts';
import { STAND_IN } from '../../../src/lib/limits/livekit-limits.ts';
import { until } from '../../support/lib/wait.ts';
import { jobOf, StandInRig } from '../../support/livekit/standin-rig.ts';

let rig: StandInRig;

beforeEach(async () => {
  rig = await new StandInRig().listen();
});
afterEach(() => rig.close());

describe('a connection to the stand-in', () => {
  const refusals: [string, () => Promise<string>][] = [
    ['no token', async () => ''],
    ['nonsense for a token', async () => 'a.b.c'],
    ['a token with another secret', () => rig.token('w-1', { apiSecret: 'x'.repeat(40) })],
    ['a token signed with the key of another worker', async () => foreign('w-1', 'w-2')],
    ['a token without the grant agent', () => rig.token('w-1', { agent: false })],
    ['an expired token', () => rig.token('w-1', { ttl: -60 })],
    ["LiveKit's own key", async () => new AccessToken('devkey', 'x'.repeat(40)).toJwt()],
    ['a token that names no worker', async () => new AccessToken('curfew-', 'x'.repeat(40)).toJwt()],
  ];
  it.each(refusals)('with %s is refused', async (_, token) => {
    const agent = await rig.agent('w-1', { token: await token() });
    expect((await agent.closed()).code).toBe(401);
    expect(rig.events).toEqual([]);
  });

  it('is refused on another path than /agent', async () => {
    const agent = await rig.agent('w-1', { path: '/rtc' });
    expect((await agent.closed()).code).toBe(404);
  });

  it('is accepted with a query behind its path', async () => {
    const agent = await rig.agent('w-1', { path: '/agent?worker_token=x' });
    await agent.opened();
  });

  it('is closed with the reason when its worker has no session', async () => {
    const agent = await rig.agent('w-unknown');
    await agent.opened();
    agent.register();
    expect(await agent.closed()).toEqual({
      code: 1008,
      reason: 'no session of this supervisor has this worker now',
    });
  });

  it('is closed with the reason when its first message is not register', async () => {
    const agent = await rig.agent();
    await agent.opened();
    agent.send({ case: 'updateWorker', value: {} });
    expect((await agent.closed()).reason).toBe('the first message must be register');
  });
});

describe('a hostile frame', () => {
  const hostile: [string, () => Buffer | string][] = [
    ['of garbage', () => randomBytes(1000)],
    ['of text that is no JSON', () => '{"register": '],
    ['of JSON that is no message', () => '{"ping": 7}'],
    ['that ends too soon', () => Buffer.from([0x0a, 0x7f, 0x01])],
    ['of three megabytes', () => Buffer.alloc(3 * 1024 * 1024)],
  ];
  it.each(hostile)('%s closes its own connection and no other', async (_, frame) => {
    const other = await rig.registered('w-2');
    const agent = await rig.registered('w-1');
    agent.socket.send(frame());
    await agent.closed();
    await rig.awaitEvent('w-1', 'gone');
    expect(rig.assign(workerId('w-2'), jobOf())).toBe(true);
    await other.receives('availability');
  });

  it('with only an unknown field is ignored', async () => {
    const agent = await rig.registered();
    // Field 100 of type bytes.
    agent.socket.send(Buffer.from([0xa2, 0x06, 0x01, 0x00]));
    agent.send({ case: 'ping', value: {} });
    await agent.receives('pong');
  });
});

describe('the port of the stand-in', () => {
  it('is the same after a restart', async () => {
    const { url } = rig.standIn;
    await rig.restart();
    expect(rig.standIn.url).toBe(url);
    expect(rig.standIn.url).toContain(
      readFileSync(join(rig.instance.stateDir, 'agents.port'), 'utf8').trim(),
    );
  });

  it('is named in the error when another program uses it', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    try {
      await rig.standIn.close();
      writeFileSync(join(rig.instance.stateDir, 'agents.port'), `${port}\n`);
      rig.standIn = rig.make();
      await expect(rig.listen()).rejects.toMatchObject({
        code: 'invalid_config',
        message: expect.stringContaining(`127.0.0.1:${port}`),
      });
      const given = new StandInRig({ port });
      await expect(given.listen()).rejects.toMatchObject({ code: 'invalid_config' });
      await given.close();
    } finally {
      other.close();
    }
  });
});

function foreign(issuer: string, signer: string): Promise<string> {
  const token = new AccessToken(
    rig.standIn.keysFor(workerId(issuer)).apiKey,
    rig.standIn.keysFor(workerId(signer)).apiSecret,
    { ttl: 60 },
  );
  token.addGrant({ agent: true });
  return token.toJwt();
}

describe('the log of the supervisor', () => {
  const warnings = () =>
    rig.logged.map(({ message }) => message).filter((message) => /refused|too old/.test(message));

  it('has a bounded number of lines about an agent that connects endlessly', async () => {
    for (let nth = 0; nth < 3 * STAND_IN.notes; nth += 1) {
      const agent = await rig.registered();
      agent.socket.send(randomBytes(100));
      await agent.closed();
    }
    expect(warnings()).toHaveLength(STAND_IN.notes);
  });

  it('says that a message was too large, and not what it was', async () => {
    const agent = await rig.registered();
    agent.socket.send(Buffer.alloc(3 * 1024 * 1024, 'a'));
    await agent.closed();
    expect(warnings()).toEqual([
      expect.stringContaining(`its message has more than ${STAND_IN.frameBytes} bytes`),
    ]);
  });

  it('has the number of an old version, and no text of the agent', async () => {
    const agent = await rig.agent();
    await agent.opened();
    agent.register('0.12 +491701234567');
    await until('the version is logged', () => warnings().length > 0);
    expect(warnings()).toEqual([expect.stringContaining('version 0.12 of LiveKit Agents is too old')]);
    expect(JSON.stringify(rig.logged)).not.toContain('4917');
  });
});
