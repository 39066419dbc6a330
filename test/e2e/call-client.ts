// A client that is to be killed: enters with ADDRESS and TOKEN, publishes a tone, says so, and stays.
import { Room } from '@livekit/rtc-node';
import { publishTone } from '../../src/meeting/media.ts';

const [, , address = '', token = ''] = process.argv;
const room = new Room();
await room.connect(address, token, { autoSubscribe: true, dynacast: false });
await publishTone(room);
process.stdout.write('in\n');
