import * as z from 'zod';
import type { ApiProblemCode } from './problems.ts';
import * as rooms from './rooms.ts';
import type { Scope } from './scopes.ts';
import * as tokens from './tokens.ts';
import { webhookOperations } from './webhooks-api.ts';

/** An operation of the HTTP API below /api/v1. Its path's `:id` is a room's or an endpoint's, `:identity` a participant's. */
export interface Operation {
  /** As clients call it (OpenAPI's operationId). */
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** What a server token needs. */
  readonly scope: Scope;
  /** Of what end users may ask; absent: they may not. */
  readonly users?: { readonly zh: string; readonly en: string };
  readonly zh: string;
  readonly en: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  /** Null: 204 without a body. */
  readonly answer: z.ZodObject | null;
  readonly status: 200 | 201 | 204;
  /** Beside those that every operation may answer. */
  readonly problems: readonly ApiProblemCode[];
}

const IN_ROOM = ['ROOM_NOT_FOUND', 'LIVEKIT_UNAVAILABLE', 'LIVEKIT_REFUSED'] as const;
const OF_PARTICIPANT = [...IN_ROOM, 'PARTICIPANT_NOT_FOUND'] as const;
const { roomView } = rooms;

/** Every operation; a test compares them with the routes that the service has. */
export const operations: readonly Operation[] = [
  ...webhookOperations,
  {
    name: 'createRoom',
    method: 'POST',
    path: '/rooms',
    scope: 'rooms:write',
    zh: '建房；LiveKit 在第一次加入时建立，start 为 true 时立即建立。Idempotency-Key：一天内相同的请求只建一个',
    en: 'Makes a room; LiveKit makes it at the first join, with start at once. Idempotency-Key: the same request within a day makes one room',
    body: rooms.createRoomSchema,
    answer: roomView,
    status: 201,
    problems: ['ROOM_EXISTS', 'IDEMPOTENCY_MISMATCH', 'NO_MEDIA_MACHINE', 'LIVEKIT_UNAVAILABLE', 'LIVEKIT_REFUSED'],
  },
  {
    name: 'listRooms',
    method: 'GET',
    path: '/rooms',
    scope: 'rooms:read',
    zh: '按 id 排列的房间，逐页',
    en: 'Rooms in the order of their ids, page by page',
    query: rooms.listRoomsSchema,
    answer: z.object({ rooms: z.array(roomView), cursor: z.string().nullable() }),
    status: 200,
    problems: [],
  },
  {
    name: 'getRoom',
    method: 'GET',
    path: '/rooms/:id',
    scope: 'rooms:read',
    users: { zh: '知道其 id 的房间', en: 'a room whose id they know' },
    zh: '查看房间',
    en: 'Shows a room',
    answer: roomView,
    status: 200,
    problems: ['ROOM_NOT_FOUND'],
  },
  {
    name: 'updateRoom',
    method: 'PATCH',
    path: '/rooms/:id',
    scope: 'rooms:write',
    zh: '更改名称或元数据；房内的人收到新的元数据',
    en: 'Changes name or metadata; who is in hears of the metadata',
    body: rooms.updateRoomSchema,
    answer: roomView,
    status: 200,
    problems: [...IN_ROOM, 'ROOM_FINISHED'],
  },
  {
    name: 'endRoom',
    method: 'DELETE',
    path: '/rooms/:id',
    scope: 'rooms:write',
    zh: '结束房间，所有人离开',
    en: 'Ends the room: everyone has to leave',
    answer: null,
    status: 204,
    problems: IN_ROOM,
  },
  {
    name: 'joinRoom',
    method: 'POST',
    path: '/rooms/:id/join',
    scope: 'rooms:join',
    users: { zh: '以自己的身份；不能自定 metadata', en: 'as themselves, without metadata of their own' },
    zh: '地址与 token，仅限此房间与此人；再次请求即更新 token',
    en: 'Address and token for this room and this person alone; asked again it renews the token',
    body: rooms.joinRoomSchema,
    answer: rooms.joinView,
    status: 200,
    problems: [...IN_ROOM, 'NO_MEDIA_MACHINE', 'ROOM_FINISHED', 'ROOM_FULL'],
  },
  {
    name: 'leaveRoom',
    method: 'POST',
    path: '/rooms/:id/leave',
    scope: 'rooms:join',
    users: { zh: '自己', en: 'themselves' },
    zh: '让此人离开；不在房内也算成功',
    en: 'Takes the person out of LiveKit; also well where they are not in',
    body: rooms.leaveRoomSchema,
    answer: null,
    status: 204,
    problems: IN_ROOM,
  },
  {
    name: 'listRoomEvents',
    method: 'GET',
    path: '/rooms/:id/events',
    scope: 'rooms:read',
    zh: 'LiveKit 发来的事件',
    en: 'The events that LiveKit sent',
    answer: z.object({ events: z.array(rooms.eventView) }),
    status: 200,
    problems: [],
  },
  {
    name: 'listHistory',
    method: 'GET',
    path: '/history',
    scope: 'history:read',
    zh: '已结束的房间与参会者，最近的在前，逐页',
    en: 'Rooms that have ended, with who was in them, the latest first, page by page',
    query: rooms.historySchema,
    answer: z.object({ rooms: z.array(rooms.pastRoomView), cursor: z.string().nullable() }),
    status: 200,
    problems: [],
  },
  {
    name: 'sendData',
    method: 'POST',
    path: '/rooms/:id/data',
    scope: 'participants:write',
    zh: '向所有人或 identities 发送数据（base64）',
    en: 'Sends data (base64) to everyone, or to identities',
    body: rooms.sendDataSchema,
    answer: null,
    status: 204,
    problems: IN_ROOM,
  },
  {
    name: 'listParticipants',
    method: 'GET',
    path: '/rooms/:id/participants',
    scope: 'participants:read',
    users: { zh: '自己在其中的房间', en: 'a room that they are in' },
    zh: '此刻在房内的人',
    en: 'Who is in at this moment',
    answer: z.object({ participants: z.array(rooms.participantView) }),
    status: 200,
    problems: IN_ROOM,
  },
  {
    name: 'updateParticipant',
    method: 'PATCH',
    path: '/rooms/:id/participants/:identity',
    scope: 'participants:write',
    zh: '更改名称、元数据、权限',
    en: 'Changes name, metadata, permissions',
    body: rooms.updateParticipantSchema,
    answer: null,
    status: 204,
    problems: OF_PARTICIPANT,
  },
  {
    name: 'removeParticipant',
    method: 'DELETE',
    path: '/rooms/:id/participants/:identity',
    scope: 'participants:write',
    zh: '移出此人',
    en: 'Removes the person',
    answer: null,
    status: 204,
    problems: OF_PARTICIPANT,
  },
  {
    name: 'muteTrack',
    method: 'POST',
    path: '/rooms/:id/participants/:identity/mute',
    scope: 'participants:write',
    zh: '静音或恢复一条轨道',
    en: 'Mutes a track, or takes that back',
    body: rooms.muteSchema,
    answer: null,
    status: 204,
    problems: OF_PARTICIPANT,
  },
  {
    name: 'createToken',
    method: 'POST',
    path: '/tokens',
    scope: 'tokens:write',
    zh: '新建服务端 token；只在此应答中可见',
    en: 'Makes a server token, which this answer alone shows',
    body: tokens.createTokenSchema,
    answer: tokens.newTokenView,
    status: 201,
    problems: ['TOKEN_SCOPES'],
  },
  {
    name: 'listTokens',
    method: 'GET',
    path: '/tokens',
    scope: 'tokens:read',
    zh: '服务端 token（不含其内容）',
    en: 'The server tokens, without what they are',
    answer: z.object({ tokens: z.array(tokens.tokenView) }),
    status: 200,
    problems: [],
  },
  {
    name: 'revokeToken',
    method: 'DELETE',
    path: '/tokens/:token',
    scope: 'tokens:write',
    zh: '吊销 token，立即生效',
    en: 'Revokes a token at once',
    answer: null,
    status: 204,
    problems: ['TOKEN_NOT_FOUND'],
  },
];
