// Operations that wait for the disk, and their promises.
//
// Invariants
// - The core completes `journal` operations in order of submission, and `witnessed` ones too, so that two queues and
//   no ticket numbers lead from a completion to its promise.
// - Results come through memory shared with the core: no call of Node-API for each promise.
import type { EventHub, VaultEvent } from './events.js';
import type { NativeDelivery, NativeDurability, NativeError } from '../native-binding.js';
import {
  deliveryBytes,
  deliveryFailed,
  deliveryFlagsAt,
  deliveryMax,
  deliveryNumbersAt,
  deliveryOfWitnessed,
  deliverySwapped,
} from '../native-border.js';
import { toPersistenceError } from '../native/errors.js';

/** What a promise resolves with: nothing, the counter after an increment, whether a compare-and-set took place. */
export type Outcome = 'nothing' | 'counter' | 'swapped';

/** What was submitted, kept only while somebody listens: a key for one operation, or key, value, … of a batch. */
export type Submitted = { readonly op: VaultEvent['op']; readonly key: string | Buffer } | readonly unknown[];

interface Operation {
  readonly outcome: Outcome;
  readonly submitted: Submitted | undefined;
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
  next: Operation | undefined;
}

interface Queue {
  first: Operation | undefined;
  last: Operation | undefined;
}

// One executor for all promises, instead of a closure for each.
let takenResolve: (value: never) => void;
let takenReject: (error: Error) => void;
function take(resolve: (value: never) => void, reject: (error: Error) => void): void {
  takenResolve = resolve;
  takenReject = reject;
}

export class PendingOperations {
  readonly results = new ArrayBuffer(deliveryBytes);
  readonly deliver: NativeDelivery;
  readonly #generations = new Float64Array(this.results, 0, deliveryMax);
  readonly #numbers = new BigInt64Array(this.results, deliveryNumbersAt, deliveryMax);
  readonly #flags = new Uint8Array(this.results, deliveryFlagsAt, deliveryMax);
  readonly #journal: Queue = { first: undefined, last: undefined };
  readonly #witnessed: Queue = { first: undefined, last: undefined };
  readonly #events: EventHub;
  #generation = 0;
  #isOpen = true;

  constructor(events: EventHub) {
    this.#events = events;
    this.deliver = (count, errors, failures) => {
      this.#deliver(count, errors);
      for (const failure of failures ?? []) {
        const cause = toPersistenceError(failure, 'internal');
        const message = `a compaction failed, and the log keeps its size: ${cause.message}`;
        events.notify(Object.freeze({ kind: 'compaction-failed', message, cause }));
      }
    };
  }

  /** The newest generation that a delivery brought. */
  get generation(): number {
    return this.#generation;
  }

  /** False from the call of close() on: what iterates over the vault stops at its next step. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  shut(): void {
    this.#isOpen = false;
  }

  committed(generation: number): void {
    if (generation > this.#generation) this.#generation = generation;
  }

  /** The promise of an operation that the core has just accepted. */
  add<T>(durability: NativeDurability, outcome: Outcome, submitted: Submitted | undefined): Promise<T> {
    const promise = new Promise<T>(take);
    const operation: Operation = {
      outcome,
      submitted,
      resolve: takenResolve,
      reject: takenReject,
      next: undefined,
    };
    const queue = durability === 0 ? this.#journal : this.#witnessed;
    if (queue.last === undefined) queue.first = operation;
    else queue.last.next = operation;
    queue.last = operation;
    return promise;
  }

  #deliver(count: number, errors: NativeError[] | undefined): void {
    let failures = 0;
    for (let i = 0; i < count; ++i) {
      const flags = this.#flags[i] ?? 0;
      const queue = (flags & deliveryOfWitnessed) === 0 ? this.#journal : this.#witnessed;
      const operation = queue.first;
      if (operation === undefined) throw new Error('a completion without an operation');
      queue.first = operation.next;
      if (operation.next === undefined) queue.last = undefined;
      const generation = this.#generations[i] ?? 0;
      if (generation > this.#generation) this.#generation = generation;

      let committed = generation !== 0;
      if ((flags & deliveryFailed) !== 0) {
        const error = toPersistenceError(errors?.[failures++], 'internal');
        committed = error.committed === true;
        operation.reject(error);
      } else if (operation.outcome === 'nothing') {
        (operation.resolve as (value: undefined) => void)(undefined);
      } else if (operation.outcome === 'counter') {
        (operation.resolve as (value: bigint) => void)(this.#numbers[i] ?? 0n);
      } else {
        const took = (flags & deliverySwapped) !== 0;
        committed = committed && took;
        (operation.resolve as (value: boolean) => void)(took);
      }
      if (committed && operation.submitted !== undefined) this.publish(operation.submitted, generation);
    }
  }

  publish(submitted: Submitted, generation: number): void {
    if ('op' in submitted) {
      this.#events.publish({ op: submitted.op, key: submitted.key, generation });
      return;
    }
    for (let i = 0; i < submitted.length; i += 2) {
      const key = submitted[i] as string | Buffer;
      this.#events.publish({ op: submitted[i + 1] === undefined ? 'delete' : 'write', key, generation });
    }
  }
}
