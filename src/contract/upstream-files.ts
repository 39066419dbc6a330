/**
 * How the gateway's agent tells Caddy of the serving machines: each of these files in its state directory holds one's host:port, or nothing
 * where there is none. Caddy reads one at each request, by its placeholder `{file.PATH}`, so that nothing is reloaded when the fleet changes:
 * a reload closes each connection whose first request has not come yet (Go's http.Server, Shutdown), and resets those that wait to be accepted.
 * @param isAlone true on a machine that is the whole fleet
 */
export function upstreamFiles(stateDir: string, isAlone: boolean): string[] {
  return Array.from({ length: isAlone ? 1 : COUNT }, (_, index) => `${stateDir}/upstream.${index}`);
}

/** Of more machines the first by name do what belongs to no node: each room's own signalling goes to its node anyway. */
const COUNT = 16;
