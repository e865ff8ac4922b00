/**
 * The data that every engine stores: N records of a 24-byte key and 256 random bytes.
 *
 * Keys are ASCII and ascend with their index, so that loading in order is the dense, favourable case for B-trees. Each
 * is made when it is asked for, as an application makes its keys: out of a table of a million, most would have to come
 * from memory first, and that would count as time of the engine that reads them. Values come from a pool of 4,096 that
 * is made before the clock starts; they do not compress.
 */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';

export const KEY_BYTES = 24;
export const VALUE_BYTES = 256;
const POOL_VALUES = 4096;
const COUNTERS = 64;

/** @typedef {import('../types.d.ts').RecordSource} RecordSource */

/** @implements {RecordSource} */
export class Records {
  #key = Buffer.from(`record/${'0'.repeat(KEY_BYTES - 7)}`, 'latin1');
  /** @type {Buffer} */ #pool = randomBytes(POOL_VALUES * VALUE_BYTES);
  #next = 0;
  #random;

  /**
   * @param {number} count
   * @param {number} seed any integer; the same for every engine of a round, so that all touch the same keys
   */
  constructor(count, seed) {
    this.count = count;
    this.#random = (seed * 2654435761 + 1013904223) >>> 0 || 1;
    this.counters = Array.from({ length: COUNTERS }, (_, index) =>
      Buffer.from(`counter/${String(index).padStart(KEY_BYTES - 8, '0')}`, 'latin1'),
    );
  }

  /** @param {number} index */
  key(index) {
    const key = Buffer.from(this.#key);
    for (let at = KEY_BYTES - 1, rest = index; rest > 0; at--, rest = Math.trunc(rest / 10)) {
      key[at] = 48 + (rest % 10);
    }
    return key;
  }

  /** A uniformly drawn index (xorshift32). */
  randomIndex() {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x >>> 0;
    return this.#random % this.count;
  }

  randomKey() {
    return this.key(this.randomIndex());
  }

  /** The next value of the pool. */
  value() {
    const start = (this.#next++ % POOL_VALUES) * VALUE_BYTES;
    return this.#pool.subarray(start, start + VALUE_BYTES);
  }

  /**
   * `size` different random keys with new values: the same key twice in a batch would let an engine write less.
   *
   * @param {number} size
   */
  randomBatch(size) {
    /** @type {Set<number>} */
    const indexes = new Set();
    const wanted = Math.min(size, this.count);
    while (indexes.size < wanted) indexes.add(this.randomIndex());
    const keys = Array.from(indexes, (index) => this.key(index));
    return { keys, values: keys.map(() => this.value()) };
  }
}
