// Ranges of keys, and iteration over them in chunks.
//
// Invariants
// - Keys are ordered by their bytes; for strings that is the order of their UTF-8 form.
// - A chunk is one moment of the vault; between two chunks other operations may show, but no key comes twice.
// - The caller's objects are read before the first chunk is fetched, never later.
import { types } from 'node:util';

import { requireBytes, requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { NativeStore } from '../native-binding.js';
import {
  keyBytesMax,
  scanAsciiBit,
  scanMoreFollows,
  scanRecordHeaderBytes,
  scanLowerInclusive,
  scanUpperInclusive,
  scanReverse,
  scanWithValues,
} from '../native-border.js';
import { toPersistenceError } from '../native/errors.js';

/** A vault key: 1 to 1,024 bytes. A string is its UTF-8 form and must be well-formed Unicode. */
export type VaultKey = string | Uint8Array;

/** Which entries, in which order. All bounds apply together. */
export interface KeyRange {
  /** Only keys that begin so. Empty: all. */
  readonly prefix?: VaultKey;
  readonly gte?: VaultKey;
  readonly gt?: VaultKey;
  readonly lte?: VaultKey;
  readonly lt?: VaultKey;
  /** From the last key to the first. Default `false`. */
  readonly reverse?: boolean;
  /** At most so many entries, 0 or more. Default: all. */
  readonly limit?: number;
  /**
   * How keys are given out: `utf8` as strings (default), where a key that is not UTF-8 ends the iteration with
   * `invalid-key`; `buffer` as bytes.
   */
  readonly keyEncoding?: 'utf8' | 'buffer';
}

export interface Bounds {
  readonly lower: Buffer | undefined;
  readonly lowerInclusive: boolean;
  readonly upper: Buffer | undefined;
  readonly upperInclusive: boolean;
  readonly reverse: boolean;
  readonly limit: number;
  readonly asBuffer: boolean;
}

const rangeNames = ['prefix', 'gte', 'gt', 'lte', 'lt', 'reverse', 'limit', 'keyEncoding'] as const;
const systemPrefix = Buffer.from('strongroom/');

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

function boundBytes(value: unknown, name: string): Buffer {
  let bytes: Buffer;
  if (typeof value === 'string') {
    bytes = Buffer.from(value);
    // Buffer.from() writes U+FFFD for a lone surrogate.
    if (bytes.toString() !== value) throw new PersistenceError('invalid-key', `${name} has a lone surrogate`);
  } else if (types.isUint8Array(value)) {
    requireBytes(value, name);
    bytes = Buffer.from(value);
  } else {
    throw invalid(`${name} must be a string or a Uint8Array`);
  }
  if (bytes.length > keyBytesMax)
    throw new PersistenceError('invalid-key', `${name} is longer than 1,024 bytes`);
  return bytes;
}

/** The least bytes above everything that begins with `prefix`; undefined when there are none. */
function successor(prefix: Buffer): Buffer | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) --length;
  if (length === 0) return undefined;
  const next = Buffer.from(prefix.subarray(0, length));
  next[length - 1] = (next[length - 1] ?? 0) + 1;
  return next;
}

/** Reads each property of a range once. Throws `invalid-option`, `invalid-key`, `reserved-key`. */
export function readRange(range: unknown): Bounds {
  if (range === undefined) range = {};
  requireRecord(range, 'a range');
  for (const name of Object.keys(range)) {
    if (!(rangeNames as readonly string[]).includes(name)) throw invalid(`a range has no option '${name}'`);
  }
  const { prefix, gte, gt, lte, lt, reverse, limit, keyEncoding } = range as Record<
    (typeof rangeNames)[number],
    unknown
  >;
  if (reverse !== undefined && typeof reverse !== 'boolean') throw invalid('reverse must be a boolean');
  if (limit !== undefined && !(typeof limit === 'number' && limit >= 0 && Math.floor(limit) === limit)) {
    throw invalid('limit must be a whole number, 0 or more');
  }
  if (keyEncoding !== undefined && keyEncoding !== 'utf8' && keyEncoding !== 'buffer') {
    throw invalid("keyEncoding must be 'utf8' or 'buffer'");
  }
  let lower: Buffer | undefined;
  let lowerInclusive = true;
  let upper: Buffer | undefined;
  let upperInclusive = false;
  const raise = (bound: Buffer, inclusive: boolean): void => {
    const order = lower === undefined ? 1 : Buffer.compare(bound, lower);
    if (order > 0) lowerInclusive = inclusive;
    else if (order === 0) lowerInclusive &&= inclusive;
    if (order > 0) lower = bound;
  };
  const drop = (bound: Buffer, inclusive: boolean): void => {
    const order = upper === undefined ? -1 : Buffer.compare(bound, upper);
    if (order < 0) upperInclusive = inclusive;
    else if (order === 0) upperInclusive &&= inclusive;
    if (order < 0) upper = bound;
  };
  if (prefix !== undefined) {
    const bytes = boundBytes(prefix, 'prefix');
    if (bytes.subarray(0, systemPrefix.length).equals(systemPrefix)) {
      throw new PersistenceError(
        'reserved-key',
        "keys that begin with 'strongroom/' belong to the vault itself",
      );
    }
    raise(bytes, true);
    const end = successor(bytes);
    if (end !== undefined) drop(end, false);
  }
  if (gte !== undefined) raise(boundBytes(gte, 'gte'), true);
  if (gt !== undefined) raise(boundBytes(gt, 'gt'), false);
  if (lte !== undefined) drop(boundBytes(lte, 'lte'), true);
  if (lt !== undefined) drop(boundBytes(lt, 'lt'), false);
  return {
    lower,
    lowerInclusive,
    upper,
    upperInclusive,
    reverse: reverse ?? false,
    limit: limit ?? Number.POSITIVE_INFINITY,
    asBuffer: keyEncoding === 'buffer',
  };
}

const chunkBytesFirst = 4096;
const chunkBytesMax = 65_536;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeKey(chunk: Buffer, start: number, end: number, ascii: boolean): string {
  if (ascii) return chunk.toString('latin1', start, end);
  try {
    return utf8.decode(chunk.subarray(start, end));
  } catch (cause) {
    throw new PersistenceError('invalid-key', "a key is not UTF-8; iterate with keyEncoding: 'buffer'", {
      cause,
    });
  }
}

/** One entry as it stands in a chunk; `make` builds from it what the iteration gives out. */
type Make<T> = (key: string | Buffer, chunk: Buffer, valueStart: number, valueEnd: number) => T;

/**
 * Iterates over the entries of a range. Chunks grow from 4 to 64 KiB; values are views of their chunk. What is left of a
 * chunk is not given out after `store` was closed.
 */
export function* iterate<T>(
  native: NativeStore,
  store: { readonly isOpen: boolean },
  bounds: Bounds,
  what: 'entries' | 'keys',
  make: Make<T>,
): Generator<T, undefined, undefined> {
  const { upper: upperAtStart, lower: lowerAtStart, reverse, asBuffer } = bounds;
  let { lowerInclusive, upperInclusive, limit } = bounds;
  let lower = lowerAtStart;
  let upper = upperAtStart;
  let chunkBytes = chunkBytesFirst;
  while (limit > 0) {
    const chunk = Buffer.allocUnsafeSlow(chunkBytes);
    let answer: number;
    try {
      const flags =
        (lowerInclusive ? scanLowerInclusive : 0) |
        (upperInclusive ? scanUpperInclusive : 0) |
        (reverse ? scanReverse : 0) |
        (what === 'entries' ? scanWithValues : 0);
      answer = native.scan(chunk, lower, upper, limit, flags);
    } catch (error) {
      throw toPersistenceError(error, 'internal');
    }
    if (answer < 0) {
      chunkBytes = -answer;
      continue;
    }
    const more = answer >= scanMoreFollows;
    const count = more ? answer - scanMoreFollows : answer;
    let at = 0;
    for (let i = 0; i < count; ++i) {
      const head = chunk.readUInt32LE(at);
      const valueBytes = chunk.readUInt32LE(at + 4);
      const keyStart = at + scanRecordHeaderBytes;
      const keyEnd = keyStart + (head & (scanAsciiBit - 1));
      const key = asBuffer
        ? chunk.subarray(keyStart, keyEnd)
        : decodeKey(chunk, keyStart, keyEnd, head >= scanAsciiBit);
      const valueEnd = keyEnd + valueBytes;
      at = (valueEnd + 3) & ~3;
      // Before the caller gets hold of the memory of the last entry.
      if (more && i === count - 1) {
        const last = Buffer.from(chunk.subarray(keyStart, keyEnd));
        if (reverse) [upper, upperInclusive] = [last, false];
        else [lower, lowerInclusive] = [last, false];
      }
      yield make(key, chunk, keyEnd, valueEnd);
      if (!store.isOpen) throw new PersistenceError('closed', 'the store was closed');
      if (chunk.length === 0) {
        throw new PersistenceError('invalid-argument', 'the memory of an entry was transferred away');
      }
    }
    limit -= count;
    if (!more) return undefined;
    chunkBytes = Math.min(Math.max(chunkBytes * 4, chunkBytesFirst), chunkBytesMax);
  }
  return undefined;
}
