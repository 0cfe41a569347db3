#!/usr/bin/env node
/** The composition root: the only file that knows every adapter. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Commands } from './cli/commands.ts';
import type { Config } from './config/config.ts';
import type { Author } from './core/session.ts';
import type { Log } from './ports.ts';

const ON_SIGNAL: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];

/** What `serve` and `run` need of a supervisor that is up. */
interface Running {
  readonly supervisor: import('./runtime/supervisor.ts').Supervisor;
  readonly log: Log;
  /** Releases every session, closes the faces and gives the state directory back. */
  stop(by: Author): Promise<{ left: number }>;
}

/** Adapters are imported here, so that `curfew list` does not load LiveKit's SDK. */
async function compose(config: Config, faces: boolean): Promise<Running> {
  const [{ createLog }, { createClock }, { openInstance, ensureAdminToken }, { openRegistry }, { createChannels }, { createWorkers }] = await Promise.all([
    import('./telemetry/log.ts'),
    import('./telemetry/clock.ts'),
    import('./registry/instance.ts'),
    import('./registry/registry.ts'),
    import('./worker/control.ts'),
    import('./worker/workers.ts'),
  ]);
  const [{ Supervisor }, { startRetention }, { createHttpFaces }, { profileOf }, { effectiveLimits }] = await Promise.all([
    import('./runtime/supervisor.ts'),
    import('./runtime/retention.ts'),
    import('./http/faces.ts'),
    import('./config/profile.ts'),
    import('./core/limits-override.ts'),
  ]);
  const log = createLog(config.log);
  const clock = createClock();
  const { instance, release } = await openInstance(config.stateDir);
  const registry = await openRegistry({ stateDir: config.stateDir, log });
  const channels = createChannels({ instance, clock, log, socketPath: join(config.stateDir, 'control.sock') });
  const rooms = await makeRooms(config, { clock, log });
  const supervisor = new Supervisor({
    instance,
    clock,
    log,
    registry,
    channels,
    rooms,
    makeWorkers: (listener) => createWorkers({ instance, listener, clock, log }),
    host: hostname(),
    limits: config.limits,
    agents: Object.keys(config.agents),
    profileOf: (agent) => profileOf(config, agent),
    effectiveLimits,
    retention: config.retention,
  });
  await supervisor.start();
  const stopRetention = startRetention(supervisor);
  const http = faces ? createHttpFaces({ api: supervisor, log, listen: config.listen, tokens: [...config.api.tokens, adminToken(ensureAdminToken(config.stateDir))] }) : null;
  await http?.listen();
  if (rooms === null) log.warn({}, 'no LiveKit is configured: nobody is seen in a room, and nothing ends for who is there');
  return {
    supervisor,
    log,
    stop: async (by) => {
      const stopped = await supervisor.stop(config.shutdown.timeoutMs, by);
      await Promise.allSettled([http?.close(), stopRetention(), channels.close(), rooms?.close()]);
      await registry.close();
      release();
      return stopped;
    },
  };
}
