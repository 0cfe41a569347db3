import { configDefaults, defineConfig } from 'vitest/config';

/** Tests that start Python programs. `npm test` sets CURFEW_NO_PYTHON where there is none, and says so; never in CI. */
const NEEDS_PYTHON = [
  'test/kits/conformance.test.ts',
  'test/worker/process-*.test.ts',
  'test/e2e/workers.test.ts',
];
/** Tests that boot a systemd of their own: as root only. `npm test` says so where they are left out; never in CI. */
const exclude = [
  ...configDefaults.exclude,
  ...(process.env.CURFEW_NO_SYSTEMD === undefined ? [] : ['test/systemd/**']),
  ...(process.env.CURFEW_NO_PYTHON === undefined ? [] : NEEDS_PYTHON),
];

/** Four layers: pure core (unit), adapters against the real thing (integration), whole calls (e2e), the service in a real systemd. One after the other, so that a real-time call has the machine to itself. */
export default defineConfig({
  test: {
    exclude,
    chaiConfig: { truncateThreshold: 100_000 },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          sequence: { groupOrder: 0 },
          include: ['test/{core,style,http,cli,config,docs}/**/*.test.ts'],
          testTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          sequence: { groupOrder: 1 },
          include: [
            'test/{worker,presence,registry,runtime,sweep,kits,telemetry,scripts,sim,service}/**/*.test.ts',
          ],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          sequence: { groupOrder: 2 },
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 420_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'systemd',
          sequence: { groupOrder: 3 },
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
