const MAGIC_COOKIE = 0x2112a442;

/** The success response to a binding request. */
export function answerTo(request: Buffer, address: string): Buffer {
  const answer = Buffer.alloc(20 + 4 + 4 + 4 + 8);
  answer.writeUInt16BE(0x0101, 0);
  answer.writeUInt16BE(answer.length - 20, 2);
  request.copy(answer, 4, 4, 20);
  // An attribute of another kind first (SOFTWARE, three bytes and one of padding).
  answer.writeUInt16BE(0x8022, 20);
  answer.writeUInt16BE(3, 22);
  answer.write('abc', 24);
  answer.writeUInt16BE(0x0020, 28);
  answer.writeUInt16BE(8, 30);
  answer.writeUInt8(1, 33);
  answer.writeUInt16BE(from16(MAGIC_COOKIE), 34);
  const bits = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  answer.writeUInt32BE((bits ^ MAGIC_COOKIE) >>> 0, 36);
  return answer;
}

function from16(cookie: number): number {
  return cookie >>> 16;
}
