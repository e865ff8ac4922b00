// The operations of the kill campaign, and what the vault must hold after them.
//
// Invariants
// - The n-th operation and its answer follow from the seed, the state before it and nothing else, so that the process
//   that writes and the one that checks agree without telling each other.
// - The digest of a state does not depend on the order in which its entries came to be.
export type Durability = 'journal' | 'witnessed';

export type Change = readonly [key: string, value: Buffer | undefined];

export type Operation = { readonly durability: Durability } & (
  | { readonly type: 'set'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'delete'; readonly key: string }
  | { readonly type: 'increment'; readonly key: string; readonly delta: bigint; readonly min: bigint }
  | {
      readonly type: 'compareAndSet';
      readonly key: string;
      readonly expected: Buffer | undefined;
      readonly next: Buffer | undefined;
    }
  | { readonly type: 'batch'; readonly changes: readonly Change[] }
);

/** Numbers that follow from a seed (mulberry32). */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** A whole number from 0 to 2^32 - 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (x ^ (x >>> 14)) >>> 0;
  }
  below(limit: number): number {
    return this.next() % limit;
  }
  /** A whole number from `first` to `last`. */
  within(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  bytes(length: number): Buffer {
    const out = Buffer.allocUnsafe((length + 3) & ~3);
    for (let i = 0; i < length; i += 4) out.writeUInt32LE(this.next(), i);
    return out.subarray(0, length);
  }
}

/** One 32-bit number out of several. */
export function mixSeeds(...parts: readonly number[]): number {
  let seed = 0x9e3779b9;
  for (const part of parts) seed = new Random(seed ^ Math.imul(part + 1, 0x85ebca6b)).next();
  return seed;
}

const keyCount = 240;
const counterCount = 16;

function hashOf(key: string, value: Buffer, seed: number): number {
  let hash = seed;
  for (let i = 0; i < key.length; ++i) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ 0x1ff, 0x01000193);
  for (const byte of value) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash ^ (hash >>> 15);
}

/** What the vault holds: keys and values, counters as their 8 bytes. */
export class Model {
  readonly entries = new Map<string, Buffer>();
  #low = 0;
  #high = 0;

  get digest(): string {
    return `${this.entries.size}:${this.#low >>> 0}:${this.#high >>> 0}`;
  }

  put(key: string, value: Buffer | undefined): void {
    const before = this.entries.get(key);
    if (before !== undefined) this.#toggle(key, before);
    if (value === undefined) {
      this.entries.delete(key);
      return;
    }
    this.entries.set(key, value);
    this.#toggle(key, value);
  }

  #toggle(key: string, value: Buffer): void {
    this.#low ^= hashOf(key, value, 0x811c9dc5);
    this.#high ^= hashOf(key, value, 0x2f0b4c47);
  }

  /** Applies an operation and gives as text what its promise must resolve with, or the reason of its refusal. */
  apply(operation: Operation): string {
    switch (operation.type) {
      case 'set':
        this.put(operation.key, operation.value);
        return '';
      case 'delete':
        this.put(operation.key, undefined);
        return '';
      case 'increment': {
        const number = (this.entries.get(operation.key)?.readBigInt64BE() ?? 0n) + operation.delta;
        if (number < operation.min) return 'below-minimum';
        const after = Buffer.alloc(8);
        after.writeBigInt64BE(number);
        this.put(operation.key, after);
        return String(number);
      }
      case 'compareAndSet': {
        const present = this.entries.get(operation.key);
        const { expected, next } = operation;
        const same = expected === undefined ? present === undefined : present?.equals(expected) === true;
        if (same) this.put(operation.key, next);
        return String(same);
      }
      case 'batch':
        for (const [key, value] of operation.changes) this.put(key, value);
        return '';
    }
  }
}

/** The operations of one process, in the order in which it submits them. */
export class Operations {
  readonly #random: Random;
  readonly #model: Model;
  readonly #witnessedOneIn: number;

  /**
   * `model` is read for compare-and-set; whoever asks for an operation applies it before asking for the next. One in
   * `witnessedOneIn` is witnessed, by chance.
   */
  constructor(seed: number, model: Model, witnessedOneIn: number) {
    this.#random = new Random(seed);
    this.#model = model;
    this.#witnessedOneIn = witnessedOneIn;
  }

  next(): Operation {
    const random = this.#random;
    const durability = random.below(this.#witnessedOneIn) === 0 ? 'witnessed' : 'journal';
    const kind = random.below(100);
    if (kind < 45) return { type: 'set', durability, key: this.#key(), value: this.#value() };
    if (kind < 55) return { type: 'delete', durability, key: this.#key() };
    if (kind < 75) {
      const key = `tokens/${random.below(counterCount)}`;
      return { type: 'increment', durability, key, delta: BigInt(random.within(-50, 50)), min: 0n };
    }
    if (kind < 90) {
      const key = this.#key();
      const expected = random.below(3) === 0 ? this.#value() : this.#model.entries.get(key);
      const next = random.below(8) === 0 ? undefined : this.#value();
      return { type: 'compareAndSet', durability, key, expected, next };
    }
    const changes = Array.from({ length: random.within(2, 24) }, (): Change => {
      const value = random.below(5) === 0 ? undefined : this.#value();
      return [this.#key(), value];
    });
    return { type: 'batch', durability, changes };
  }

  #key(): string {
    return `seats/${this.#random.below(keyCount)}`;
  }

  #value(): Buffer {
    const random = this.#random;
    return random.bytes(random.below(40) === 0 ? random.within(2000, 8000) : random.below(200));
  }
}
