import * as z from 'zod';
import type { ApiProblemCode } from './problems.ts';
import * as rooms from './rooms.ts';

/** An operation of the HTTP API below /api/v1. Its path's `:id` is a room's, `:identity` a participant's. */
export interface Operation {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
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
  {
    method: 'POST',
    path: '/rooms',
    zh: '建房；LiveKit 在第一次加入时建立，start 为 true 时立即建立。Idempotency-Key：一天内相同的请求只建一个',
    en: 'Makes a room; LiveKit makes it at the first join, with start at once. Idempotency-Key: the same request within a day makes one room',
    body: rooms.createRoomSchema,
    answer: roomView,
    status: 201,
    problems: ['ROOM_EXISTS', 'IDEMPOTENCY_MISMATCH', 'LIVEKIT_UNAVAILABLE', 'LIVEKIT_REFUSED'],
  },
  {
    method: 'GET',
    path: '/rooms',
    zh: '按 id 排列的房间，逐页',
    en: 'Rooms in the order of their ids, page by page',
    query: rooms.listRoomsSchema,
    answer: z.object({ rooms: z.array(roomView), cursor: z.string().nullable() }),
    status: 200,
    problems: [],
  },
  { method: 'GET', path: '/rooms/:id', zh: '查看房间', en: 'Shows a room', answer: roomView, status: 200, problems: ['ROOM_NOT_FOUND'] },
  {
    method: 'PATCH',
    path: '/rooms/:id',
    zh: '更改名称或元数据；房内的人收到新的元数据',
    en: 'Changes name or metadata; who is in hears of the metadata',
    body: rooms.updateRoomSchema,
    answer: roomView,
    status: 200,
    problems: [...IN_ROOM, 'ROOM_FINISHED'],
  },
  {
    method: 'DELETE',
    path: '/rooms/:id',
    zh: '结束房间，所有人离开',
    en: 'Ends the room: everyone has to leave',
    answer: null,
    status: 204,
    problems: IN_ROOM,
  },
  {
    method: 'POST',
    path: '/rooms/:id/join',
    zh: '地址与 token，仅限此房间与此人；再次请求即更新 token',
    en: 'Address and token for this room and this person alone; asked again it renews the token',
    body: rooms.joinRoomSchema,
    answer: rooms.joinView,
    status: 200,
    problems: [...IN_ROOM, 'ROOM_FINISHED', 'ROOM_FULL'],
  },
  {
    method: 'POST',
    path: '/rooms/:id/leave',
    zh: '让此人离开；不在房内也算成功',
    en: 'Takes the person out of LiveKit; also well where they are not in',
    body: rooms.leaveRoomSchema,
    answer: null,
    status: 204,
    problems: IN_ROOM,
  },
  {
    method: 'GET',
    path: '/rooms/:id/events',
    zh: 'LiveKit 发来的事件',
    en: 'The events that LiveKit sent',
    answer: z.object({ events: z.array(rooms.eventView) }),
    status: 200,
    problems: [],
  },
  {
    method: 'GET',
    path: '/history',
    zh: '已结束的房间与参会者，最近的在前，逐页',
    en: 'Rooms that have ended, with who was in them, the latest first, page by page',
    query: rooms.historySchema,
    answer: z.object({ rooms: z.array(rooms.pastRoomView), cursor: z.string().nullable() }),
    status: 200,
    problems: [],
  },
  {
    method: 'POST',
    path: '/rooms/:id/data',
    zh: '向所有人或 identities 发送数据（base64）',
    en: 'Sends data (base64) to everyone, or to identities',
    body: rooms.sendDataSchema,
    answer: null,
    status: 204,
    problems: IN_ROOM,
  },
  {
    method: 'GET',
    path: '/rooms/:id/participants',
    zh: '此刻在房内的人',
    en: 'Who is in at this moment',
    answer: z.object({ participants: z.array(rooms.participantView) }),
    status: 200,
    problems: IN_ROOM,
  },
  {
    method: 'PATCH',
    path: '/rooms/:id/participants/:identity',
    zh: '更改名称、元数据、权限',
    en: 'Changes name, metadata, permissions',
    body: rooms.updateParticipantSchema,
    answer: null,
    status: 204,
    problems: OF_PARTICIPANT,
  },
  {
    method: 'DELETE',
    path: '/rooms/:id/participants/:identity',
    zh: '移出此人',
    en: 'Removes the person',
    answer: null,
    status: 204,
    problems: OF_PARTICIPANT,
  },
  {
    method: 'POST',
    path: '/rooms/:id/participants/:identity/mute',
    zh: '静音或恢复一条轨道',
    en: 'Mutes a track, or takes that back',
    body: rooms.muteSchema,
    answer: null,
    status: 204,
    problems: OF_PARTICIPANT,
  },
];
