import type { Language } from './translate.ts';

/**
 * What probes, parts, archives and steps say in a word or a line of English, and its Chinese; `{name}` stands for what comes between.
 * JSON keeps the English. What is not here (the words of other programs, codes such as ENOENT) is shown as it is.
 */
export const details: Readonly<Record<string, string>> = {
  // States of parts and machines.
  running: '运行中',
  stopped: '已停止',
  failing: '反复退出',
  stopping: '停止中',
  serving: '服务中',
  down: '不可用',
  draining: '排空中',
  // Health.
  ready: '就绪',
  timeout: '超时',
  'not ready yet': '尚未就绪',
  'port {port} is held by user id {uid}': '端口 {port} 被用户 id {uid} 占用',
  'nothing listens on port {port}': '端口 {port} 无人监听',
  'primary known': '已知主节点',
  'up, but the fleet has not been told of it yet': '已启动，集群尚未得知',
  'LiveKit answers through it': 'LiveKit 经由它应答',
  'no LiveKit behind it yet': '其后尚无 LiveKit',
  'no rules loaded yet': '尚未载入规则',
  'in force': '已生效',
  'on trial': '试用中',
  'not confirmed: run ./部署.sh deploy': '未确认：请执行 ./部署.sh deploy',
  'taken back: nobody confirmed the new rules in time; run ./部署.sh deploy': '已撤回：新规则未及时确认；请执行 ./部署.sh deploy',
  'failed: {problem}. Set FIREWALL=print or FIREWALL=off in .env where nftables cannot be used':
    '失败：{problem}。无法使用 nftables 时请在 .env 中设 FIREWALL=print 或 FIREWALL=off',
  'cannot: ss of iproute2 is missing or too old; after a power cut LiveKit may have to be restarted':
    '不可用：缺少 iproute2 的 ss 或版本太旧；断电后可能需要重启 LiveKit',
  'cannot: the kernel does not end connections on command (INET_DIAG_DESTROY); after a power cut LiveKit may have to be restarted':
    '不可用：内核不能按要求结束连接（INET_DIAG_DESTROY）；断电后可能需要重启 LiveKit',
  '{bytes} bytes in {seconds} s': '{seconds} 秒内只收到 {bytes} 字节',
  'backing up': '备份中',
  'next backup {at}': '下次备份 {at}',
  'last backup {at}': '上次备份 {at}',
  'the backup of {at} failed (see logs backups)': '{at} 的备份失败（请看 logs backups）',
  'refused: {problem}': '拒绝：{problem}',
  '{path} can be changed by others than root': '{path} 可被 root 以外的用户更改',
  // Steps.
  backup: '备份',
  proof: '验证',
  check: '检查',
  restore: '恢复',
  health: '健康',
  files: '文件',
  archive: '打包',
  fleet: '集群',
  drain: '等待离开',
  create: '新建',
  update: '更新',
  start: '启动',
  end: '结束',
  '{count} participant(s), {seconds} s': '{count} 位参会者，{seconds} 秒',
  // What is wrong with an archive.
  'it ends too early': '提前结束',
  'something follows its end': '结尾之后还有内容',
  'a name is too long': '名称太长',
  'a size is too large': '大小超出范围',
  'a size is no number': '大小不是数字',
  'a member of type {type}': '含有类型为 {type} 的成员',
  'a header’s checksum is wrong': '成员头的校验和不符',
  '{name} comes behind the end': '{name} 出现在结尾之后',
  '{name} does not belong there': '不应有 {name}',
  'the age header': 'age 文件头',
  'the age header is not one for a passphrase': 'age 文件头不是口令加密',
  'the age header asks for a work factor of {factor}': 'age 文件头要求的工作因子为 {factor}',
  'an encrypted part of it, or its end': '有一段密文不符，或结尾缺失',
  'not counted': '没有清点',
  missing: '缺失',
  '{table} has {found} rows instead of {rows}': '{table} 有 {found} 行，应有 {rows} 行',
  '{found} keys instead of {keys}': '有 {found} 个键，应有 {keys} 个',
  '{found} keys arrived instead of {keys}': '到达 {found} 个键，应有 {keys} 个',
  'its rows end too early': '行提前结束',
  'a statement is too long': '语句太长',
  'its last statement ends too early': '最后一条语句提前结束',
  'a statement with a backslash': '语句含反斜杠',
  // Why something cannot be used.
  'not a file': '不是文件',
  'others than root may read it; chown root {path}; chmod 600 {same}': 'root 以外的用户可以读取；请执行 chown root {path}; chmod 600 {same}',
  'its first line is empty': '首行为空',
  'its search path leads to no schema': '其 search_path 中没有可用的 schema',
  'no CREATE on schema {schema}': '对 schema {schema} 没有 CREATE 权限',
  'not the owner of table {table}': '不是表 {table} 的所有者',
  'the primary that took the data was replaced by one without them': '接收数据的主节点已被没有这些数据的节点取代',
  'another restore has begun': '另一次恢复已开始',
  'no password asked': '不要求密码',
  'no agent on {port}': '{port} 上没有 agent',
};

const PARTS = '; ';
/** What is wrong with a member of an archive. */
const MEMBER = /^(env|[\w/@+-]*\.[\w./@+-]+): (.+)$/s;

interface Template {
  readonly pattern: RegExp;
  readonly names: readonly string[];
  readonly chinese: string;
}

/** The Chinese of a detail, or of several with semicolons between; in English, and where there is none, the detail itself. */
export function translateDetail(language: Language, detail: string): string {
  if (language === 'en') return detail;
  const parts = detail.includes(PARTS) ? detail.split(PARTS).map(wholly) : [null];
  // Other programs have semicolons too.
  return parts.includes(null) ? (wholly(detail) ?? detail) : parts.join('；');
}

function wholly(detail: string): string | null {
  const literal = Object.hasOwn(details, detail) ? details[detail] : undefined;
  if (literal !== undefined) return literal;
  const marked = /^[✗✓] /.exec(detail)?.[0];
  if (marked !== undefined) return `${marked}${translateDetail('zh', detail.slice(marked.length))}`;
  const [, member = '', problem = ''] = MEMBER.exec(detail) ?? [];
  const ofMember = problem === '' ? null : wholly(problem);
  if (ofMember !== null) return `${member}：${ofMember}`;
  for (const { pattern, names, chinese } of templates) {
    const found = pattern.exec(detail);
    if (found === null) continue;
    const values = new Map(names.map((name, at) => [name, translateDetail('zh', found[at + 1] ?? '')]));
    return chinese.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => values.get(name) ?? '');
  }
  return null;
}

function templateOf(english: string, chinese: string): Template {
  const pieces = english.split(/\{(\w+)\}/);
  const source = pieces.map((piece, at) => (at % 2 === 0 ? piece.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`) : '(.+?)')).join('');
  return { pattern: new RegExp(`^${source}$`, 's'), names: pieces.filter((_, at) => at % 2 === 1), chinese };
}

const templates = Object.entries(details).flatMap(([english, chinese]) => (english.includes('{') ? [templateOf(english, chinese)] : []));
