// PersistenceService: a start, once, and the open store that it leads to.
//
// Invariant: a start that fails has let go of everything, and writes nothing more.
import { aborted, cancelling, throwIfAborted } from '../base/abort.js';
import { PersistenceError } from '../errors.js';
import { EventHub } from '../vault/events.js';
import type { NativeBinding, NativeStoreOptions } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import {
  operationOf,
  type DecommissionOperation,
  type GivenOperation,
  type OpeningOperation,
  type Operation,
  type RestoreOperation,
} from './operation.js';
import { readOpenOptions, type ReadOptions } from './open-options.js';
import { PendingOperations } from '../vault/pending.js';
import { makeOpenStore, type Opened, type OpenStore } from './open-store.js';
import { Start } from './start.js';

export class PersistenceService {
  readonly #binding: NativeBinding;
  readonly #options: ReadOptions;
  readonly #events = new EventHub();
  readonly #pending = new PendingOperations(this.#events);
  readonly #start: Start;
  #state: 'new' | 'starting' | 'open' | 'closed' = 'new';
  #opened: Opened | undefined;

  /**
   * @param binding - the compiled core
   * @param options - OpenOptions, checked here: `invalid-option`
   * @param internals - for tests: options of the core that have no public name
   */
  constructor(binding: NativeBinding, options: unknown, internals: Partial<NativeStoreOptions> = {}) {
    this.#binding = binding;
    try {
      this.#options = readOpenOptions(options);
    } catch (error) {
      throw toPersistenceError(error);
    }
    this.#start = new Start(binding, this.#options, internals, this.#pending);
  }

  /** What initialize() led to. */
  get opened(): Opened {
    if (this.#opened !== undefined) return this.#opened;
    throw this.#state === 'closed'
      ? new PersistenceError('closed', 'the store was closed')
      : new PersistenceError('not-open', 'the store is not open yet');
  }

  /**
   * Initialize(): starts the store, once.
   * @throws PersistenceError: the verdict of a step; `already-open` at a second call; `initialization-failed`, with its
   * cause, for anything else that is thrown within a step.
   */
  async initialize(
    given: GivenOperation<OpeningOperation | RestoreOperation> = { kind: 'open' },
  ): Promise<OpenStore> {
    const started = await this.#once(given, async (operation) => {
      const result = await this.#start.open(operation);
      // What an operation has changed is done; a start can be repeated.
      if (operation.kind === 'open') throwIfAborted(this.#options.signal);
      return result;
    });
    try {
      this.#opened = await makeOpenStore({
        ...started,
        binding: this.#binding,
        options: this.#options,
        events: this.#events,
        pending: this.#pending,
      });
    } catch (error) {
      this.#state = 'closed';
      await this.#start.letGo();
      throw toPersistenceError(error);
    }
    return this.#opened.store;
  }

  /**
   * Removes the store.
   * @returns what was not found, and so is left behind
   */
  async decommission(given: GivenOperation<DecommissionOperation>): Promise<readonly string[]> {
    const leftBehind = await this.#once(given, (operation) => this.#start.decommission(operation));
    this.#state = 'closed';
    await this.#start.letGo();
    return leftBehind;
  }

  /** Closes the store, where it is open; otherwise no start can follow. */
  async close(): Promise<void> {
    if (this.#opened === undefined && (this.#state === 'starting' || this.#state === 'open'))
      throw new PersistenceError('not-open', 'the store is not open yet');
    this.#state = 'closed';
    await this.#opened?.store.close();
  }

  async #once<Kind extends Operation, T>(
    given: GivenOperation<Kind>,
    work: (operation: Kind) => Promise<T>,
  ): Promise<T> {
    if (this.#state === 'closed') throw new PersistenceError('closed', 'the store was closed');
    if (this.#state !== 'new') throw new PersistenceError('already-open', 'Initialize() was called before');
    this.#state = 'starting';
    const { signal } = this.#options;
    const cancel = (): void => {
      this.#start.cancel();
    };
    try {
      const operation = await operationOf(given, signal);
      const result = await cancelling(signal, cancel, () => work(operation));
      this.#state = 'open';
      return result;
    } catch (error) {
      this.#state = 'closed';
      await this.#start.letGo();
      const refusal = this.#options.explain(toPersistenceError(error, 'initialization-failed'));
      throw refusal.reason === 'aborted' && signal?.aborted === true ? aborted(signal) : refusal;
    } finally {
      this.#options.forget();
    }
  }
}
