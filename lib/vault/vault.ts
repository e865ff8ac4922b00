// The vault: reads from memory, writes through the validator into the core's commit queue.
//
// Invariants
// - Every write passes ValidateBeforeWrite and then the core; there is no other way.
// - A caller's object is read before the core is called, so that a getter may close the store without harm.
// - Values live in native memory, encrypted; a returned Buffer belongs to the caller.
import { requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { EventHub } from './events.js';
import { iterate, readRange, type KeyRange, type VaultKey } from './key-range.js';
import type { NativeDurability, NativeStore } from '../native-binding.js';
import { batchOperationsMax, getAbsent, slabAlignment } from '../native-border.js';
import { toPersistenceError } from '../native/errors.js';
import type { PendingOperations, Submitted } from './pending.js';
import type { PersistenceValidator } from './validator.js';

export type { KeyRange, VaultKey } from './key-range.js';

/**
 * A value: 0 to 16 MiB (16,777,216 bytes), copied when the call is made. Not shared memory, and not detached.
 * A string is refused: say `Buffer.from(text)`.
 */
export type VaultValue = Uint8Array | DataView | ArrayBuffer;

/**
 * - `journal` (default): durable in the vault when the promise resolves; the witnesses follow within
 *   `witnessIntervalMs`. The owner of the machine can rewind what the witnesses have not seen.
 * - `witnessed`: every expected witness has moved as well.
 */
export type Durability = 'journal' | 'witnessed';

export interface WriteOptions {
  readonly durability?: Durability;
}

export interface IncrementOptions extends WriteOptions {
  /** The least the counter may become. Refused below it: `below-minimum`. */
  readonly min?: bigint;
  /** The most the counter may become. Refused above it: `above-maximum`. */
  readonly max?: bigint;
}

/** One operation of a batch. */
export type BatchOperation =
  | { readonly type: 'set'; readonly key: VaultKey; readonly value: VaultValue }
  | { readonly type: 'delete'; readonly key: VaultKey };

/** Operations of one turn go to the core together, when the turn's microtasks come to an end. */
const turnEnd = Promise.resolve();
const slabBytes = 32_768;
const slabAlignmentMask = slabAlignment - 1;
const writeNames = ['durability'];
const incrementNames = ['durability', 'min', 'max'];

function readDurability(options: unknown, names: readonly string[]): NativeDurability {
  requireRecord(options);
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new PersistenceError('invalid-option', `there is no option '${name}'`);
  }
  const { durability } = options as { durability?: unknown };
  if (durability === undefined || durability === 'journal') return 0;
  if (durability === 'witnessed') return 1;
  throw new PersistenceError('invalid-option', "durability must be 'journal' or 'witnessed'");
}

/** Key, value, key, value; an undefined value deletes. Reads every property of the caller's objects once. */
function flatten(operations: unknown): unknown[] {
  if (!Array.isArray(operations)) throw new PersistenceError('invalid-argument', 'a batch must be an array');
  const { length } = operations;
  if (length > batchOperationsMax) {
    throw new PersistenceError('batch-too-large', `the batch has ${length} operations; 65,536 is the most`);
  }
  const flat: unknown[] = [];
  for (let i = 0; i < length; ++i) {
    const operation: unknown = operations[i];
    if (typeof operation !== 'object' || operation === null) {
      throw new PersistenceError('invalid-argument', `operation ${i} of the batch is not an object`);
    }
    const { type, key } = operation as { type?: unknown; key?: unknown };
    if (type === 'set') {
      const { value } = operation as { value?: unknown };
      if (value === undefined)
        throw new PersistenceError('invalid-argument', `operation ${i} of the batch has no value`);
      flat.push(key, value);
    } else if (type === 'delete') {
      flat.push(key, undefined);
    } else {
      throw new PersistenceError(
        'invalid-argument',
        `operation ${i} of the batch: type must be 'set' or 'delete'`,
      );
    }
  }
  return flat;
}

function keyOfEvent(key: unknown): string | Buffer {
  return typeof key === 'string' ? key : Buffer.from(key as Uint8Array);
}

/** What a vault works with; made by OpenStore. */
export interface VaultParts {
  readonly native: NativeStore;
  readonly validator: PersistenceValidator;
  readonly pending: PendingOperations;
  readonly events: EventHub;
  readonly anchor: () => Promise<void>;
}

/**
 * Keys and values, sealed on disk and in memory, in the order of the keys' bytes.
 *
 * Operations take effect in the order of the calls; each sees the effect of those before it, also of those whose
 * promises have not resolved yet, while {@link Vault.get} and iteration see what is durable.
 *
 * Every method may throw, or reject with, a `PersistenceError`: `invalid-argument`, `invalid-option`, `invalid-key`,
 * `reserved-key` (keys that begin with `strongroom/`) and `closed`; the writing ones also `value-too-large`,
 * `batch-too-large`, `read-only`, `poisoned`, `queue-full`, what {@link PersistenceValidator.validateBeforeWrite} says,
 * the reasons of input and output, and `witness-not-moved` with `committed: true`.
 */
export class Vault {
  readonly #native: NativeStore;
  readonly #validator: PersistenceValidator;
  readonly #pending: PendingOperations;
  readonly #events: EventHub;
  readonly #anchor: () => Promise<void>;
  readonly #flush: () => void;
  #slab = Buffer.allocUnsafeSlow(0);
  #slabUsed = 0;

  /** @internal */
  constructor({ native, validator, pending, events, anchor }: VaultParts) {
    this.#native = native;
    this.#validator = validator;
    this.#pending = pending;
    this.#events = events;
    this.#anchor = anchor;
    this.#flush = () => {
      native.flush();
    };
  }

  /** The number of records, without the vault's own. */
  get size(): number {
    try {
      return this.#native.size();
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /**
   * The value, or `undefined`. From memory; decrypted and authenticated at each call. Values up to 4 KiB share 32 KiB of
   * memory with others that were read; copy one that is kept for long.
   */
  get(key: VaultKey): Buffer | undefined {
    try {
      const value = this.#read(key);
      if (value !== undefined && this.#events.listeningToReads) {
        this.#events.publish({ op: 'read', key: keyOfEvent(key), generation: this.#pending.generation });
      }
      return value;
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /** Whether the key has a value. From memory, without decrypting. */
  has(key: VaultKey): boolean {
    try {
      return this.#native.has(key);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /** Stores a value. Durable when the promise resolves. */
  set(key: VaultKey, value: VaultValue, options?: WriteOptions): Promise<void> {
    try {
      const durability = options === undefined ? 0 : readDurability(options, writeNames);
      this.#validator.validateBeforeWrite();
      if (this.#native.set(key, value, durability)) void turnEnd.then(this.#flush);
      return this.#pending.add(durability, 'nothing', this.#one('write', key));
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
  }

  /** Stores a value. Durable on return; blocks the event loop for as long as the disk takes. */
  setSync(key: VaultKey, value: VaultValue, options?: WriteOptions): void {
    try {
      const durability = options === undefined ? 0 : readDurability(options, writeNames);
      this.#validator.validateBeforeWrite();
      this.#now(this.#native.setSync(key, value, durability), this.#one('write', key));
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /** Removes a key. Durable when the promise resolves. A key that is not there is no error. */
  delete(key: VaultKey, options?: WriteOptions): Promise<void> {
    try {
      const durability = options === undefined ? 0 : readDurability(options, writeNames);
      this.#validator.validateBeforeWrite();
      if (this.#native.delete(key, durability)) void turnEnd.then(this.#flush);
      return this.#pending.add(durability, 'nothing', this.#one('delete', key));
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
  }

  /** Removes a key. Durable on return; blocks the event loop for as long as the disk takes. */
  deleteSync(key: VaultKey, options?: WriteOptions): void {
    try {
      const durability = options === undefined ? 0 : readDurability(options, writeNames);
      this.#validator.validateBeforeWrite();
      this.#now(this.#native.deleteSync(key, durability), this.#one('delete', key));
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /**
   * Adds to a counter and resolves with what it is then; one step in the core, so that no other operation comes
   * between. An absent counter is 0. A counter is a value of 8 bytes, two's complement, big-endian.
   *
   * Rejects with `below-minimum` or `above-maximum`, `counter-overflow` beyond 64 bits with sign, and `not-a-counter`
   * when the value has another size; the counter is then unchanged.
   */
  increment(key: VaultKey, delta: bigint, options?: IncrementOptions): Promise<bigint> {
    try {
      let durability: NativeDurability = 0;
      let min: unknown;
      let max: unknown;
      if (options !== undefined) {
        durability = readDurability(options, incrementNames);
        ({ min, max } = options);
      }
      this.#validator.validateBeforeWrite();
      if (this.#native.increment(key, delta, min, max, durability)) void turnEnd.then(this.#flush);
      return this.#pending.add(durability, 'counter', this.#one('write', key));
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
  }

  /**
   * Stores `next` if the value is `expected`, byte for byte, and resolves with whether it did. `undefined` stands for
   * absent: as `expected` the key must not be there, as `next` it is removed.
   */
  compareAndSet(
    key: VaultKey,
    expected: VaultValue | undefined,
    next: VaultValue | undefined,
    options?: WriteOptions,
  ): Promise<boolean> {
    try {
      const durability = options === undefined ? 0 : readDurability(options, writeNames);
      this.#validator.validateBeforeWrite();
      if (this.#native.compareAndSet(key, expected, next, durability)) void turnEnd.then(this.#flush);
      return this.#pending.add(
        durability,
        'swapped',
        this.#one(next === undefined ? 'delete' : 'write', key),
      );
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
  }

  /**
   * Does all of the operations or none of them, in one commit. At most 65,536 operations and 64 MiB of keys and
   * values. Of several operations on one key the last one counts.
   */
  batch(operations: readonly BatchOperation[], options?: WriteOptions): Promise<void> {
    try {
      const flat = flatten(operations);
      const durability = options === undefined ? 0 : readDurability(options, writeNames);
      this.#validator.validateBeforeWrite();
      if (this.#native.batch(flat, durability)) void turnEnd.then(this.#flush);
      return this.#pending.add(durability, 'nothing', this.#several(flat));
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
  }

  /**
   * Moves every witness, the TPM's counter too, to the newest commit: what was written before can no longer be rewound.
   * Rejects with `witness-not-moved`.
   */
  async anchor(): Promise<void> {
    return Vault.#of(this).#anchor();
  }

  /**
   * The entries of a range, ordered by the bytes of their keys. Not a snapshot: what others write during a long
   * iteration may show. Values of one stretch share up to 64 KiB of memory; copy one that is kept for long. After
   * `close()` the next step throws `closed`.
   */
  entries(range: KeyRange & { readonly keyEncoding: 'buffer' }): IterableIterator<[Buffer, Buffer]>;
  entries(range?: KeyRange & { readonly keyEncoding?: 'utf8' }): IterableIterator<[string, Buffer]>;
  entries(range?: KeyRange): IterableIterator<[string | Buffer, Buffer]> {
    try {
      const bounds = readRange(range);
      return iterate(this.#native, this.#pending, bounds, 'entries', (key, chunk, start, end) => [
        key,
        chunk.subarray(start, end),
      ]);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /** The keys of a range, ordered by their bytes; nothing is decrypted. As {@link Vault.entries}. */
  keys(range: KeyRange & { readonly keyEncoding: 'buffer' }): IterableIterator<Buffer>;
  keys(range?: KeyRange & { readonly keyEncoding?: 'utf8' }): IterableIterator<string>;
  keys(range?: KeyRange): IterableIterator<string | Buffer> {
    try {
      const bounds = readRange(range);
      return iterate(this.#native, this.#pending, bounds, 'keys', (key) => key);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /** The receiver of a method, which a caller may have taken off its object. */
  static #of(value: unknown): Vault {
    if (typeof value === 'object' && value !== null && #anchor in value) return value;
    throw new PersistenceError('invalid-argument', 'the method was called on something that is not a vault');
  }

  #read(key: VaultKey): Buffer | undefined {
    // A slab that the caller detached through a returned Buffer is not written to again.
    if (this.#slab.length === 0) this.#renewSlab();
    for (;;) {
      const found = this.#native.get(key);
      if (typeof found !== 'number') return found;
      if (found >= 0) {
        const start = this.#slabUsed;
        const end = start + found;
        this.#slabUsed = Math.min((end + slabAlignmentMask) & ~slabAlignmentMask, slabBytes);
        return this.#slab.subarray(start, end);
      }
      if (found === getAbsent) return undefined;
      this.#renewSlab();
    }
  }

  #renewSlab(): void {
    const slab = Buffer.allocUnsafeSlow(slabBytes);
    this.#native.setSlab(slab);
    this.#slab = slab;
    this.#slabUsed = 0;
  }

  #one(op: 'write' | 'delete', key: VaultKey): Submitted | undefined {
    return this.#events.listening ? { op, key: keyOfEvent(key) } : undefined;
  }

  #several(flat: unknown[]): Submitted | undefined {
    if (!this.#events.listening) return undefined;
    return flat.map((part, index) => {
      if (index % 2 === 0) return keyOfEvent(part);
      return part === undefined ? undefined : true;
    });
  }

  #now(generation: number, submitted: Submitted | undefined): void {
    this.#pending.committed(generation);
    if (submitted === undefined) return;
    // What was committed along with this operation comes first.
    this.#native.deliver(this.#pending.deliver);
    this.#pending.publish(submitted, generation);
  }
}
