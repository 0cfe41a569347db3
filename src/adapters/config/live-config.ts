/** Reloads the config while the supervisor runs. With any error the current config stays as a whole. */
import { isDeepStrictEqual } from 'node:util';
import type { ReloadView } from '../../api/host-schemas.ts';
import { CurfewError, messageOf } from '../../lib/errors.ts';
import type { Log } from '../../ports/log.ts';
import { accessNotice } from './access-notice.ts';
import type { Config } from './config.ts';
import { checkConfig } from './config-check.ts';

export interface LiveConfig {
  current(): Config;
  /** Rejects invalid_config with all errors in its text. */
  reload(): Promise<ReloadView>;
}

/** Keys of the file that the supervisor uses only at its start. */
export const FIXED = {
  livekit: 'livekit',
  listen: 'listen',
  stateDir: 'state_dir',
  tempDir: 'temp_dir',
  tempMaxBytes: 'temp_max',
  cgroups: 'cgroups',
  presence: 'presence',
  sweep: 'sweep',
  log: 'log',
  logs: 'logs',
  api: 'api',
} as const satisfies Partial<Record<keyof Config, string>>;
const LIVE = ['limits', 'shutdown', 'retention'] as const satisfies readonly (keyof Config)[];

export function liveConfig(initial: Config, { read, log }: { read: () => Config; log: Log }): LiveConfig {
  let current = initial;
  tellAccess(initial, log);
  // A reload refuses such a config. At the start the other agents must run, so each fault is a line of the log.
  for (const fault of faultsOf(initial)) log.warn({}, fault);
  return {
    current: () => current,
    reload: async () => {
      try {
        const wanted = readGood(read);
        const view = compare(current, wanted);
        current = { ...wanted, ...pickFixed(current) };
        tellAccess(current, log);
        log.info(view, 'the config was reloaded; existing sessions keep the profile that they started with');
        if (view.restartNeeded.length > 0)
          log.warn(
            { keys: view.restartNeeded },
            'changes of these config keys need a restart; until then the old values apply',
          );
        return view;
      } catch (error) {
        log.error(
          { error: messageOf(error) },
          'the reload failed: the new config has errors, and the current one stays',
        );
        throw error;
      }
    },
  };
}

/** Once for each start and each reload. */
function tellAccess(config: Config, log: Log): void {
  const notice = accessNotice(config);
  if (notice !== null) log.warn({}, notice);
}

function readGood(read: () => Config): Config {
  const config = read();
  const errors = faultsOf(config);
  if (errors.length > 0) throw new CurfewError('invalid_config', errors.join('\n'));
  return config;
}

function faultsOf(config: Config): string[] {
  const findings = checkConfig(config, {
    env: process.env,
    cgroups: { unavailable: 'not checked' },
    nodeVersionOf: null,
  });
  return findings.filter((one) => one.level === 'error').map((one) => one.text);
}

function compare(before: Config, after: Config): ReloadView {
  const names = new Set([...Object.keys(before.agents), ...Object.keys(after.agents)]);
  const agents = [...names].filter(
    (name) =>
      !isDeepStrictEqual(before.agents[name], after.agents[name]) ||
      !isDeepStrictEqual(before.agentLiveKit[name], after.agentLiveKit[name]),
  );
  return {
    changed: [
      ...agents.map((name) => `agents.${name}`),
      ...LIVE.filter((key) => !isDeepStrictEqual(before[key], after[key])),
    ],
    restartNeeded: fixedKeys()
      .filter((key) => !isDeepStrictEqual(before[key], after[key]))
      .map((key) => FIXED[key]),
  };
}

function pickFixed(config: Config): Partial<Config> {
  return Object.fromEntries(fixedKeys().map((key) => [key, config[key]]));
}

function fixedKeys(): (keyof typeof FIXED)[] {
  return Object.keys(FIXED) as (keyof typeof FIXED)[];
}
