// A room from its making to its end. FLEET_URL=http://192.168.1.1:8080 FLEET_TOKEN=lkft_… node node.mjs
import { ApiError, createClient } from '@livekit-fleet/client';

const fleet = createClient({ baseUrl: process.env.FLEET_URL, token: process.env.FLEET_TOKEN });
const room = await fleet.createRoom({ name: 'Stand-up', maxParticipants: 10 }, { idempotencyKey: crypto.randomUUID() });
// A LiveKit client connects with these two.
const { url, token } = await fleet.joinRoom(room.id, { identity: 'ann', name: 'Ann' });
console.log(`joined ${room.id} at ${url} with a token of ${token.length} characters`);
for (let cursor; ;) {
  const page = await fleet.listRooms({ state: 'new', cursor });
  for (const { id, name } of page.rooms) console.log(`room ${id} ${name}`);
  if (page.cursor === null) break;
  cursor = page.cursor;
}
try {
  await fleet.joinRoom('no-such-room', { identity: 'ann' });
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  console.log(`refused: ${error.code}`);
}
await fleet.endRoom(room.id);
console.log(`ended ${room.id}`);
