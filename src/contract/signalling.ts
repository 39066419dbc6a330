/** What the gateway's Caddy asks its agent before it leads a client's signalling somewhere. */
export const SIGNALLING_PATH = '/v1/signalling';
/** The client's access token, from its query; one in an Authorization header stays there. */
export const TOKEN_HEADER = 'X-Access-Token';
/** Of the answer: host:port of the room's own node. Without it the connection goes where its path leads. */
export const UPSTREAM_HEADER = 'X-Room-Upstream';
