import { fileURLToPath } from 'node:url';
import { configDefaults, defineConfig } from 'vitest/config';

/** Tests that start Python programs. `npm test` sets CURFEW_NO_PYTHON where there is none, and says so; never in CI. */
const NEEDS_PYTHON = [
  'test/kits/*.test.ts',
  'test/adapters/worker/*.test.ts',
  'test/process/*.test.ts',
  'test/e2e/workers.test.ts',
  'test/adapters/standin/agent-env.test.ts',
];
/** Those with LiveKit's own Python framework, which `npm test` installs. */
const NEEDS_PYTHON_AGENTS = ['test/adapters/standin/python-agents.test.ts'];
/** Whole calls that need the machine to themselves: audio in real time, real kills under load, and what looks for programs by name. */
const ALONE = ['test/e2e/{audio,chaos,dev}.test.ts'];
/** Tests that boot a systemd of their own run as root only. Tests of an upgrade need the git history. `npm test` names those that are left out; in CI that is an error. */
const exclude = [
  ...configDefaults.exclude,
  ...(process.env.CURFEW_NO_SYSTEMD === undefined ? [] : ['test/systemd/**']),
  ...(process.env.CURFEW_NO_PREVIOUS === undefined ? [] : ['test/upgrade/**']),
  ...(process.env.CURFEW_NO_PYTHON === undefined ? [] : NEEDS_PYTHON),
  ...(process.env.CURFEW_NO_PYTHON_AGENTS === undefined ? [] : NEEDS_PYTHON_AGENTS),
];

/** Builds the programs of the project that tests start. */
const BUILD = ['test/support/setup/build.ts'];
const setupFiles = ['test/support/setup/on-failure.ts'];

/**
 * The projects run one after the other.
 * - unit: the pure core.
 * - integration: adapters against the real thing.
 * - e2e: whole calls.
 * - alone: calls that need the whole machine.
 * - conformance: agents under LiveKit's own runner and under curfew.
 * - upgrade: the previous release, upgraded in place.
 * - systemd: the service in a real systemd.
 */
export default defineConfig({
  test: {
    exclude,
    chaiConfig: { truncateThreshold: 100_000 },
    // vitest leaves one core free, of two.
    maxWorkers: 2,
    // Programs of ours that tests start are compiled once.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL('.cache/compile', import.meta.url)) },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          sequence: { groupOrder: 0 },
          include: ['test/{core,style,http,cli,docs}/**/*.test.ts', 'test/adapters/config/*.test.ts'],
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          sequence: { groupOrder: 1 },
          globalSetup: BUILD,
          include: [
            'test/{process,runtime,kits,scripts,sim}/**/*.test.ts',
            'test/adapters/!(config)/*.test.ts',
          ],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Many of them wait for processes half of the time.
          maxWorkers: 3,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          sequence: { groupOrder: 2 },
          globalSetup: BUILD,
          setupFiles,
          include: ['test/e2e/**/*.test.ts'],
          exclude: [...exclude, ...ALONE],
          testTimeout: 420_000,
          hookTimeout: 120_000,
          // Most of them wait for real deadlines most of the time.
          maxWorkers: 3,
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          sequence: { groupOrder: 3 },
          globalSetup: BUILD,
          setupFiles,
          include: ALONE,
          testTimeout: 420_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'conformance',
          sequence: { groupOrder: 4 },
          globalSetup: BUILD,
          setupFiles,
          include: ['test/conformance/*.test.ts'],
          // The bound of a loaded machine. The wait for it is idle.
          testTimeout: 600_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'upgrade',
          sequence: { groupOrder: 5 },
          globalSetup: [...BUILD, 'test/upgrade/setup.ts'],
          setupFiles,
          include: ['test/upgrade/**/*.test.ts'],
          testTimeout: 120_000,
          // A loaded machine takes minutes to start a dozen agents at once.
          hookTimeout: 240_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'systemd',
          sequence: { groupOrder: 6 },
          include: ['test/systemd/**/*.test.ts'],
          globalSetup: ['test/systemd/setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
