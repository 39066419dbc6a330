// Made from src/contract by `npm run docs`.

/** A `code` of a problem answer. */
export type ProblemCode =
  | 'BAD_REQUEST'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_YOURS'
  | 'RATE_LIMITED'
  | 'AUTH_UNAVAILABLE'
  | 'NOT_FOUND'
  | 'ROOM_NOT_FOUND'
  | 'ROOM_EXISTS'
  | 'ROOM_FINISHED'
  | 'ROOM_FULL'
  | 'CALL_NOT_FOUND'
  | 'CALL_ENDED'
  | 'CALL_STATE'
  | 'CALL_FULL'
  | 'NOT_YOUR_CALL'
  | 'PARTICIPANT_NOT_FOUND'
  | 'IDEMPOTENCY_MISMATCH'
  | 'TOKEN_NOT_FOUND'
  | 'TOKEN_SCOPES'
  | 'BODY_TOO_LARGE'
  | 'UNSUPPORTED_MEDIA_TYPE'
  | 'LIVEKIT_REFUSED'
  | 'LIVEKIT_UNAVAILABLE'
  | 'NO_MEDIA_MACHINE'
  | 'WEBHOOK_NOT_FOUND'
  | 'WEBHOOK_ADDRESS'
  | 'WEBHOOK_BODY'
  | 'WEBHOOK_SIGNATURE'
  | 'DATABASE_UNAVAILABLE'
  | 'INTERNAL';

/** Method and path of each operation; `:name` is given as an argument, in this order. */
export const routes = {
  createWebhook: ['POST', '/webhooks'],
  listWebhooks: ['GET', '/webhooks'],
  getWebhook: ['GET', '/webhooks/:id'],
  updateWebhook: ['PATCH', '/webhooks/:id'],
  deleteWebhook: ['DELETE', '/webhooks/:id'],
  rotateWebhookSecret: ['POST', '/webhooks/:id/rotate'],
  testWebhook: ['POST', '/webhooks/:id/test'],
  listDeadLetters: ['GET', '/webhooks/:id/dead-letters'],
  replayDeadLetters: ['POST', '/webhooks/:id/replay'],
  createRoom: ['POST', '/rooms'],
  listRooms: ['GET', '/rooms'],
  getRoom: ['GET', '/rooms/:id'],
  updateRoom: ['PATCH', '/rooms/:id'],
  endRoom: ['DELETE', '/rooms/:id'],
  joinRoom: ['POST', '/rooms/:id/join'],
  leaveRoom: ['POST', '/rooms/:id/leave'],
  listRoomEvents: ['GET', '/rooms/:id/events'],
  listHistory: ['GET', '/history'],
  sendData: ['POST', '/rooms/:id/data'],
  listParticipants: ['GET', '/rooms/:id/participants'],
  updateParticipant: ['PATCH', '/rooms/:id/participants/:identity'],
  removeParticipant: ['DELETE', '/rooms/:id/participants/:identity'],
  muteTrack: ['POST', '/rooms/:id/participants/:identity/mute'],
  createToken: ['POST', '/tokens'],
  listTokens: ['GET', '/tokens'],
  revokeToken: ['DELETE', '/tokens/:token'],
  createCall: ['POST', '/calls'],
  listCalls: ['GET', '/calls'],
  getCall: ['GET', '/calls/:id'],
  inviteToCall: ['POST', '/calls/:id/invite'],
  acceptCall: ['POST', '/calls/:id/accept'],
  rejectCall: ['POST', '/calls/:id/reject'],
  cancelCall: ['POST', '/calls/:id/cancel'],
  leaveCall: ['POST', '/calls/:id/leave'],
  endCall: ['POST', '/calls/:id/end'],
  syncUser: ['GET', '/users/:identity/sync'],
} as const;

/** The operations that take a body or a query. */
export const takesInput: ReadonlySet<string> = new Set(['createWebhook', 'updateWebhook', 'rotateWebhookSecret', 'listDeadLetters', 'replayDeadLetters', 'createRoom', 'listRooms', 'updateRoom', 'joinRoom', 'leaveRoom', 'listHistory', 'sendData', 'updateParticipant', 'muteTrack', 'createToken', 'createCall', 'listCalls', 'getCall', 'inviteToCall', 'acceptCall', 'rejectCall', 'cancelCall', 'leaveCall', 'endCall']);

/** What a request may be given besides what it is about. */
export interface RequestOptions {
  /** The same key with the same request makes one room within a day. */
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

/** Every operation of the API. Each rejects with an ApiError. */
export interface Operations {
  /** Adds an endpoint that hears of events; the answer alone shows the secret that signs. 登记一个接收事件的地址；签名密钥仅在此答复中出现一次。 */
  createWebhook(given: {
    url: string;
    description?: string | undefined;
    events?: Array<string> | undefined;
    secret?: string | undefined;
    timeoutMs?: number | undefined;
    enabled?: boolean | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    url: string;
    description: string;
    events: Array<string>;
    timeoutMs: number;
    enabled: boolean;
    disabledReason: string | null;
    createdAt: string;
    formerSecretUntil: string | null;
    failingSince: string | null;
    lastError: string | null;
    waiting: number;
    dead: number;
    secret: string;
  }>;
  /** All endpoints and how they do. 所有接收地址及其状态。 */
  listWebhooks(options?: RequestOptions): Promise<{
    webhooks: Array<{
      id: string;
      url: string;
      description: string;
      events: Array<string>;
      timeoutMs: number;
      enabled: boolean;
      disabledReason: string | null;
      createdAt: string;
      formerSecretUntil: string | null;
      failingSince: string | null;
      lastError: string | null;
      waiting: number;
      dead: number;
    }>;
  }>;
  /** Shows an endpoint. 查看接收地址。 */
  getWebhook(id: string, options?: RequestOptions): Promise<{
    id: string;
    url: string;
    description: string;
    events: Array<string>;
    timeoutMs: number;
    enabled: boolean;
    disabledReason: string | null;
    createdAt: string;
    formerSecretUntil: string | null;
    failingSince: string | null;
    lastError: string | null;
    waiting: number;
    dead: number;
  }>;
  /** Changes an endpoint; enabled switches it on again. 更改接收地址；enabled 为 true 时重新启用。 */
  updateWebhook(id: string, given?: {
    url?: string | undefined;
    description?: string | undefined;
    events?: Array<string> | undefined;
    timeoutMs?: number | undefined;
    enabled?: boolean | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    url: string;
    description: string;
    events: Array<string>;
    timeoutMs: number;
    enabled: boolean;
    disabledReason: string | null;
    createdAt: string;
    formerSecretUntil: string | null;
    failingSince: string | null;
    lastError: string | null;
    waiting: number;
    dead: number;
  }>;
  /** Removes an endpoint with what waits for it. 删除接收地址及其等待的消息。 */
  deleteWebhook(id: string, options?: RequestOptions): Promise<void>;
  /** Replaces the secret; for overlapHours messages bear both signatures. 更换签名密钥；overlapHours 内新旧两个签名都带。 */
  rotateWebhookSecret(id: string, given?: {
    secret?: string | undefined;
    overlapHours?: number | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    url: string;
    description: string;
    events: Array<string>;
    timeoutMs: number;
    enabled: boolean;
    disabledReason: string | null;
    createdAt: string;
    formerSecretUntil: string | null;
    failingSince: string | null;
    lastError: string | null;
    waiting: number;
    dead: number;
    secret: string;
  }>;
  /** Sends a webhook.test at once. 立即发送一条 webhook.test。 */
  testWebhook(id: string, options?: RequestOptions): Promise<{
    ok: boolean;
    message: string;
    status: number;
    ms: number;
    error: string | null;
  }>;
  /** Messages that were not taken within 24 hours, the oldest first, page by page. 24 小时内未能送达的消息，最早的在前，逐页。 */
  listDeadLetters(id: string, given?: {
    limit?: number | undefined;
    cursor?: number | undefined;
  }, options?: RequestOptions): Promise<{
    letters: Array<{
      letter: number;
      message: string;
      type: string;
      room: string;
      queuedAt: string;
      diedAt: string;
      attempts: number;
      error: string;
      payload: Record<string, unknown>;
    }>;
    cursor: string | null;
  }>;
  /** Queues dead letters again, all or letters, each with its own id. 重新投递未能送达的消息（全部或 letters 所列），id 不变。 */
  replayDeadLetters(id: string, given?: {
    letters?: Array<number> | undefined;
  }, options?: RequestOptions): Promise<{
    replayed: number;
  }>;
  /** Makes a room; LiveKit makes it at the first join, with start at once. Idempotency-Key: the same request within a day makes one room. With invitees it is a call, and needs calls:write as well. 建房；LiveKit 在第一次加入时建立，start 为 true 时立即建立。Idempotency-Key：一天内相同的请求只建一个。有 invitees 即为呼叫，另需 calls:write。 */
  createRoom(given?: {
    id?: string | undefined;
    name?: string | undefined;
    maxParticipants?: number | undefined;
    emptyTimeout?: number | undefined;
    metadata?: string | undefined;
    type?: 'voice' | 'video' | undefined;
    start?: boolean | undefined;
    caller?: string | undefined;
    invitees?: Array<string> | undefined;
    mode?: 'direct' | 'group' | undefined;
    ringTimeout?: number | undefined;
    reconnectGrace?: number | undefined;
    busy?: 'reject' | 'ring' | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    isCall: boolean;
    metadata: string;
    maxParticipants: number;
    state: 'new' | 'live' | 'finished';
    numParticipants: number;
    createdAt: string;
  }>;
  /** Rooms in the order of their ids, page by page. 按 id 排列的房间，逐页。 */
  listRooms(given?: {
    limit?: number | undefined;
    cursor?: string | undefined;
    state?: 'new' | 'live' | 'finished' | undefined;
    type?: 'voice' | 'video' | undefined;
  }, options?: RequestOptions): Promise<{
    rooms: Array<{
      id: string;
      name: string;
      type: 'voice' | 'video';
      isCall: boolean;
      metadata: string;
      maxParticipants: number;
      state: 'new' | 'live' | 'finished';
      numParticipants: number;
      createdAt: string;
    }>;
    cursor: string | null;
  }>;
  /** Shows a room. 查看房间。 */
  getRoom(id: string, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    isCall: boolean;
    metadata: string;
    maxParticipants: number;
    state: 'new' | 'live' | 'finished';
    numParticipants: number;
    createdAt: string;
  }>;
  /** Changes name or metadata; who is in hears of the metadata. 更改名称或元数据；房内的人收到新的元数据。 */
  updateRoom(id: string, given?: {
    name?: string | undefined;
    metadata?: string | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    isCall: boolean;
    metadata: string;
    maxParticipants: number;
    state: 'new' | 'live' | 'finished';
    numParticipants: number;
    createdAt: string;
  }>;
  /** Ends the room: everyone has to leave. 结束房间，所有人离开。 */
  endRoom(id: string, options?: RequestOptions): Promise<void>;
  /** Address and token for this room and this person alone; asked again it renews the token. 地址与 token，仅限此房间与此人；再次请求即更新 token。 */
  joinRoom(id: string, given: {
    identity: string;
    name?: string | undefined;
    metadata?: string | undefined;
    canPublish?: boolean | undefined;
    canSubscribe?: boolean | undefined;
    canPublishData?: boolean | undefined;
  }, options?: RequestOptions): Promise<{
    room: string;
    identity: string;
    url: string;
    token: string;
    expiresAt: string;
  }>;
  /** Takes the person out of LiveKit; also well where they are not in. 让此人离开；不在房内也算成功。 */
  leaveRoom(id: string, given: {
    identity: string;
  }, options?: RequestOptions): Promise<void>;
  /** The events that LiveKit sent. LiveKit 发来的事件。 */
  listRoomEvents(id: string, options?: RequestOptions): Promise<{
    events: Array<{
      id: string;
      event: string;
      identity: string | null;
      receivedAt: string;
      isMadeUp: boolean;
    }>;
  }>;
  /** Rooms that have ended, with who was in them, the latest first, page by page. 已结束的房间与参会者，最近的在前，逐页。 */
  listHistory(given?: {
    limit?: number | undefined;
    cursor?: number | undefined;
    room?: string | undefined;
  }, options?: RequestOptions): Promise<{
    rooms: Array<{
      id: string;
      name: string;
      type: 'voice' | 'video';
      createdAt: string;
      finishedAt: string;
      reason: string | null;
      participants: Array<{
        identity: string;
        name: string;
        joinedAt: string | null;
        leftAt: string | null;
        seconds: number | null;
        reason: string | null;
      }>;
    }>;
    cursor: string | null;
  }>;
  /** Sends data (base64) to everyone, or to identities. 向所有人或 identities 发送数据（base64）。 */
  sendData(id: string, given: {
    data: string;
    topic?: string | undefined;
    reliable?: boolean | undefined;
    identities?: Array<string> | undefined;
  }, options?: RequestOptions): Promise<void>;
  /** Who is in at this moment. 此刻在房内的人。 */
  listParticipants(id: string, options?: RequestOptions): Promise<{
    participants: Array<{
      sid: string;
      identity: string;
      name: string;
      metadata: string;
      state: string;
      joinedAt: string;
      tracks: Array<{
        sid: string;
        source: string;
        muted: boolean;
      }>;
    }>;
  }>;
  /** Changes name, metadata, permissions. 更改名称、元数据、权限。 */
  updateParticipant(id: string, identity: string, given?: {
    name?: string | undefined;
    metadata?: string | undefined;
    permission?: {
      canPublish: boolean;
      canSubscribe: boolean;
      canPublishData: boolean;
    } | undefined;
  }, options?: RequestOptions): Promise<void>;
  /** Removes the person. 移出此人。 */
  removeParticipant(id: string, identity: string, options?: RequestOptions): Promise<void>;
  /** Mutes a track, or takes that back. 静音或恢复一条轨道。 */
  muteTrack(id: string, identity: string, given: {
    trackSid: string;
    muted: boolean;
  }, options?: RequestOptions): Promise<void>;
  /** Makes a server token, which this answer alone shows. 新建服务端 token；只在此应答中可见。 */
  createToken(given: {
    name: string;
    scopes: Array<'*' | 'rooms:*' | 'participants:*' | 'history:*' | 'calls:*' | 'webhooks:*' | 'tokens:*' | 'metrics:*' | 'rooms:read' | 'rooms:write' | 'rooms:join' | 'participants:read' | 'participants:write' | 'history:read' | 'calls:read' | 'calls:write' | 'webhooks:read' | 'webhooks:write' | 'tokens:read' | 'tokens:write' | 'metrics:read'>;
    expiresAt?: string | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    scopes: Array<string>;
    createdAt: string;
    expiresAt: string | null;
    lastUsedAt: string | null;
    token: string;
  }>;
  /** The server tokens, without what they are. 服务端 token（不含其内容）。 */
  listTokens(options?: RequestOptions): Promise<{
    tokens: Array<{
      id: string;
      name: string;
      scopes: Array<string>;
      createdAt: string;
      expiresAt: string | null;
      lastUsedAt: string | null;
    }>;
  }>;
  /** Revokes a token at once. 吊销 token，立即生效。 */
  revokeToken(token: string, options?: RequestOptions): Promise<void>;
  /** Calls: makes a room and rings for the invitees. Idempotency-Key: the same request within a day is one call. 呼叫：建房并对 invitees 振铃。Idempotency-Key：一天内相同的请求只呼叫一次。 */
  createCall(given: {
    id?: string | undefined;
    name?: string | undefined;
    maxParticipants?: number | undefined;
    emptyTimeout?: number | undefined;
    metadata?: string | undefined;
    type?: 'voice' | 'video' | undefined;
    caller: string;
    invitees: Array<string>;
    mode?: 'direct' | 'group' | undefined;
    ringTimeout?: number | undefined;
    reconnectGrace?: number | undefined;
    busy?: 'reject' | 'ring' | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** Calls, the latest first, page by page; by: those of this person. 通话，最近的在前，逐页；by：此人的。 */
  listCalls(given?: {
    limit?: number | undefined;
    cursor?: number | undefined;
    state?: 'ringing' | 'active' | 'ended' | undefined;
    by?: string | undefined;
  }, options?: RequestOptions): Promise<{
    calls: Array<{
      id: string;
      name: string;
      type: 'voice' | 'video';
      metadata: string;
      caller: string;
      mode: 'direct' | 'group';
      state: 'ringing' | 'active' | 'ended';
      reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
      ringTimeout: number;
      reconnectGrace: number;
      maxParticipants: number;
      createdAt: string;
      startedAt: string | null;
      endedAt: string | null;
      parties: Array<{
        identity: string;
        state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
        invitedBy: string | null;
        isAway: boolean;
        ringsUntil: string | null;
        acceptedAt: string | null;
        joinedAt: string | null;
        leftAt: string | null;
        reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
      }>;
    }>;
    cursor: string | null;
  }>;
  /** Shows a call; by: only if this person is one of it. 查看通话；by：仅当此人在其中。 */
  getCall(id: string, given?: {
    by?: string | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** Invites more; a call of two becomes a group. 再邀请；两人通话由此成为群组通话。 */
  inviteToCall(id: string, given: {
    by: string;
    invitees: Array<string>;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** Accepts: address and token; asked again it renews the token, for the caller as well. 接听，得到地址与 token；再次请求即更新 token，主叫亦然。 */
  acceptCall(id: string, given: {
    by: string;
    name?: string | undefined;
    metadata?: string | undefined;
  }, options?: RequestOptions): Promise<{
    room: string;
    identity: string;
    url: string;
    token: string;
    expiresAt: string;
  }>;
  /** Rejects. 拒绝。 */
  rejectCall(id: string, given: {
    by: string;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** The caller takes the call back before anybody has accepted; with identities these invitations alone. 主叫在有人接听前取消；有 identities 时只收回这些邀请。 */
  cancelCall(id: string, given: {
    by: string;
    identities?: Array<string> | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** Hangs up; while it rings an invitee rejects, the caller cancels. 挂断；尚在振铃时，被叫即拒绝，主叫即取消。 */
  leaveCall(id: string, given: {
    by: string;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** Ends it for all: either of two, the caller of a group, without by the operator. 为所有人结束：两人通话的任一方、群组的主叫，无 by 时为运营者。 */
  endCall(id: string, given?: {
    by?: string | undefined;
  }, options?: RequestOptions): Promise<{
    id: string;
    name: string;
    type: 'voice' | 'video';
    metadata: string;
    caller: string;
    mode: 'direct' | 'group';
    state: 'ringing' | 'active' | 'ended';
    reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
    ringTimeout: number;
    reconnectGrace: number;
    maxParticipants: number;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    parties: Array<{
      identity: string;
      state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
      invitedBy: string | null;
      isAway: boolean;
      ringsUntil: string | null;
      acceptedAt: string | null;
      joinedAt: string | null;
      leftAt: string | null;
      reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
    }>;
  }>;
  /** What rings for this person, and what they are in, with fresh tokens. 此人正在振铃与进行中的通话；进行中的附新 token。 */
  syncUser(identity: string, options?: RequestOptions): Promise<{
    calls: Array<{
      call: {
        id: string;
        name: string;
        type: 'voice' | 'video';
        metadata: string;
        caller: string;
        mode: 'direct' | 'group';
        state: 'ringing' | 'active' | 'ended';
        reason: 'completed' | 'cancelled' | 'rejected' | 'busy' | 'missed' | 'failed' | null;
        ringTimeout: number;
        reconnectGrace: number;
        maxParticipants: number;
        createdAt: string;
        startedAt: string | null;
        endedAt: string | null;
        parties: Array<{
          identity: string;
          state: 'ringing' | 'accepted' | 'joined' | 'left' | 'rejected' | 'missed' | 'busy' | 'cancelled' | 'removed';
          invitedBy: string | null;
          isAway: boolean;
          ringsUntil: string | null;
          acceptedAt: string | null;
          joinedAt: string | null;
          leftAt: string | null;
          reason: 'hung_up' | 'lost' | 'not_joined' | 'removed' | 'ended' | null;
        }>;
      };
      join: {
        room: string;
        identity: string;
        url: string;
        token: string;
        expiresAt: string;
      } | null;
    }>;
  }>;
}
