/** In the agent's state directory. */
export const UPSTREAMS_FOLDER = 'upstreams';

/**
 * How the gateway's agent tells Caddy of the serving machines: each of these files holds one's host:port, or nothing where there is none.
 * Caddy reads one at each request, by its placeholder `{file.PATH}`, so that nothing is reloaded when the fleet changes: a reload closes
 * each connection whose first request has not come yet (Go's http.Server, Shutdown), and resets those that wait to be accepted.
 */
export function upstreamFiles(folder: string): string[] {
  return Array.from({ length: COUNT }, (_, index) => `${folder}/${index}`);
}

/** More machines share the work by turns; each room's own signalling goes to its node anyway. */
const COUNT = 16;
