import * as z from 'zod';
import * as is from './variable.ts';
import type { Variable } from './variable.ts';

function variable<T>(definition: Variable<T>): Variable<T> {
  return definition;
}

function portVariable(fallback: number, zh: string, en: string): Variable<number> {
  return { type: is.port, fallback: String(fallback), group: 'ports', zh, en };
}

/** Every variable of `.env`, in the order of `.env.example`. The names of group `guide` are the deployment guide's. */
export const schema = {
  DOMAIN: variable({
    type: is.host,
    fallback: 'localhost',
    group: 'guide',
    zh: '对外域名；本机试用为 localhost',
    en: 'Public host name; localhost to try it on this machine',
  }),
  NODES: variable({
    type: is.nodes,
    fallback: 'localhost',
    group: 'guide',
    zh: '媒体机地址，逗号分隔；单机为 localhost',
    en: 'Addresses of the media machines, comma-separated; localhost for one',
  }),
  REDIS_HOST: variable({
    type: is.host,
    fallback: 'localhost',
    group: 'guide',
    zh: '首个 Redis 主节点地址（故障转移后以 Sentinel 为准）',
    en: 'Address of the first Redis primary (after a failover Sentinel decides)',
  }),
  REDIS_PORT: variable({ type: is.port, fallback: '6379', group: 'guide', zh: 'Redis 端口', en: 'Redis port' }),
  REDIS_PASSWORD: variable({
    type: is.password,
    fallback: '',
    group: 'guide',
    zh: 'Redis 密码；留空则由 API secret 派生并写回',
    en: 'Redis password; empty: derived from the API secret and written back',
    isSecret: true,
  }),
  LIVEKIT_API_KEY: variable({
    type: is.credential,
    fallback: '',
    group: 'guide',
    zh: 'LiveKit API key；留空则自动生成并写回',
    en: 'LiveKit API key; empty: generated and written back',
  }),
  LIVEKIT_API_SECRET: variable({
    type: is.credential,
    fallback: '',
    group: 'guide',
    zh: 'LiveKit API secret（至少 32 个字符）；留空则自动生成并写回',
    en: 'LiveKit API secret (32 characters or more); empty: generated and written back',
    isSecret: true,
  }),
  WEBHOOK_ENABLED: variable({ type: is.flag, fallback: 'true', group: 'guide', zh: '是否投递 Webhook', en: 'Whether webhooks are delivered' }),
  WEBHOOK_URLS: variable({
    type: is.urls,
    fallback: '',
    group: 'guide',
    zh: 'Webhook 接收地址，逗号分隔；留空为内置业务服务',
    en: 'Webhook receivers, comma-separated; empty: the built-in business service',
  }),
  WEBHOOK_API_KEY: variable({
    type: is.credential,
    fallback: '',
    group: 'guide',
    zh: '签名 Webhook 的 API key；留空同 LIVEKIT_API_KEY',
    en: 'API key that signs webhooks; empty: LIVEKIT_API_KEY',
  }),
  TLS_MODE: variable({
    type: z.enum(['auto', 'acme', 'internal', 'files']),
    fallback: 'auto',
    group: 'tls',
    zh: 'auto：公网域名用 ACME，localhost、内网名与地址用内部 CA；也可 acme|internal|files',
    en: 'auto: ACME for a public name, internal CA for localhost, private names and addresses; or acme|internal|files',
  }),
  TLS_CERT_FILE: variable({ type: is.optionalPath, fallback: '', group: 'tls', zh: 'TLS_MODE=files 的证书链', en: 'Certificate chain for TLS_MODE=files' }),
  TLS_KEY_FILE: variable({ type: is.optionalPath, fallback: '', group: 'tls', zh: 'TLS_MODE=files 的私钥', en: 'Private key for TLS_MODE=files' }),
  ACME_EMAIL: variable({ type: is.text, fallback: '', group: 'tls', zh: 'ACME 联系邮箱（可选）', en: 'ACME contact address (optional)' }),
  ACME_CA: variable({
    type: is.optionalUrl,
    fallback: '',
    group: 'tls',
    zh: '其他 ACME 机构的目录地址（ZeroSSL、公司内的 step-ca 等）；留空为 Let’s Encrypt。设置后 auto 对内网名也用 ACME',
    en: 'Directory URL of another ACME authority (ZeroSSL, a company’s step-ca); empty: Let’s Encrypt. With it auto uses ACME for private names too',
  }),
  ACME_ROOT_FILE: variable({
    type: is.optionalPath,
    fallback: '',
    group: 'tls',
    zh: '信任 ACME_CA 的 https 所用的根证书（PEM）；留空为系统的根证书',
    en: 'Root certificate (PEM) that vouches for the https of ACME_CA; empty: the system’s roots',
  }),
  TURN_DOMAIN: variable({
    type: is.optionalHost,
    fallback: '',
    group: 'tls',
    zh: '媒体机：经 TLS 的 TURN 的域名（A 记录指向本媒体机）；留空则只有 UDP',
    en: 'Media machine: name of its TURN over TLS (an A record of this machine); empty: UDP only',
  }),
  TURN_CERT_FILE: variable({ type: is.optionalPath, fallback: '', group: 'tls', zh: 'TURN_DOMAIN 的证书链', en: 'Certificate chain for TURN_DOMAIN' }),
  TURN_KEY_FILE: variable({ type: is.optionalPath, fallback: '', group: 'tls', zh: 'TURN_DOMAIN 的私钥', en: 'Private key for TURN_DOMAIN' }),
  HTTP_PORT: portVariable(80, 'Caddy HTTP 端口', 'Caddy HTTP port'),
  HTTPS_PORT: portVariable(443, 'Caddy HTTPS 端口', 'Caddy HTTPS port'),
  SERVICE_PORT: portVariable(8080, '业务服务端口', 'Business service port'),
  GATEWAY_INTERNAL_PORT: portVariable(8081, 'Caddy 内部入口（仅本机）', 'Caddy inner listener (this machine only)'),
  LIVEKIT_HTTP_PORT: portVariable(7880, 'LiveKit 信令端口', 'LiveKit signalling port'),
  LIVEKIT_TCP_PORT: portVariable(7881, 'LiveKit ICE/TCP 端口', 'LiveKit ICE/TCP port'),
  LIVEKIT_UDP_PORTS: variable({
    type: is.portRange,
    fallback: '50000-60000',
    group: 'ports',
    zh: 'LiveKit 媒体 UDP 端口段',
    en: 'LiveKit media UDP port range',
  }),
  TURN_UDP_PORT: portVariable(3478, 'TURN UDP 端口', 'TURN UDP port'),
  TURN_TLS_PORT: portVariable(443, 'TURN TLS 端口（LiveKit 总是告知客户端 443）', 'TURN TLS port (LiveKit always tells clients 443)'),
  METRICS_PORT: portVariable(6789, 'LiveKit 指标端口', 'LiveKit metrics port'),
  SENTINEL_PORT: portVariable(26379, 'Sentinel 端口', 'Sentinel port'),
  AGENT_PORT: portVariable(7980, '代理（agent）端口', 'Agent port'),
  NODE_PUBLIC_IP: variable({
    type: is.publicAddress,
    fallback: 'auto',
    group: 'ports',
    zh: '媒体对外地址：auto 自动查询（网卡、云厂商元数据、STUN）；也可写地址；none 为内网地址',
    en: 'Address announced for media: auto finds it (interfaces, the cloud’s metadata, STUN); or an address; none: the private one',
  }),
  STUN_SERVERS: variable({
    type: is.endpoints,
    fallback: 'stun.miwifi.com:3478,stun.chat.bilibili.com:3478,stun.cloudflare.com:3478,stun.l.google.com:19302',
    group: 'ports',
    zh: 'NODE_PUBLIC_IP=auto 询问的 STUN 服务器，host:port，逗号分隔',
    en: 'STUN servers that NODE_PUBLIC_IP=auto asks, host:port with commas',
  }),
  DATA_DIR: variable({
    type: is.rootPath,
    fallback: '/var/lib/livekit-fleet',
    group: 'paths',
    zh: '配置、数据、日志、组件的根目录',
    en: 'Root of configuration, data, logs and components',
  }),
  COMPONENT_DIR: variable({
    type: is.optionalPath,
    fallback: '',
    group: 'paths',
    zh: '组件仓库；留空为 DATA_DIR/components',
    en: 'Component store; empty: DATA_DIR/components',
  }),
  LIVEKIT_PATH: variable({ type: is.optionalPath, fallback: '', group: 'paths', zh: '自备 livekit-server 的路径', en: 'Path of your own livekit-server' }),
  CADDY_PATH: variable({ type: is.optionalPath, fallback: '', group: 'paths', zh: '自备 caddy 的路径', en: 'Path of your own caddy' }),
  REDIS_SERVER_PATH: variable({ type: is.optionalPath, fallback: '', group: 'paths', zh: '自备 redis-server 的路径', en: 'Path of your own redis-server' }),
  COMPONENT_MIRROR: variable({
    type: is.optionalUrl,
    fallback: '',
    group: 'mirrors',
    zh: '替代 https://github.com 的发行包镜像',
    en: 'Mirror used in place of https://github.com for releases',
  }),
  NODE_MIRROR: variable({
    type: is.optionalUrl,
    fallback: '',
    group: 'mirrors',
    zh: 'Node 镜像，如 https://npmmirror.com/mirrors/node',
    en: 'Node mirror, such as https://npmmirror.com/mirrors/node',
  }),
  NPM_CONFIG_REGISTRY: variable({
    type: is.optionalUrl,
    fallback: '',
    group: 'mirrors',
    zh: 'npm 源，如 https://registry.npmmirror.com',
    en: 'npm registry, such as https://registry.npmmirror.com',
  }),
  GOPROXY: variable({
    type: is.text,
    fallback: '',
    group: 'mirrors',
    zh: 'Go 模块代理，如 https://goproxy.cn,direct',
    en: 'Go module proxy, such as https://goproxy.cn,direct',
  }),
  BUSINESS_UPSTREAM: variable({
    type: is.optionalUpstream,
    fallback: '',
    group: 'service',
    zh: '自有业务服务 host:port；设置后 /api 转发到它',
    en: 'Your own service as host:port; /api then goes there',
  }),
  SERVICE_API_TOKEN: variable({
    type: is.credential,
    fallback: '',
    group: 'service',
    zh: '房间 API 的 bearer token；留空则自动生成并写回',
    en: 'Bearer token of the room API; empty: generated and written back',
    isSecret: true,
  }),
  TOKEN_TTL: variable({ type: is.count, fallback: '3600', group: 'service', zh: '加入令牌有效期（秒）', en: 'Life of a join token (seconds)' }),
  HISTORY_DAYS: variable({
    type: is.count,
    fallback: '90',
    group: 'service',
    zh: '已结束的房间与收到的 Webhook 保留天数',
    en: 'Days for which rooms that ended and webhooks that came are kept',
  }),
  WEBHOOK_HTTP: variable({
    type: z.enum(['private', 'any']),
    fallback: 'private',
    group: 'service',
    zh: '经 API 登记的接收地址可用 http 的范围：private 仅本机与内网；any 也包括公网（不加密）',
    en: 'Where endpoints added by the API may use http: private: this machine and private networks; any: public addresses too (not encrypted)',
  }),
  SERVICE_USER: variable({
    type: is.user,
    fallback: 'livekit-fleet',
    group: 'operation',
    zh: '各部件运行的系统用户',
    en: 'System user that the parts run as',
  }),
  SUPERVISOR: variable({
    type: z.enum(['auto', 'systemd', 'processes']),
    fallback: 'auto',
    group: 'operation',
    zh: 'auto：PID 1 为 systemd 时用单元，否则用受监管进程',
    en: 'auto: units where systemd is PID 1, else supervised processes',
  }),
  FIREWALL: variable({
    type: z.enum(['apply', 'print', 'off']),
    fallback: 'apply',
    group: 'operation',
    zh: 'apply：只有集群成员可访问内部端口（nftables）；print：只输出规则；off：不设',
    en: 'apply: only machines of the fleet reach inner ports (nftables); print: only show the rules; off: none',
  }),
  HEALTH_TIMEOUT: variable({
    type: is.count,
    fallback: '60',
    group: 'operation',
    zh: '等待健康的秒数，超过则回滚',
    en: 'Seconds to wait for health before rolling back',
  }),
  DRAIN_TIMEOUT: variable({
    type: is.count,
    fallback: '300',
    group: 'operation',
    zh: '停止或重启 LiveKit 前等待参会者离开的最长秒数',
    en: 'Longest wait in seconds for participants to leave before LiveKit is stopped or restarted',
  }),
  LOG_LEVEL: variable({ type: z.enum(['debug', 'info', 'warn', 'error']), fallback: 'info', group: 'operation', zh: '日志级别', en: 'Log level' }),
} as const;

/** Name of a variable. */
export type VariableName = keyof typeof schema;

/** The checked settings: each variable's converted value. Secret ones are plain text: never print this object. */
export type Settings = { readonly [K in VariableName]: (typeof schema)[K]['type'] extends z.ZodType<infer T, string> ? T : never };

/** All names, in the order of `.env.example`. */
export const variableNames = Object.keys(schema) as VariableName[];
