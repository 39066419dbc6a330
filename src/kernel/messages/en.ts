/** Errors that end a command: what happened, then how to mend it. `docs/errors.md` is made from these. */
export const errors = {
  NOT_ROOT: 'This command must run as root (it handles secrets, the service user and ports). Try: sudo {command}',
  ENV_UNREADABLE: 'Not allowed to read {path} (it holds secrets). Run the command as root: sudo ./部署.sh …',
  SETTINGS_INVALID: '{count} problem(s) in the settings; nothing was changed. Mend the lines above and run the same command again.',
  UNKNOWN_COMMAND: 'There is no command called {given}. Did you mean: {suggestion}? See: ./部署.sh help',
  UNKNOWN_OPTION: 'There is no option {given}. Did you mean: {suggestion}?',
  OPTION_WITHOUT_VALUE: 'Option {option} needs a value. See --help of the command',
  BAD_OPTION_VALUE: 'Option {option} cannot be {value}. See --help of the command',
  TOO_MANY_WORDS: 'Too many words behind {command}. See --help of the command',
  LOCKED: 'Another run holds the lock: {command} (pid {pid}). Wait for it to end; the lock is {path}.',
  COMPONENT_UNAVAILABLE:
    'Could not bring {component}. Tried: {tried}. Set COMPONENT_MIRROR or GOPROXY to a mirror you can reach, or give the path of your own binary in .env.',
  COMPONENT_PATH_WRONG: 'The path given for {component} cannot be used: {reason}. Correct it in .env, or leave it empty to have {component} brought.',
  PART_NOT_CONTROLLED: '{part} could not be told to {action}: {detail}. Run: ./部署.sh status',
  PORT_TAKEN: 'Port {port} ({use}) is used by {program}. Stop that program, or set {variable} to another port in .env.',
  NOT_HEALTHY: 'Not healthy after {seconds} s: {parts}. Last lines of the log:\n{log}',
  COMMAND_FAILED: '{what} failed: {detail}. Mend what it names and run the same command again.',
  DISK_FULL: 'No space left while writing {path}. Free some space there and run the same command again; nothing was restarted.',
  NOT_DEPLOYED: 'Nothing is deployed in {path} yet. Run: ./部署.sh deploy',
  UNKNOWN_PART: 'There is no part called {part}. Parts: {known}',
  VERIFY_FAILED: 'The meeting failed at step {step} ({cause}): {detail}\n{hint}',
  CADDY_REFUSED: 'Caddy refused the value of {target} ({status}): {reason}. The former one goes on working; see: ./部署.sh logs caddy',
  INTERRUPTED: 'Interrupted. Run the same command again: it goes on from what stands.',
} as const;

/** What can be wrong with a line of `.env` or a value: what, then how to write it. Filled with `{hint}` only. */
export const problems = {
  NOT_AN_ASSIGNMENT: 'not NAME=value. Comment it out with # or write NAME=value',
  UNCLOSED_QUOTE: 'the quote is not closed. Close it, or leave quotes out',
  TEXT_AFTER_QUOTE: 'text stands behind the closing quote. Put the whole value between the quotes, and a comment behind #',
  DUPLICATE_VARIABLE: 'set a second time (first on line {hint}). Keep one of them',
  UNKNOWN_VARIABLE: 'unknown variable. The known ones are in .env.example',
  MISSPELT_VARIABLE: 'unknown variable. Did you mean {hint}?',
  NOT_A_HOST: 'not a host name or IPv4 address. Example: livekit.example.com (without https://)',
  NOT_AN_ADDRESS: 'not an IPv4 address. Example: 192.168.1.2',
  NOT_A_PORT: 'not a port. Use a number from 1 to 65535',
  NOT_A_COUNT: 'not a positive whole number. Example: 60',
  NOT_A_FLAG: 'use true or false',
  NOT_A_PORT_RANGE: 'not a port range (first below last, from 1024 on). Example: 50000-60000',
  NOT_ABSOLUTE: 'not an absolute path, or it has spaces, quotes, \\, $ or %. Example: /var/lib/livekit-fleet',
  PATH_TOO_LONG: 'longer than {hint} bytes: sockets below it would not fit. Choose a shorter path',
  NOT_A_URL: 'not an http:// or https:// URL. Example: https://example.com/hook',
  NOT_NODES: 'use localhost or IPv4 addresses with commas. Example: 192.168.1.2,192.168.1.3',
  DUPLICATE_NODES: 'an address stands twice. Keep one of them',
  NOT_AN_UPSTREAM: 'not host:port. Example: 127.0.0.1:9000',
  NOT_A_USER: 'not a user name. Example: livekit-fleet',
  NOT_ONE_OF: 'use one of: {hint}',
  SECRET_TOO_SHORT: 'shorter than {hint} characters. Leave it empty to have one generated',
  KEY_WITHOUT_SECRET: 'set both LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or neither',
  WEBHOOK_KEY_UNKNOWN: 'not the same as LIVEKIT_API_KEY. Leave it empty or write the same key',
  TLS_FILES_MISSING: 'TLS_MODE=files needs TLS_CERT_FILE and TLS_KEY_FILE',
  BAD_CHARACTERS: 'has spaces, quotes, backslashes, colons, # or characters beyond ASCII. Use letters, digits, - and _',
  PORT_CLASH: 'the same port as {hint}. Choose another',
} as const;

/** Why a step of the meeting that `verify` holds failed, and what to look at: the `{hint}` of VERIFY_FAILED. */
export const causes = {
  API_UNREACHABLE: 'Nothing answers at the address, or the business service is down. See: ./部署.sh status; is DOMAIN this machine, is HTTPS_PORT open?',
  API_UNAUTHORIZED: 'SERVICE_API_TOKEN in .env is not the one that the service runs with. Run: ./部署.sh deploy',
  API_REFUSED: 'The room API refused the request. See: ./部署.sh logs service',
  LIVEKIT_UNAVAILABLE: 'LiveKit does not answer. See: ./部署.sh status, ./部署.sh logs livekit',
  SIGNALLING_FAILED: 'The WebSocket to LiveKit did not come up or broke. See: ./部署.sh logs caddy, ./部署.sh logs livekit',
  TLS_UNTRUSTED: 'The certificate is not trusted or not for this name. See TLS_MODE in docs/settings.md, ./部署.sh logs caddy',
  MEDIA_BLOCKED: 'No audio arrives. Open LIVEKIT_UDP_PORTS (UDP) and LIVEKIT_TCP_PORT; behind NAT set NODE_IP to the public address',
  DATA_LOST: 'A data message did not arrive. See: ./部署.sh logs livekit',
  WEBHOOKS_MISSING: 'Webhooks did not arrive at the service. See: ./部署.sh logs agent; is WEBHOOK_URLS right?',
  CLIENT_CRASHED: 'The meeting’s own client ended. The lines above say why; run npm ci if a module is missing',
} as const;

/** Everything else that is said. */
export const texts = {
  LINE: 'line {line}',
  FROM_COMMAND_LINE: 'command line',
  ROLLED_BACK: 'The former files are back; parts that ran run with them again, the others are stopped.',
  STEP_COMPONENT: 'Component {component}: {source}',
  STEP_HEALTH: 'Health',
  ENV_CREATED: 'Created {path} (mode 0600) from .env.example',
  SECRETS_WRITTEN: 'Generated and wrote into .env: {names}',
  NOTHING_TO_DO: 'Nothing to change; nothing was restarted.',
  DEPLOYED: 'livekit-fleet is up.',
  ADDRESS: 'Address       {url}',
  PLAIN_ADDRESS: 'Without TLS   {url}  (this machine only; the browser’s camera works there)',
  API_TOKEN_PLACE: 'Room API      {url}/api/v1/rooms, bearer token: SERVICE_API_TOKEN in {path}',
  TRUST_CA: 'Trust the CA  {path}',
  NEXT_VERIFY: 'Next          ./部署.sh verify   (a real meeting through this address)',
  STARTED: 'Started and well: {parts}',
  ALREADY_RUNNING: 'Nothing was started; running already: {parts}',
  RESTARTED: 'Restarted and well: {parts}',
  STOPPED: 'Stopped: {parts}',
  VERIFIED: 'The meeting worked from end to end.',
} as const;

/** English texts by code; `{name}` is filled from the parameters. */
export const en = { ...errors, ...problems, ...causes, ...texts } as const;

/** Codes of FleetError. */
export type ErrorCode = keyof typeof errors;
/** Codes of Problem. */
export type ProblemCode = keyof typeof problems;
/** Codes of the causes that `verify` tells apart. */
export type CauseCode = keyof typeof causes;
/** Codes of all other messages. */
export type TextCode = keyof typeof texts;
/** All codes; the compiler refuses any other. */
export type MessageCode = ErrorCode | ProblemCode | CauseCode | TextCode;

type Placeholder<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | Placeholder<Rest> : never;

/** What a message must be filled with: exactly the placeholders of its text. */
export type Params<C extends MessageCode> = [Placeholder<(typeof en)[C]>] extends [never]
  ? Record<string, never>
  : { readonly [Name in Placeholder<(typeof en)[C]>]: string | number };
