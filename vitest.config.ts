import { configDefaults, defineConfig } from 'vitest/config';

const times = { testTimeout: 900_000, hookTimeout: 600_000 };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'main',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, 'test/postgres'],
          globalSetup: ['test/global-setup.ts'],
          ...times,
        },
      },
      {
        // The service's tests once more, over PostgreSQL: `startService` opens it here.
        test: {
          name: 'postgres',
          include: ['test/postgres/*.test.ts', 'test/service/**/*.test.ts'],
          // About SQLite, or about no database.
          exclude: [
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
          ...times,
        },
      },
    ],
  },
});
