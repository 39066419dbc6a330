import type { TestProject } from 'vitest/node';
import { createCluster } from './cluster.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of a PostgreSQL in which tests make their databases; undefined where they are to use SQLite. */
    postgresUrl: string | undefined;
  }
}

/** One PostgreSQL for all tests over it. */
export default async function startPostgres(project: TestProject): Promise<() => Promise<void>> {
  // No test that uses it cuts its power.
  const cluster = await createCluster({ lines: ['fsync = off', 'max_connections = 200'], authentication: 'trust' });
  await cluster.start();
  project.provide('postgresUrl', cluster.url);
  return () => cluster.remove();
}
