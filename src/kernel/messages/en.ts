/** Errors that end a command: what happened, then how to mend it. `docs/errors.md` is made from these. */
export const errors = {
  NOT_ROOT: 'This command must run as root (it handles secrets, the service user and ports). Try: sudo {command}',
  ENV_UNREADABLE: 'Not allowed to read {path} (it holds secrets). Run the command as root: sudo ./部署.sh …',
  SETTINGS_INVALID: '{count} problem(s) in the settings; nothing was changed. Mend the lines above and run the same command again.',
  UNKNOWN_COMMAND: 'There is no command called {given}. Did you mean: {suggestion}? See: ./部署.sh help',
  UNKNOWN_OPTION: 'There is no option {given}. Did you mean: {suggestion}?',
  MISSING_WORD: 'The command needs one more word: {word}. See its --help',
  OPTION_WITHOUT_VALUE: 'Option {option} needs a value. See --help of the command',
  BAD_OPTION_VALUE: 'Option {option} cannot be {value}. See --help of the command',
  OPTION_NEEDS: 'Option {option} does nothing here without {other}. See --help of the command',
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
  OUTPUT_EXISTS: '{path} is there already. Name another file, or overwrite it with --force.',
  OUTPUT_UNWRITABLE: '{path} cannot be written ({reason}). Name a file in an existing folder that you may write to.',
  BUNDLE_INCOMPLETE: '{path} is missing, which belongs into the bundle. Run npm ci --omit=dev in the project folder and try again.',
  NOT_DEPLOYED: 'Nothing is deployed in {path} yet. Run ./部署.sh deploy, or for one of several machines deploy-caddy-service-only or deploy-livekit-only',
  UNKNOWN_PART: 'There is no part called {part}. Parts: {known}',
  VERIFY_FAILED: 'The meeting failed at step {step} ({cause}): {detail}\n{hint}',
  TLS_FILE_UNREADABLE: '{variable}={path} cannot be read ({reason}). Write the absolute path of an existing PEM file into .env.',
  TLS_NOT_A_CERTIFICATE:
    '{variable}={path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----). From DER: openssl x509 -inform DER -in {path} -out new.pem; then name the new file.',
  TLS_NOT_A_KEY:
    '{variable}={path} holds no private key in PEM that can be read without a passphrase. Make one: openssl pkey -in {path} -out new.pem; then name the new file.',
  TLS_OTHER_KEY:
    '{keyVariable}={key} is not the key of the first certificate in {variable}={path}: no browser could connect. Name two files that belong together; the server’s own certificate comes first in the chain.',
  TLS_OUT_OF_DATE:
    '{variable}={path} is valid from {from} to {to}, and today is {now}: browsers refuse it. Renew the certificate, or set this machine’s clock, and run the same command again.',
  TLS_OTHER_NAME:
    '{variable}={path} is for {names}, not for {nameVariable}={domain}: browsers refuse it. Set {nameVariable} to a name that it has, or get a certificate for it.',
  STILL_RUNNING: 'Processes of the supervision did not end: pid {pids}. See what they wait for (ps -p {pids}), and run ./部署.sh stop again.',
  FOLDER_IN_THE_WAY: '{path} is a folder; a file of livekit-fleet belongs there. Look at what is in it, remove it, and run the same command again.',
  FILE_TOO_LARGE: '{path} is larger than {limit} bytes, which none of our files is. Look at what wrote it, remove it, and run the same command again.',
  USER_IS_ROOT: 'SERVICE_USER={name} has user id 0: the parts would run with all of root’s rights. Name another user, or leave it empty.',
  DATA_DIR_FOREIGN: 'DATA_DIR={path} holds something that is not of livekit-fleet ({entry}). Name an empty folder, or one that does not exist yet.',
  ENV_MISSING: 'There is no regular file {path} that --env names. Correct the path; cp .env.example there makes one to edit.',
  UNEXPECTED: 'An error that livekit-fleet does not know: {detail}\nRun the same command again; if it comes back, report it with these lines.',
  ADDRESS_NOT_IN_NODES: 'NODES={nodes} has none of this machine’s addresses ({addresses}). Add its address to NODES, on every media machine alike.',
  ALONE_WITH_REDIS_HOST:
    'REDIS_HOST={host} names another machine, but `deploy` runs everything on this one, where no other finds it. Set REDIS_HOST=localhost; for machine 1 of several run ./部署.sh deploy-caddy-service-only, for a media machine deploy-livekit-only.',
  SECRETS_NEEDED:
    'LIVEKIT_API_KEY and LIVEKIT_API_SECRET are not set, and this machine joins the fleet of {host}: they must be the same there and here. Copy both lines from .env of {host}.',
  FLEET_UNREACHABLE:
    'None of the fleet’s machines answers on port {port}: {hosts}. Is the first media machine deployed and up, is its address right (REDIS_HOST, NODES), do firewalls let this machine through?',
  FLEET_FOREIGN: 'What answers at {host}:{port} is no Sentinel of livekit-fleet ({reason}). Correct REDIS_HOST, NODES or SENTINEL_PORT.',
  FLEET_SECRETS_DIFFER:
    '{host} refuses this machine’s password: LIVEKIT_API_SECRET or REDIS_PASSWORD in .env is not the one there. Copy LIVEKIT_API_KEY, LIVEKIT_API_SECRET and, where it is set, REDIS_PASSWORD from .env of {host}.',
  FLEET_KEYS_DIFFER:
    'Machine {machine} of the fleet has another LIVEKIT_API_KEY or LIVEKIT_API_SECRET than this one: tokens would be valid on some machines only. Make the two lines the same in .env of all machines.',
  CLOCKS_APART:
    'This machine’s clock is {seconds} s away from that of {host} (at most {limit} s): LiveKit would take living nodes for dead. Switch time synchronisation on (timedatectl set-ntp true) and run the same command again.',
  JOIN_DAMAGED: 'The word behind join is not a whole join line. Copy the line that deploy-livekit-only printed again, from ./部署.sh to its end.',
  JOIN_OTHER_FLEET: 'This machine belongs to another fleet already: {variable} in .env is not that of the join line. With --force the join line wins.',
  JOIN_WEBHOOK_KEY:
    'WEBHOOK_API_KEY in .env is not the LIVEKIT_API_KEY of the join line, and the fleet signs webhooks with that one. Leave WEBHOOK_API_KEY empty (or write that key) and run the same command again; nothing was changed.',
  JOIN_UNREACHABLE: '{host}:{port} does not answer ({reason}). Is that machine up, and do firewalls let this machine through? Nothing was changed.',
  REDIS_REFUSED: 'Redis at {address} did not take a command ({reason}). See: ./部署.sh status, ./部署.sh logs redis',
  NOT_SURE:
    '{count} people are in rooms of this node, and there is no other that could take them: they would be cut off. Run the command again with --yes, or when they have left.',
  NOT_A_MEDIA_MACHINE: 'This machine runs no LiveKit: there is nothing to leave. To remove it: ./部署.sh uninstall',
  NO_OTHER_PRIMARY:
    'No other Redis could take over from {address} within {seconds} s; this machine goes on as before. Is another media machine up (./部署.sh status)? With --now this one goes all the same.',
  NOT_SURE_UNINSTALL: 'There is no terminal to ask whether livekit-fleet is really to be removed. Run the command again with --yes.',
  FIREWALL_CUTS_OFF:
    'With the new firewall rules these machines no longer reach this one: {machines}. Do their packets come from another address than the one in NODES? The former rules are in force again; FIREWALL=print shows the new ones.',
  UNSUPPORTED_OS: 'This system is {name}; livekit-fleet is made for Debian 11 and up, Ubuntu 20.04 and up, and systems made from them. Nothing was changed.',
  SERVICE_ELSEWHERE: 'Our business service does not run on this machine: run this command on machine 1 (with BUSINESS_UPSTREAM there is none).',
  SERVICE_SILENT: 'The business service does not answer at {url} ({reason}). See: ./部署.sh status, ./部署.sh logs service',
  SERVICE_REFUSED: 'The business service refused ({code}): {detail}',
  VERIFY_ELSEWHERE: 'The meeting goes through the gateway, and its room API: run ./部署.sh verify on machine 1. This machine: ./部署.sh status',
  TURN_PORT_IS_CADDYS:
    'TURN_DOMAIN needs port {port}, which Caddy has on this machine; LiveKit tells clients 443, whatever its port is. Run LiveKit on a machine of its own (deploy-livekit-only), or leave TURN_DOMAIN empty.',
  FLEET_SPLIT:
    'The fleet’s machines name different Redis primaries ({views}): two fleets with the same keys, or one that does not find together. On the machine that does not belong, run ./部署.sh leave --now, then deploy it again; nothing was changed.',
  FLEET_LEFT:
    'This machine has left the fleet of {hosts}, none of which answers now; with the same keys it would be a second fleet beside it. Run the same command when one of them is up. If they are gone for good: --new-fleet.',
  PRIMARY_WITHOUT_DATA:
    'The fleet still takes {address} for its Redis primary, but this machine has no data: its replicas would be emptied. Run ./部署.sh status on another media machine; when it names another primary, run the same command again.',
  FLEET_PORTS:
    '{variable} is {was} on the fleet’s machines ({hosts}); with {wanted} this one would be cut off. Write {variable}={was}. To change it for the fleet: let all but one leave, change it there, and deploy the others again with it.',
  ROLE_CHANGES:
    'This machine was deployed with {was}; {wanted} would end parts that others count on. To apply changes of .env alone: ./部署.sh {was}. For another role first run ./部署.sh {way}, then {wanted}.',
  DATA_DIR_UNUSABLE: 'DATA_DIR={path} cannot be used ({reason}). Name an empty folder, or one that does not exist yet.',
  COMPONENT_DIR_UNUSABLE: 'COMPONENT_DIR={path} cannot be used ({reason}). Name a folder that root may write, or one that does not exist yet.',
  DATA_DIR_MOVES:
    'This machine is deployed with DATA_DIR={from}; with {to} it would begin without its data. Set it back, or move the data: DATA_DIR={from} ./部署.sh stop; mv {from} {to}; rm /etc/systemd/system/livekit-fleet-*.service; then the same command again.',
  NO_PRIMARY:
    'The fleet’s Redis primary {address} does not answer, so nobody can be told. Wait until Sentinel has replaced it (./部署.sh status), or use --now to go all the same.',
  OTHER_IS_LEAVING:
    'Machine {machine} is leaving the fleet or being upgraded at this moment; machines do so one after the other. Run the same command again in a minute.',
  GOODBYE_FAILED:
    'The fleet’s Redis primary did not take {machine} off the registry. See ./部署.sh status on another machine; run the same command again, or there: ./部署.sh forget {address}',
  UNKNOWN_MACHINE: 'The fleet has no media machine {machine}. It has: {known}',
  MACHINE_LIVES: 'Machine {machine} answers at {address}. Run ./部署.sh leave there.',
  NOT_SURE_FORGET: 'There is no terminal to ask whether {machine} is really gone for good. Run the command again with --yes.',
  FLEET_NOT_WELL: 'These machines do not serve: {machines}. Mend them first (./部署.sh status), so that the others can take over one machine after the other.',
  FLEET_OF_ONE: 'There is one media machine only. Run there: {command}',
  RESTART_STOPPED:
    'LiveKit on {machine} did not come back (last heard: {state}); the machines after it were not touched. See there: ./部署.sh status, ./部署.sh logs livekit',
  FETCH_FAILED:
    'These machines do not have the version, and could not bring it; nothing was changed:\n  {machines}\nBring it there (./部署.sh upgrade --fetch --to VERSION, or a bundle that holds it), or see there: ./部署.sh status, ./部署.sh logs upgrades',
  VERSIONS_DIFFER: 'The machines would not come to the same version: {versions}. Nothing was changed. Name it: ./部署.sh upgrade --fleet --to VERSION',
  UPGRADE_STOPPED:
    'LiveKit {version} does not serve on {machine}: {detail}\nThat machine goes back to its former version by itself; upgraded before it: {done}; those after it were not touched. See there: ./部署.sh status, ./部署.sh logs livekit. Back on the others: ./部署.sh rollback --fleet',
  NOT_A_VERSION: '{given} is no version. Example: ./部署.sh upgrade --to 1.13.5',
  VERSION_UNAVAILABLE:
    'LiveKit {version} is not in the store and could not be brought; nothing was changed. Does that version exist? Tried: {tried}. Mirrors: COMPONENT_MIRROR, GOPROXY.',
  NO_FORMER_VERSION: 'LiveKit {version} was not put here by upgrade: there is no former version to go back to.',
  NO_LIVEKIT_HERE: 'This machine runs no LiveKit. Run the command on a media machine.',
  LIVEKIT_IS_GIVEN:
    'LIVEKIT_PATH={path} names the program that runs. Replace that one, or empty LIVEKIT_PATH in .env, and run the command that deployed this machine.',
  UNKNOWN_DRILL: '{given} is no fault that a drill can hold. Those: {known} (./部署.sh drill --list)',
  DRILL_ELSEWHERE:
    'The clients of a drill go through the gateway, and its room API: run ./部署.sh drill on machine 1; faults of this machine: --machine with its address.',
  DRILL_NEEDS_TWO: 'There is one media machine only: for {fault} there has to be another one that can take over.',
  DRILL_NOT_HERE:
    'The fault {fault} cannot be held on {machine}, where the clients of the drill are. Name another media machine with --machine, or use ./部署.sh drill livekit.',
  DRILL_NO_PART: 'Part {part} does not run on this machine (BUSINESS_UPSTREAM names your own service): {fault} cannot be held here.',
  NOT_SURE_DRILL: 'There is no terminal to ask whether these faults are really to be held. Run the command again with --yes.',
  DRILL_NOT_HELD:
    '{machine} did not hold the fault {fault}, and will not do so later either. See there: ./部署.sh status, ./部署.sh logs agent, ./部署.sh logs sockets. Does it run this version, and has it nftables (to be cut off)?',
  DRILL_CLIENTS: 'The clients of the drill could not meet, or did not end: {detail}\nDoes ./部署.sh verify work?',
  DRILL_FAILED:
    'The fleet did not keep within the limits: {faults}. Above, what happened to the two clients; logs: ./部署.sh logs agent, on the machine of the fault too.',
  DRILL_NOT_MENDED: 'The fleet was not well again {seconds} s after {fault}: {detail}',
  BACKUP_DAMAGED: '{path} is damaged: {reason}. Nothing was changed. Take another archive: ./部署.sh backup list',
  BACKUP_FOREIGN_FILE: '{path} is no archive of livekit-fleet. Nothing was changed. Archives are called livekit-fleet-…tar.zst: ./部署.sh backup list',
  BACKUP_NEWER:
    '{path} has format {format}, this version reads up to {known}. Nothing was changed. Use the version of livekit-fleet that made it, or a newer one.',
  BACKUP_OLDER:
    '{path} has format {format}, this version reads {oldest} and up. Nothing was changed. Restore it with an older version of livekit-fleet, and update then.',
  BACKUP_PASSPHRASE_WRONG:
    'The passphrase does not open {path}. Nothing was changed. It is taken from BACKUP_PASSPHRASE_FILE or BACKUP_PASSPHRASE, also on the command line.',
  BACKUP_PASSPHRASE_MISTYPED: 'The passphrase that was typed does not open {path}. Nothing was changed. Run the same command again to type it once more.',
  BACKUP_ADDRESS_WRONG: '{place} is no address of a bucket. Write s3://BUCKET/PREFIX, with the bucket’s whole name.',
  BACKUP_KEYS_MISSING: 'Without its keys {place} cannot be used. Set BACKUP_S3_ACCESS_KEY and BACKUP_S3_SECRET_KEY, in .env or on the command line.',
  BACKUP_PLACE_UNREADABLE:
    '{place} cannot be read: {reason}. Nothing was changed. Is the address right, and can it be reached from here? Of a bucket see BACKUP_S3_ENDPOINT and its keys in .env.',
  BACKUP_FOLDER_MISSING:
    'There is no folder {folder}, so that backups cannot be kept in {place}: of a path only the last folder is made. Is the path right, is the disk mounted? Else: mkdir -p {folder}',
  BACKUP_PASSPHRASE_MISSING:
    '{path} is encrypted, and no passphrase was given. Nothing was changed. Name a file that holds it: BACKUP_PASSPHRASE_FILE=/path ./部署.sh restore …',
  BACKUP_PASSPHRASE_UNREADABLE: 'BACKUP_PASSPHRASE_FILE={path} cannot be used: {reason}. Name a file of root’s with the passphrase in its first line.',
  BACKUP_NOT_FOUND: 'There is no archive {path} ({reason}). Nothing was changed. Those that are there: ./部署.sh backup list',
  BACKUP_OTHER_FLEET:
    '{path} is of another fleet: machine {machine}, API key and secret are not those of this machine. Nothing was changed. It can be restored on a machine where nothing is deployed.',
  BACKUP_OTHER_KEYS:
    '{path} is of machine {machine}, and {env} of this one, where nothing is deployed, has another API key and secret. Nothing was changed. To make this machine the lost one, set that file aside (mv {env} {env}.old) and run the same command again: the settings come with the archive.',
  BACKUP_OTHER_ROLE:
    '{path} is of a machine that was deployed with {was}; this one was with {wanted}. Nothing was changed. Restore it on such a machine, or on one where nothing is deployed.',
  BACKUP_NO_SPACE: '{path} has {free} of free space, and {needed} are needed. Nothing was changed. Free some space and run the same command again.',
  BACKUP_REDIS_UNSAVED: 'Redis could not write a snapshot into {path}. Is there space? See: ./部署.sh logs redis',
  RESTORE_UNFINISHED:
    'A restore of this machine has not come to its end, so that there is nothing whole to back up. This puts back what stood before: ./部署.sh start',
  RESTORE_UNDO_FAILED:
    'The restore failed ({first}), and what stood before could not be put back yet: {reason}\nStopped on this machine: {stopped}. What stood before is in {path}: leave it there. Once the cause is mended, this goes on with putting it back: ./部署.sh start. Where PostgreSQL or the fleet’s Redis is gone for good, ./部署.sh restore ARCHIVE --alone (or ./部署.sh uninstall) puts back the rest without it.',
  RESTORE_CUT_OFF:
    'This machine is one of a fleet and reaches too few of the others ({hosts}): what was restored here would be lost, or would come back as the data of then, once it reaches them again. Nothing was changed. See that they run and can be reached (./部署.sh start, ./部署.sh status). Are they gone for good: the same command with --alone, or on a machine where nothing is deployed.',
  RESTORE_ELSEWHERE:
    'A restore by machine {machine} was broken off, and what stood before is still beside the data of the fleet’s Redis ({address}). Nothing was changed. Settle it there: ./部署.sh start. Where that machine is lost, strike it off: ./部署.sh forget {machine}',
  REDIS_BESIDE_TAKEN:
    'Database 1 of the fleet’s Redis ({address}), which a restore needs for a while, holds {keys} keys of somebody else’s. Nothing was changed. Move them elsewhere, or remove them, and run the same command again.',
  BACKUP_PART_SICK: '{part} does not answer as it should ({detail}), so that its data cannot be taken. See: ./部署.sh status, ./部署.sh logs {part}',
  DATABASE_CLIENT_MISSING:
    'pg_dump, pg_restore and psql, PostgreSQL’s own programs, are not on this machine. Nothing was changed. Install them: apt-get install {package}',
  DATABASE_CLIENT_OLD:
    'pg_dump, pg_restore and psql of this machine are of version {found}, and {needed} or newer is needed. Nothing was changed. Install them: apt-get install {package}',
  DATABASE_UNREACHABLE: 'PostgreSQL at {address} cannot be used: {reason}. See DATABASE_URL in .env, and docs/database.md.',
  BACKUP_DATABASE_FAILED: 'What PostgreSQL at {address} keeps could not be taken: {reason}. See docs/database.md for the rights that a backup needs.',
  BACKUP_DATABASE_EMPTY:
    'DATABASE_URL leads to PostgreSQL at {address}, schema {schema}, and none of the service’s tables are there: a backup would be without its data, and none was made. Does DATABASE_URL name the database that the service uses? It makes its tables when it starts: ./部署.sh deploy, ./部署.sh status',
  RESTORE_DATABASE_FAILED: 'The tables in PostgreSQL at {address} could not be replaced: {reason}.',
  RESTORE_DATABASE_RIGHTS:
    'The tables in PostgreSQL at {address} cannot be replaced: {reason}. Nothing was changed. Restore with a DATABASE_URL whose role owns them, or may make them.',
  RESTORE_DATABASE_USED:
    'In PostgreSQL at {address} the service’s tables are used by what is not the service’s: {objects}. They cannot be replaced under it. Nothing was changed. Drop it, restore, and make it again.',
  RESTORE_DATABASE_SCHEMA:
    '{path} has its tables in schema {was}, and DATABASE_URL leads to schema {now}. Nothing was changed. Restore with a DATABASE_URL that leads to schema {was}.',
  RESTORE_OTHER_DATABASE:
    '{path} has the business service’s data from {was}, and by DATABASE_URL this machine keeps them in {now}: they would not be used. Nothing was changed. Set DATABASE_URL as it was when the backup was made, and restore then.',
  BACKUP_PLACE_UNUSABLE: 'Backups cannot be kept in {place}: {reason}. Name another folder or bucket: BACKUP_DIR in .env, or --to.',
  NOT_SURE_RESTORE: 'There is no terminal to ask whether {path} is really to be restored. Run the command again with --yes.',
  DECLINED: 'Nothing was changed.',
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
  NOT_A_PUBLIC_ADDRESS: 'use auto, none or an IPv4 address. Example: 203.0.113.7',
  NOT_A_PORT: 'not a port. Use a number from 1 to 65535',
  NOT_A_COUNT: 'not a positive whole number. Example: 60',
  NOT_A_FLAG: 'use true or false',
  NOT_A_PORT_RANGE: 'not a port range (first below last, from 1024 on). Example: 50000-60000',
  NOT_ABSOLUTE: 'not an absolute path, or it has spaces, quotes, \\, $, %, { or }. Example: /var/lib/livekit-fleet',
  NOT_A_DATABASE: 'not postgres://user:password@host/database, with special characters as %XX. Example: postgres://fleet:secret@10.0.0.5/fleet?sslmode=require',
  NOT_A_URL: 'not an http:// or https:// URL. Example: https://example.com/hook',
  NOT_NODES: 'use localhost or IPv4 addresses with commas. Example: 192.168.1.2,192.168.1.3',
  DUPLICATE_NODES: 'an address stands twice. Keep one of them',
  NOT_A_SECURE_URL: 'is no https URL: keys that come over plain http could be anybody’s (http is taken inside a private network)',
  NOT_A_BIND_ADDRESS: 'is neither auto nor an IPv4 address',
  NOT_A_RATE: 'is not a whole number; 0 is no limit',
  NOT_AN_ORIGIN: 'is no list of origins such as https://app.example.com (no path, no slash at the end), or *',
  AUTH_KEYS_TWICE: 'Give AUTH_JWKS_URL or AUTH_JWKS_FILE, not both',
  AUTH_INCOMPLETE: 'needs {hint} too: without it tokens made for other services would be taken',
  NOT_AN_UPSTREAM: 'not host:port. Example: 127.0.0.1:9000',
  NOT_A_USER: 'not a user name. Example: livekit-fleet',
  NOT_ONE_OF: 'use one of: {hint}',
  SECRET_TOO_SHORT: 'shorter than {hint} characters. Leave it empty to have one generated',
  KEY_WITHOUT_SECRET: 'set both LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or neither',
  WEBHOOK_KEY_UNKNOWN: 'not the same as LIVEKIT_API_KEY. Leave it empty or write the same key',
  TLS_FILES_MISSING: 'TLS_MODE=files needs TLS_CERT_FILE and TLS_KEY_FILE',
  TURN_FILES_MISSING: 'needs TURN_CERT_FILE and TURN_KEY_FILE',
  BAD_CHARACTERS: 'has spaces, quotes, backslashes, colons, # or characters beyond ASCII. Use letters, digits, - and _',
  PASSWORD_TOO_LONG: 'longer than {hint} characters, which not every Redis takes. Use a shorter one, or leave it empty to have one derived',
  NOT_AN_INTERVAL: 'use off, or a number of minutes, hours or days. Example: 12h',
  NOT_A_BACKUP_PLACE: 'not an absolute path and not s3://bucket/prefix. Example: /mnt/backups',
  PORT_CLASH: 'the same port as {hint}. Choose another',
} as const;

/** Why a step of the meeting that `verify` holds failed, and what to look at: the `{hint}` of VERIFY_FAILED. */
export const causes = {
  NAME_UNRESOLVED: 'The name does not resolve on this machine. Set a DNS record (or a line in /etc/hosts) for DOMAIN to the address of the gateway machine',
  GATEWAY_UNREACHABLE:
    'Nothing answers at the address. Is Caddy up: ./部署.sh status; does DOMAIN resolve to the gateway machine, do its firewalls let HTTPS_PORT through?',
  TLS_UNTRUSTED:
    'The certificate is of an issuer that this machine does not trust. See docs/tls.md; with a CA of your own: NODE_EXTRA_CA_CERTS=ca.pem SSL_CERT_FILE=ca.pem ./部署.sh verify',
  TLS_EXPIRED: 'The certificate has expired or is not valid yet. Is the clock right (date)? Renew TLS_CERT_FILE, or see ./部署.sh logs caddy',
  TLS_WRONG_NAME: 'The certificate is for another name than DOMAIN. Correct DOMAIN or TLS_CERT_FILE; does the name lead to another machine?',
  TLS_NO_CERTIFICATE: 'Caddy has no certificate for the name (yet). See ./部署.sh logs caddy: ACME needs DOMAIN and port 80 or 443 reachable from outside',
  API_UNAUTHORIZED:
    'SERVICE_API_TOKEN in .env is not the one that the service runs with. Run the command that deployed this machine again (./部署.sh deploy or deploy-caddy-service-only).',
  API_REFUSED: 'The room API refused the request. See: ./部署.sh logs service',
  API_FOREIGN: 'What answers is not the room API of livekit-fleet. Does DOMAIN lead to the gateway machine, and HTTPS_PORT to Caddy?',
  SERVICE_UNAVAILABLE: 'Caddy answers, the business service behind it does not. See: ./部署.sh status, ./部署.sh logs service',
  LIVEKIT_UNAVAILABLE: 'LiveKit does not answer, or cannot reach its Redis. See: ./部署.sh status, ./部署.sh logs livekit',
  KEYS_DIFFER:
    'LiveKit and the service have different API keys, or the clocks of their machines differ. Compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET on all machines, and run again the command that deployed each.',
  SIGNALLING_FAILED: 'The WebSocket to LiveKit did not come up or broke. See: ./部署.sh logs caddy, ./部署.sh logs livekit',
  MEDIA_BLOCKED:
    'Signalling works, media does not come through. Open LIVEKIT_UDP_PORTS (UDP) and LIVEKIT_TCP_PORT in all firewalls; NODE_PUBLIC_IP must be an address that clients reach (behind NAT the public one)',
  AUDIO_LOST: 'Both clients are connected, but no sound arrives. Is LIVEKIT_UDP_PORTS open as a whole? See: ./部署.sh logs livekit',
  DATA_LOST: 'Both clients are connected, but a data message did not arrive. See: ./部署.sh logs livekit',
  AGENT_STOPPED: 'The agent, which passes LiveKit’s webhooks on, does not answer. Run: ./部署.sh start agent; see ./部署.sh logs agent',
  WEBHOOKS_ELSEWHERE: 'WEBHOOK_URLS in .env does not lead to the service that was asked. Add its address (…/api/webhook), or leave it empty',
  WEBHOOKS_REFUSED:
    'The service refuses the signature of webhooks: its LIVEKIT_API_KEY or LIVEKIT_API_SECRET is another. Run the command that deployed this machine again (./部署.sh deploy or deploy-caddy-service-only).',
  WEBHOOKS_MISSING: 'Webhooks did not arrive at the service. See: ./部署.sh logs agent (401: the keys differ), ./部署.sh logs livekit; is WEBHOOK_URLS right?',
  CLIENT_CRASHED: 'The meeting’s own client ended. The lines above say why; run npm ci if a module is missing',
} as const;

/** Everything else that is said. */
export const texts = {
  LINE: 'line {line}',
  FROM_COMMAND_LINE: 'command line',
  ROLLED_BACK: 'The former files are back; parts that ran run with them again, the others are stopped.',
  STEP_COMPONENT: 'Component {component}: {source}',
  STEP_HEALTH: 'Health',
  STEP_BUNDLE_FILES: 'Files of the bundle',
  STEP_BUNDLE_ARCHIVE: 'Archive: {path}',
  BUNDLE_PLANNED: 'Would write {path}',
  BUNDLED: '{path}\n{size} MB, SHA-256 {sha256}',
  NEXT_BUNDLE: 'There: tar -xzf {file} && cd {folder} && ./部署.sh deploy   ({architecture}, glibc {glibc} or newer)',
  ENV_CREATED: 'Created {path} (mode 0600) from .env.example',
  SECRETS_WRITTEN: 'Generated and wrote into .env: {names}',
  NOTHING_TO_DO: 'Nothing to change; nothing was restarted.',
  PLAN_SIGNS: '⇣ bring  + new file  ~ changed file  ▶ start  ↻ restart  ■ end; nothing was done.',
  DEPLOYED: 'livekit-fleet is up.',
  ADDRESS: 'Address       {url}',
  PLAIN_ADDRESS: 'Without TLS   {url}  (this machine only; the browser’s camera works there)',
  API_TOKEN_PLACE: 'Room API      {url}/api/v1/rooms, bearer token: SERVICE_API_TOKEN in {path}',
  TRUST_CA:
    'Trust the CA  {path}\n              Install it on every client (docs/tls.md). Debian: cp {path} /usr/local/share/ca-certificates/livekit-fleet.crt && update-ca-certificates',
  TLS_EXPIRES_SOON:
    '{variable}={path} ends on {until}, in {days} day(s). Renew it and run the command that deployed this machine; how to automate that: docs/tls.md',
  CERTIFICATE_SERVED: 'Certificate for {domain} until {until}, from {issuer}',
  CERTIFICATE_MISSING: 'No certificate for {domain} is served. See: ./部署.sh logs caddy',
  NO_REASON_YET: 'no answer from the authority yet',
  CERTIFICATE_PENDING:
    'The certificate for {domain} is still being fetched; Caddy goes on trying by itself. Last reason: {reason}\n  It comes when {domain} points to this machine in the DNS, and port 80 can be reached from the authority and leads to HTTP_PORT ({port}). See: ./部署.sh status, docs/tls.md',
  FIREWALL_RULES: 'FIREWALL=print: nothing was applied. To apply these rules yourself: nft -f FILE, and at boot from /etc/nftables.conf (include "FILE")',
  FIREWALL_NEEDLESS: 'FIREWALL=print: no rules are needed. What other machines of a fleet would need is open on this machine’s loopback alone.',
  FIREWALL_NO_NFT:
    'The firewall is missing: nftables is not installed, and {ports} can be reached by whoever reaches this machine (Redis asks for a password). Run: apt-get install nftables, and the same command again; or set FIREWALL=off in .env.',
  FIREWALL_OPEN: 'Let these through the firewall of your network as well: {ports}',
  SIGNALLING: 'LiveKit       {address}  (for the gateway machine)',
  JOIN_LINE:
    'Run this once on machine 1 (the gateway). The line is a credential: whoever has it can use this LiveKit.\n\n  {line}\n\nTo keep it out of the shell’s history and the process list, run ./部署.sh join - there, and paste the word that begins with lkf1.\n',
  JOIN_ASKED: 'Paste the word that begins with lkf1, and press Enter: ',
  WAITING_FOR_MEDIA: 'Waiting for media machines: run ./部署.sh deploy-livekit-only on one, and here the join line that it prints.',
  JOINED: 'Written into {path}: {names}',
  JOIN_NEXT: 'Next          ./部署.sh deploy-caddy-service-only',
  DRAINS_ON:
    'LiveKit goes on for those who are in it, without new rooms, and is started again by itself when the last one has left (with systemd {seconds} s after it was told at the latest: other nodes take over those who stayed).',
  DRAINING: 'LiveKit waits for {count} participant(s) to leave, {seconds} s at most',
  REALLY_CUT: '{count} people are in rooms of this node, and there is no other that could take them: they will be cut off. Go on? [y/N] ',
  LEFT: 'This machine has left the fleet; its units are off. To bring it back: ./部署.sh {command}',
  LEFT_WEBHOOKS: '{count} webhooks are not delivered yet: they stay here, and are delivered once this machine has joined again; uninstall removes them',
  LEFT_UNTOLD: 'Gone without the others’ help (--now): they still count this machine. On one of them run ./部署.sh forget {address}',
  FORGOTTEN: '{machine} is off the fleet; the vote follows within a minute. Should it come up again, run ./部署.sh leave --now there.',
  REALLY_FORGET: 'Is {machine} gone for good? The others will no longer count it. [y/N] ',
  JOURNAL_EMPTY: 'Nothing was done here yet.',
  JOURNAL_OWN_ONLY: 'Redis does not answer: these are this machine’s own entries.',
  HANDED_OVER: 'Redis primary is now {address}',
  USER_REMOVED: 'The system user {name} was removed; deploy had made it.',
  UNINSTALLED: 'Removed. Kept: {kept}',
  REALLY_UNINSTALL: 'Remove livekit-fleet from this machine, {what}? [y/N] ',
  UNINSTALL_KEEPING: 'keeping its data in {path}',
  UNINSTALL_ALL: 'with all its data in {path}',
  FLEET: 'Fleet: Redis primary {primary}, {replicas} replica(s); {sentinels} Sentinel(s), quorum {quorum}',
  STATUS_EXITS: 'exits {count}, last {last}',
  FLEET_SILENT: 'Fleet: no Sentinel answers.',
  PUBLIC_ADDRESS: 'Media address {address}, from {source}; between the machines {own}',
  NO_PUBLIC_ADDRESS: 'No public address was found (metadata of the clouds, STUN): media is announced at {own}. For another one set NODE_PUBLIC_IP.',
  NEXT_VERIFY: 'Next          ./部署.sh verify   (a real meeting through this address)',
  STARTED: 'Started and well: {parts}',
  ALREADY_RUNNING: 'Nothing was started; running already: {parts}',
  RESTARTED: 'Restarted and well: {parts}',
  FLEET_RESTARTED: 'LiveKit was restarted on {count} machines, one after the other.',
  VERSION_FETCHED: 'LiveKit {version} is in the store.',
  FLEET_UPGRADED: 'LiveKit {version} serves on all {all} media machines; {count} of them were changed, one after the other.',
  VERSION_CHANGED: 'LiveKit {version} runs and is well. Back to {former}: ./部署.sh rollback',
  VERSION_BACK: 'LiveKit {version}, the former version, runs again and is well.',
  VERSION_CURRENT: 'Nothing to do: this machine has LiveKit {version}.',
  STOPPED: 'Stopped: {parts}',
  OWN_SERVICE:
    'BUSINESS_UPSTREAM is your own service at {upstream}. verify needs this of it: POST /api/v1/rooms → {"id"}, POST /api/v1/rooms/<id>/join {"identity"} → {"url", "token"}, POST /api/v1/rooms/<id>/leave {"identity"}, GET /api/v1/rooms/<id>/events → {"events": [{"event", "identity"}]}, each with the bearer token SERVICE_API_TOKEN, and LiveKit’s webhooks taken at POST /api/webhook. A service without them may work well all the same: then test with your own client.',
  DRILL_OF_AGENT: 'the agent of a media machine is killed',
  DRILL_OF_SERVICE: 'the business service is killed',
  DRILL_OF_CADDY: 'Caddy is killed',
  DRILL_OF_REDIS: 'the Redis primary is killed',
  DRILL_OF_LIVEKIT: 'the LiveKit that the meeting is on is killed',
  DRILL_OF_CUT: 'the media machine that the meeting is on is cut off from all others for 20 s',
  DRILL_OF_CUT_PRIMARY: 'the machine with the Redis primary, and the meeting, is cut off from all others for 20 s',
  DRILL_GAP: 'longest gap in the sound',
  DRILL_ROOM: 'until a new room',
  TOKEN_MADE: 'Token {id} ({scopes}). It is shown this once; keep it like a password:',
  TOKEN_REVOKED: 'Token {id} is revoked: nobody is let in by it any more.',
  TOKENS_NONE: 'No tokens but SERVICE_API_TOKEN of .env. Make one: ./部署.sh tokens add',
  TOKEN_LASTS: 'until revoked',
  TOKEN_EXPIRES: 'until {at}',
  TOKEN_UNUSED: 'never used',
  TOKEN_USED: 'used {at}',
  WEBHOOKS_NONE: 'No endpoint hears of events. Add one: POST /api/v1/webhooks (docs/webhooks.md)',
  WEBHOOK_WELL: 'well',
  WEBHOOK_FAILING: 'takes nothing since {since} ({error})',
  WEBHOOK_OFF: 'switched off',
  WEBHOOK_GONE: 'switched off: it answered 410',
  WEBHOOK_QUEUE: '{waiting} waiting, {dead} not taken',
  WEBHOOKS_REPLAYED: '{count} messages are sent again.',
  DEAD_LETTERS_NONE: 'There are no dead letters.',
  DRILL_RECONNECTIONS: 'reconnections',
  DRILL_ANSWER: 'until it answers again',
  DRILL_SIGNALLING: 'signalling, from then on',
  DRILL_MEETING: 'two clients meet on {machine}',
  DRILL_HELD: 'held on {machine}; watching',
  REALLY_DRILL: '{count} people are in rooms of the fleet. These faults happen for real, and some of them will notice. Go on? [y/N] ',
  DRILL_PASSED: 'The fleet survived: {count} fault(s), all within the limits.',
  STEP_BACKUP: 'Backup of {machine} into {place}',
  STEP_BACKUP_PROOF: 'Proof: unpack, load and count {path}',
  BACKED_UP: '{path}\n{size}, {data} of data, in {seconds} s: {counts}',
  BACKUP_PROVED: 'Proved: {counts}',
  BACKUP_PLANNED: 'Would write {path}: about {data} of data ({members})',
  BACKUP_LIST_EMPTY: 'No backups in {place}.',
  BACKUP_PRUNED: 'Removed {count} from {place}, {size}:',
  BACKUP_PRUNE_PLANNED: 'Would remove {count} from {place}, {size}, so that the newest {keep} of each machine stay:',
  BACKUP_NOT_PRUNED: 'Older backups beyond BACKUP_KEEP could not be removed, and stay: {reason}',
  BACKUP_NOTHING_TO_PRUNE: 'Nothing to remove: no machine has more than {keep} backups in {place}.',
  BACKUP_FOLDER_MADE: 'Made the folder {path}',
  PASSPHRASE_FILE_AWAY: 'BACKUP_PASSPHRASE_FILE={path} is not on this machine.',
  COUNT_KEYS: 'Redis keys {count}',
  COUNT_ROOMS: 'rooms {count}',
  COUNT_EVENTS: 'events {count}',
  COUNT_DELIVERIES: 'webhooks on their way {count}',
  RESTORE_SETTINGS_ALL: 'Settings: {count}, all of the backup, in {path}',
  RESTORE_FILES_MISSING: 'Put these in their places; they are not on this machine: {names}',
  RESTORE_OTHER_ADDRESS: 'The backup is of a machine at {was}, this one is at {now}: let DNS records, NODES of the other machines and firewalls follow.',
  STEP_RESTORE_CHECK: 'Check: unpack, load and count {path}',
  STEP_RESTORE: 'Restore of {machine} as of {madeAt}',
  RESTORE_PLANNED: '{path} is whole: {counts}. It would be restored on this machine as {command}; nothing was changed.',
  RESTORE_UNDOES_FIRST: 'A restore that was broken off would be undone first: ./部署.sh start does so too.',
  RESTORED: 'Restored as of {madeAt}, in {seconds} s, {away} s of them without the parts concerned ({size} of data): {counts}',
  RESTORE_DATABASE:
    'The service’s tables in PostgreSQL at {address} are replaced for every service that uses them. Stop the others meanwhile: what they write after {madeAt} is not in the backup.',
  RESTORE_DATABASE_STAYS:
    'PostgreSQL at {address} has the service’s tables, and they may be newer than the backup: they stay as they are. To have those of the backup, run the same restore once more.',
  RESTORE_DATABASE_SHARED:
    'Other services have {count} connections to the same tables: they wait. What they have written is kept aside with the former tables.',
  RESTORE_SETTINGS: 'Settings that are again those of the backup: {names}',
  RESTORE_KEPT: 'What stood before is in {path}',
  RESTORE_UNDONE: 'What stood before the restore is back.',
  RESTORE_UNDONE_KEPT: 'What had been in use since then, and was changed perhaps, is in {path}. Remove it when nothing of it is needed.',
  RESTORE_UNDONE_LOST: 'What {what} had taken since the restore could not be kept aside, and goes: {reason}',
  RESTORE_GIVEN_UP: '{what} cannot be brought back to where it was before the restore, and is given up: {reason}',
  RESTORE_DATABASE_SINCE: 'Another machine has restored the tables in PostgreSQL since: they stay as they are.',
  RESTORE_UNDONE_HERE: 'On this machine what stood before the restore is back.',
  RESTORE_FORMER_KEPT: 'What PostgreSQL held before the restore is in {path} (pg_restore reads it). Remove it when nothing of it is needed.',
  RESTORE_UNDO_WAITS: 'What stood before is to be put back, which waits {seconds} s at most: {reason}',
  RESTORE_BROKEN_OFF: 'it was broken off',
  RESTORE_UNSETTLED:
    'A restore of this machine was broken off before it was complete; parts may run with its data. This puts back what stood before, and keeps what was written since in {path}: ./部署.sh start',
  RESTORE_GOES_ON: 'A restore is under way on this machine.',
  RESTORE_UNDONE_THERE: 'In {path} lies what restores that were undone had put in use: {names}. Remove it when nothing of it is needed.',
  RESTORE_FINISHED: 'A restore had been interrupted at its very end; it is complete.',
  ASK_PASSPHRASE: 'Passphrase of {path}: ',
  REALLY_RESTORE: 'Replace the data of this machine by those of {madeAt} ({path})? [y/N] ',
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
