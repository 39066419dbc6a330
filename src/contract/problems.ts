interface Problem {
  readonly status: number;
  /** What the code means: the answer's title. */
  readonly zh: string;
  readonly en: string;
  /** What happened this time, `{name}` filled in; the title where absent. */
  readonly detail?: { readonly zh: string; readonly en: string };
}

/** Every `code` of the HTTP API's problem answers (RFC 9457), with its status and meaning. */
export const apiProblems = {
  BAD_REQUEST: {
    status: 400,
    zh: '请求的格式或内容不对，见 detail',
    en: 'the request is not well-formed; detail says where',
    detail: { zh: '{issues}', en: '{issues}' },
  },
  UNAUTHORIZED: {
    status: 401,
    zh: '缺少、错误、过期或已吊销的 bearer token',
    en: 'no bearer token, or one that is wrong, has expired or was revoked',
  },
  FORBIDDEN: {
    status: 403,
    zh: '此 token 没有所需的权限（scope）',
    en: 'the token lacks the scope',
    detail: { zh: '需要权限 {scope}', en: 'The scope {scope} is needed' },
  },
  NOT_YOURS: {
    status: 403,
    zh: '终端用户只能以自己的身份做自己的事',
    en: 'an end user acts as themselves alone',
    detail: { zh: '{identity} 不能这样做', en: '{identity} may not do this' },
  },
  RATE_LIMITED: {
    status: 429,
    zh: '请求过多；按 Retry-After 等待',
    en: 'too many requests; wait for as long as Retry-After says',
    detail: { zh: '请在 {seconds} 秒后重试', en: 'Try again in {seconds} s' },
  },
  AUTH_UNAVAILABLE: {
    status: 503,
    zh: '取不到 AUTH_JWKS 的公钥，无法核实终端用户的 token',
    en: 'the public keys of AUTH_JWKS cannot be had, so no token of an end user can be checked',
  },
  NOT_FOUND: { status: 404, zh: '没有这个地址', en: 'there is nothing at this address' },
  ROOM_NOT_FOUND: { status: 404, zh: '没有这个房间', en: 'there is no such room', detail: { zh: '没有房间 {id}', en: 'There is no room {id}' } },
  ROOM_EXISTS: {
    status: 409,
    zh: '已有同名房间；换一个 id',
    en: 'a room with this id exists already; choose another',
    detail: { zh: '房间 {id} 已存在', en: 'Room {id} exists already' },
  },
  ROOM_FINISHED: {
    status: 409,
    zh: '房间已结束；请新建',
    en: 'the room has ended; create a new one',
    detail: { zh: '房间 {id} 已结束', en: 'Room {id} has ended' },
  },
  ROOM_FULL: {
    status: 409,
    zh: '房间已满',
    en: 'the room has as many participants as it takes',
    detail: { zh: '房间 {id} 已有 {max} 人', en: 'Room {id} has its {max} participants' },
  },
  CALL_NOT_FOUND: { status: 404, zh: '没有这个通话', en: 'there is no such call', detail: { zh: '没有通话 {id}', en: 'There is no call {id}' } },
  CALL_ENDED: { status: 409, zh: '通话已结束', en: 'the call has ended', detail: { zh: '通话 {id} 已结束', en: 'Call {id} has ended' } },
  CALL_STATE: { status: 409, zh: '通话或此人当前的状态不允许这样做', en: 'the call, or the person, is not in a state for this' },
  CALL_FULL: {
    status: 409,
    zh: '通话已满，受邀者计算在内',
    en: 'the call has as many people as it takes, those who are asked included',
    detail: { zh: '通话 {id} 已满，受邀者计算在内', en: 'Call {id} has as many people as it takes, those who are asked included' },
  },
  NOT_YOUR_CALL: {
    status: 403,
    zh: '此人不在通话中，或无权这样做',
    en: 'the person does not take part in the call, or may not do this in it',
    detail: { zh: '{identity} 不在通话 {id} 中，或无权这样做', en: '{identity} does not take part in call {id}, or may not do this in it' },
  },
  PARTICIPANT_NOT_FOUND: {
    status: 404,
    zh: '此人不在房间中，或没有这条轨道',
    en: 'the participant is not in the room, or has no such track',
    detail: { zh: '{identity} 不在房间 {room} 中，或没有这条轨道', en: '{identity} is not in room {room}, or has no such track' },
  },
  IDEMPOTENCY_MISMATCH: {
    status: 422,
    zh: '此 Idempotency-Key 已用于另一个请求',
    en: 'this Idempotency-Key was used for another request',
    detail: { zh: 'Idempotency-Key {key} 已用于另一个请求', en: 'Idempotency-Key {key} was used for another request' },
  },
  TOKEN_NOT_FOUND: { status: 404, zh: '没有这个 token', en: 'there is no such token', detail: { zh: '没有 token {id}', en: 'There is no token {id}' } },
  TOKEN_SCOPES: {
    status: 403,
    zh: '不能给出自己没有的权限',
    en: 'a token cannot give what it does not have',
    detail: { zh: '自己没有的权限：{scopes}', en: 'Scopes that it does not have: {scopes}' },
  },
  BODY_TOO_LARGE: { status: 413, zh: '请求体过大', en: 'the body is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, zh: '请用 content-type: application/json', en: 'use content-type: application/json' },
  LIVEKIT_REFUSED: {
    status: 400,
    zh: 'LiveKit 拒绝了请求，见 detail',
    en: 'LiveKit refused the request; see detail',
    detail: { zh: 'LiveKit 拒绝：{message}', en: 'LiveKit refused: {message}' },
  },
  LIVEKIT_UNAVAILABLE: {
    status: 503,
    zh: 'LiveKit 无应答；稍后重试，或看 ./部署.sh status',
    en: 'LiveKit does not answer; try again, or see ./部署.sh status',
    detail: { zh: 'LiveKit 未完成：{message}', en: 'LiveKit did not do it: {message}' },
  },
  NO_MEDIA_MACHINE: {
    status: 503,
    zh: '还没有媒体机加入；见 ./部署.sh help join',
    en: 'no media machine has joined yet; see ./部署.sh help join',
  },
  WEBHOOK_NOT_FOUND: {
    status: 404,
    zh: '没有这个 Webhook 接收地址',
    en: 'there is no such webhook endpoint',
    detail: { zh: '没有 Webhook 接收地址 {id}', en: 'There is no webhook endpoint {id}' },
  },
  WEBHOOK_ADDRESS: {
    status: 400,
    zh: '不能向此地址发送：公网地址须用 https（或 WEBHOOK_HTTP=any），链路本地地址一律不可',
    en: 'nothing is sent to this address: public ones need https (or WEBHOOK_HTTP=any), link-local ones never',
    detail: { zh: '不能向 {url} 发送（{reason}）', en: 'Nothing is sent to {url} ({reason})' },
  },
  WEBHOOK_BODY: { status: 400, zh: 'Webhook 内容不是 LiveKit 事件', en: 'the webhook is not a LiveKit event' },
  WEBHOOK_SIGNATURE: { status: 401, zh: 'Webhook 的签名不是本系统的 key 所签，或已过期', en: 'the webhook is signed by no key of this fleet, or too old' },
  DATABASE_UNAVAILABLE: { status: 503, zh: '数据库无应答；稍后重试', en: 'the database does not answer; try again' },
  INTERNAL: { status: 500, zh: '内部错误；看 ./部署.sh logs service', en: 'internal error; see ./部署.sh logs service' },
} as const satisfies Record<string, Problem>;

/** A `code` of the HTTP API. */
export type ApiProblemCode = keyof typeof apiProblems;

type Placeholder<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | Placeholder<Rest> : never;
type DetailOf<C extends ApiProblemCode> = (typeof apiProblems)[C] extends { detail: { en: infer Text extends string } } ? Text : '';

/** What the detail of a problem must be filled with: exactly the placeholders of its text. */
export type ProblemParams<C extends ApiProblemCode> = [Placeholder<DetailOf<C>>] extends [never]
  ? Record<string, never>
  : { readonly [Name in Placeholder<DetailOf<C>>]: string | number };

/** What happened, in a language. */
export function problemDetail(code: ApiProblemCode, params: Readonly<Record<string, string | number>>, language: 'zh' | 'en'): string {
  const problem: Problem = apiProblems[code];
  return (problem.detail ?? problem)[language].replaceAll(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole));
}
