// The status of an open store, and the last one after it was closed.
import { PersistenceError } from '../errors.js';
import type { NativeStatus, NativeStore } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import type { PersistenceValidator } from '../vault/validator.js';
import { toStatus, type PersistenceStatus, type StatusExtras } from './status.js';

/** What a start found out besides. */
type Facts = Pick<StatusExtras, 'readOnly' | 'manifests' | 'library' | 'sharesFileSystem' | 'notices'>;

export class StatusSource {
  readonly #native: NativeStore;
  readonly #validator: PersistenceValidator;
  #facts: Facts;
  #state: StatusExtras['state'] = 'open';
  #last: NativeStatus | undefined;

  constructor(native: NativeStore, validator: PersistenceValidator, facts: Facts) {
    this.#native = native;
    this.#validator = validator;
    this.#facts = facts;
  }

  read(): PersistenceStatus {
    let native: NativeStatus | undefined;
    try {
      native = this.#native.status() ?? this.#last;
    } catch (error) {
      throw toPersistenceError(error, 'internal');
    }
    if (native === undefined) throw new PersistenceError('closed', 'the store was closed');
    return toStatus(native, {
      ...this.#facts,
      state: this.#state,
      validations: this.#validator.validations,
      nowMs: Date.now(),
    });
  }

  dropNotices(): void {
    this.#facts = { ...this.#facts, notices: [] };
  }

  /** Keeps what the core says now. */
  close(): void {
    this.#state = 'closed';
    this.#last = this.#native.status();
  }
}
