// Tasks of the core on an open store: one at a time, in the order of the calls.
import { PersistenceError } from '../errors.js';
import type { NativeStore } from '../native-binding.js';
import { fromNative } from '../native/errors.js';

/** Runs a task of the core when those before it are done. */
export type RunTask = <T>(work: (native: NativeStore) => Promise<T>) => Promise<T>;

export class Tasks {
  readonly #native: NativeStore;
  #last: Promise<unknown> = Promise.resolve();
  #isShut = false;

  constructor(native: NativeStore) {
    this.#native = native;
  }

  /** @throws PersistenceError `closed` */
  readonly run: RunTask = async (work) => {
    if (this.#isShut) throw new PersistenceError('closed', 'the store was closed');
    const run = this.#last.then(() => fromNative(() => work(this.#native)));
    this.#last = run.catch(() => undefined);
    return run;
  };

  /** Takes no more. Resolves when those that were asked for before are done. */
  async shut(): Promise<void> {
    this.#isShut = true;
    await this.#last;
  }
}
