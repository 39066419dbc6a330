import { createSocket } from 'node:dgram';
import { answerTo } from '../stun-answer.ts';

/** A STUN server that sees everyone at one address: `node stun-responder.ts PORT ADDRESS`. */
const [, , port = '', address = ''] = process.argv;
const socket = createSocket('udp4').bind(Number(port), () => process.stdout.write('up\n'));
socket.on('message', (request, from) => socket.send(answerTo(request, address), from.port, from.address));
