import { configDefaults, defineConfig } from 'vitest/config';

// Most of the time a test of machines waits for them: three files at a time keep two cores busy.
const common = { maxWorkers: 3, testTimeout: 900_000, hookTimeout: 600_000 };
/** A fleet promises its users seconds: nothing else may take the cores while that is tested. */
const alone = ['test/fleet/chaos.test.ts'];
/** Where the real product is deployed. Those last the longest, and come first: projects run in the order of their names. */
const machines = ['test/fleet/*.test.ts', 'test/e2e/*.test.ts', 'test/backup/{fleet,new-machine,one-machine,postgres,restore-faults,s3-machine,under-load}.test.ts'];

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'machines', include: machines, exclude: [...configDefaults.exclude, ...alone], globalSetup: ['test/global-setup.ts'], ...common } },
      { test: { name: 'alone', include: alone, globalSetup: ['test/global-setup.ts'], ...common, maxWorkers: 1, sequence: { groupOrder: 1 } } },
      {
        test: {
          name: 'main',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...machines, 'test/postgres'],
          globalSetup: ['test/global-setup.ts'],
          ...common,
        },
      },
      {
        // The service's tests once more, over PostgreSQL: `startService` opens it here.
        test: {
          name: 'postgres',
          include: ['test/postgres/*.test.ts', 'test/service/**/*.test.ts'],
          // About SQLite, or about no database.
          exclude: [
            'address',
            'log-sync',
            'calls/call-store.property',
            'calls/call-machine',
            'calls/call-machine.property',
            'calls/deadlines',
            'main',
            'readiness',
            'slow-requests',
            'store',
          ].map((name) => `test/service/${name}.test.ts`),
          globalSetup: ['test/postgres/global-setup.ts'],
          ...common,
        },
      },
    ],
  },
});
