/** Keys of the first database, and how many of them expire. */
export interface KeyCount {
  readonly keys: number;
  readonly expires: number;
}

/**
 * How many keys the first database of an RDB file has, from the file's first bytes: Redis writes the size of each database before its keys
 * (rdb.h: RDB_OPCODE_AUX 250, MODULE_AUX 247, FUNCTION2 245, SELECTDB 254, RESIZEDB 251). Null where they say something else.
 */
export function countRdbKeys(bytes: Buffer): KeyCount | null {
  if (bytes.subarray(0, 5).toString('latin1') !== 'REDIS') return null;
  const reader = readerOf(bytes, 9);
  try {
    for (;;) {
      switch (reader.byte()) {
        case 250:
          reader.skipString();
          reader.skipString();
          break;
        case 245:
          reader.skipString();
          break;
        case 254:
          if (reader.length() !== 0) return null;
          break;
        case 251:
          return { keys: reader.length(), expires: reader.length() };
        // RDB_OPCODE_EOF: no database, no keys.
        case 255:
          return { keys: 0, expires: 0 };
        default:
          return null;
      }
    }
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** How many bytes of a file countRdbKeys wants to see: functions and modules may write much before the first database. */
export const RDB_HEAD_BYTES = 1024 * 1024;

interface RdbReader {
  byte(): number;
  length(): number;
  skipString(): void;
}

/** Lengths and strings as rdb.c (rdbLoadLenByRef, rdbGenericLoadStringObject) reads them. @throws RangeError behind the end */
function readerOf(bytes: Buffer, from: number): RdbReader {
  let at = from;
  const byte = (): number => bytes.readUInt8(at++);
  /** The length, or for strings in another encoding which one. */
  function encoded(): { length: number; encoding: number | null } {
    const first = byte();
    switch (first >> 6) {
      case 0:
        return { length: first & 0x3f, encoding: null };
      case 1:
        return { length: ((first & 0x3f) << 8) | byte(), encoding: null };
      case 2: {
        const isLong = first === 0x81;
        const length = isLong ? Number(bytes.readBigUInt64BE(at)) : bytes.readUInt32BE(at);
        at += isLong ? 8 : 4;
        return { length, encoding: null };
      }
      default:
        return { length: 0, encoding: first & 0x3f };
    }
  }
  return {
    byte,
    length: () => encoded().length,
    skipString() {
      const { length, encoding } = encoded();
      if (encoding === null) at += length;
      // 8, 16 or 32 bits.
      else if (encoding < 3) at += 1 << encoding;
      else {
        const compressed = encoded().length;
        encoded();
        at += compressed;
      }
    },
  };
}
