/** Every `code` of the HTTP API's problem answers (RFC 9457), with its status and meaning. */
export const apiProblems = {
  BAD_REQUEST: { status: 400, zh: '请求的格式或内容不对，见 detail', en: 'the request is not well-formed; detail says where' },
  UNAUTHORIZED: { status: 401, zh: '缺少或错误的 bearer token（SERVICE_API_TOKEN）', en: 'no or a wrong bearer token (SERVICE_API_TOKEN)' },
  NOT_FOUND: { status: 404, zh: '没有这个地址', en: 'there is nothing at this address' },
  ROOM_NOT_FOUND: { status: 404, zh: '没有这个房间', en: 'there is no such room' },
  ROOM_EXISTS: { status: 409, zh: '已有同名房间；换一个 id', en: 'a room with this id exists already; choose another' },
  ROOM_FINISHED: { status: 409, zh: '房间已结束；请新建', en: 'the room has ended; create a new one' },
  ROOM_FULL: { status: 409, zh: '房间已满', en: 'the room has as many participants as it takes' },
  PARTICIPANT_NOT_FOUND: { status: 404, zh: '此人不在房间中，或没有这条轨道', en: 'the participant is not in the room, or has no such track' },
  IDEMPOTENCY_MISMATCH: { status: 422, zh: '此 Idempotency-Key 已用于另一个请求', en: 'this Idempotency-Key was used for another request' },
  BODY_TOO_LARGE: { status: 413, zh: '请求体过大', en: 'the body is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, zh: '请用 content-type: application/json', en: 'use content-type: application/json' },
  LIVEKIT_REFUSED: { status: 400, zh: 'LiveKit 拒绝了请求，见 detail', en: 'LiveKit refused the request; see detail' },
  LIVEKIT_UNAVAILABLE: {
    status: 503,
    zh: 'LiveKit 无应答；稍后重试，或看 ./部署.sh status',
    en: 'LiveKit does not answer; try again, or see ./部署.sh status',
  },
  WEBHOOK_BODY: { status: 400, zh: 'Webhook 内容不是 LiveKit 事件', en: 'the webhook is not a LiveKit event' },
  WEBHOOK_SIGNATURE: { status: 401, zh: 'Webhook 的签名不是本系统的 key 所签，或已过期', en: 'the webhook is signed by no key of this fleet, or too old' },
  INTERNAL: { status: 500, zh: '内部错误；看 ./部署.sh logs service', en: 'internal error; see ./部署.sh logs service' },
} as const;

/** A `code` of the HTTP API. */
export type ApiProblemCode = keyof typeof apiProblems;
