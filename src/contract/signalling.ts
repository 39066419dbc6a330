/** What the gateway's Caddy asks its agent before it leads a client's signalling somewhere. */
export const SIGNALLING_PATH = '/v1/signalling';
/** The client's access token, from its query; one in an Authorization header stays there. */
export const TOKEN_HEADER = 'X-Access-Token';
/** The machine of the client's path; empty where that names none. */
export const MACHINE_HEADER = 'X-Path-Machine';
/** Of the answer: host:port of where the connection goes. Without it any serving machine will do. */
export const UPSTREAM_HEADER = 'X-Upstream';
