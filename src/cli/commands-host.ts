/** Commands about the host: capacity, reload and config check. */
import type { Command } from 'commander';
import type { Finding } from '../adapters/config/config-check.ts';
import type { CapacityView, ReloadView } from '../api/host-schemas.ts';
import { CurfewError } from '../lib/errors.ts';
import type { Context } from './command-context.ts';
import { renderCapacity } from './render-sessions.ts';
import { plural, safe, wrap } from './terminal-text.ts';
import { usage } from './usage-errors.ts';

export function hostCommands(program: Command, context: Context): void {
  program
    .command('capacity')
    .description('show the limits, their use, and problems of this host')
    .action(async () => {
      const capacity = (await (await context.client()).get('/v1/capacity')) as CapacityView;
      context.show(capacity, () => renderCapacity(capacity, context.paint()));
    });
  program
    .command('reload')
    .description('read the config again; after an error the old config stays in use')
    .action(async () => {
      const view = (await (await context.client()).post('/v1/reload', {})) as ReloadView;
      context.show(view, () => renderReload(view));
    });
  const config = program.command('config').description('the config file');
  config
    .command('check [file]')
    .description('check a config file; starts nothing')
    .action((file: string | undefined) => checkConfigFile(file, context));
}

async function checkConfigFile(file: string | undefined, context: Context): Promise<void> {
  const path = configPath(file, context);
  const findings = await findingsIn(path, context.terminal.env);
  const failed = findings.some((one) => one.level === 'error');
  context.show({ path, ok: !failed, findings }, () =>
    [
      ...findings.map((one) => `${one.level}: ${wrap(safe(one.text), 2)}`),
      `${path} ${verdictOf(findings)}`,
    ].join('\n'),
  );
  if (failed) context.exitWith(1);
}

function verdictOf(findings: readonly Finding[]): string {
  const count = (level: Finding['level']) => findings.filter((one) => one.level === level).length;
  if (count('error') > 0) return 'has errors';
  return count('warning') > 0 ? `is good, with ${plural(count('warning'), 'warning')}` : 'is good';
}

/** An error that makes the file unreadable is a finding too. */
async function findingsIn(path: string, env: Context['terminal']['env']): Promise<Finding[]> {
  const [{ loadConfig }, { checkConfig }, { probeCgroups }, { nodeVersionOf }] = await Promise.all([
    import('../adapters/config/config-file.ts'),
    import('../adapters/config/config-check.ts'),
    import('../process/cgroup.ts'),
    import('../adapters/config/agent-node.ts'),
  ]);
  try {
    return checkConfig(loadConfig(path, env), {
      env,
      cgroups: probeCgroups(),
      nodeVersionOf: (profile) => nodeVersionOf(profile, env),
    });
  } catch (error) {
    if (!(error instanceof CurfewError) || error.code !== 'invalid_config') throw error;
    return error.message.split('\n').map((text) => ({ level: 'error', text }));
  }
}

function renderReload({ changed, restartNeeded }: ReloadView): string {
  const now = changed.length === 0 ? 'nothing changed' : `changed: ${changed.join(', ')}`;
  if (restartNeeded.length === 0) return now;
  return `${now}\nafter the next restart (calls go on over it): ${restartNeeded.join(', ')}`;
}

export function configPath(given: string | undefined, { global, terminal }: Context): string {
  const path = given ?? global().config ?? terminal.env.CURFEW_CONFIG;
  if (path !== undefined) return path;
  throw usage('there is no config file', 'Give --config FILE, or set CURFEW_CONFIG.');
}
