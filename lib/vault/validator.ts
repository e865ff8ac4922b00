// PersistenceValidator: may the vault be written now?
import { PersistenceError } from '../errors.js';
import { toPersistenceError } from '../native/errors.js';

/** What the validator asks of the core; neither call touches a file. */
export interface ValidationSource {
  /**
   * CLOCK_BOOTTIME in milliseconds: continues during suspend, and no one can set it. NaN while a witness raises an alarm, so
   * that no earlier success counts.
   */
  bootTimeMs(): number;
  /** Throws when the clock, a witness or the log forbids writing. */
  validateBeforeWrite(): void;
}

/**
 * The guard of every write (`ValidateBeforeWrite`).
 *
 * A success counts for 60 seconds of CLOCK_BOOTTIME; moving the wall clock neither extends nor shortens that. A failure
 * is not cached and drops a cached success, and so does a witness that raises an alarm. At a COLDSTART validation is bypassed until the first commit.
 */
export class PersistenceValidator {
  /** How long a success counts: 60,000 ms of CLOCK_BOOTTIME. */
  static readonly cacheMs = 60_000;

  readonly #source: ValidationSource;
  #coldstart: boolean;
  #validAtMs = Number.NEGATIVE_INFINITY;
  #validations = 0;

  constructor(source: ValidationSource, startup: 'COLDSTART' | 'WARMSTART') {
    this.#source = source;
    this.#coldstart = startup === 'COLDSTART';
  }

  /** How many times a write was really validated, rather than by the cache. */
  get validations(): number {
    return this.#validations;
  }

  /**
   * Returns when the vault may be written.
   * @throws PersistenceError PERS_8003 when the clock or a witness says that state was rewound; `poisoned`; `closed`.
   */
  validateBeforeWrite(): void {
    if (!PersistenceValidator.#isOne(this))
      throw new PersistenceError('invalid-argument', 'not a PersistenceValidator');
    if (this.#coldstart) return;
    let nowMs: number;
    try {
      nowMs = this.#source.bootTimeMs();
    } catch (error) {
      throw toPersistenceError(error, 'internal');
    }
    const ageMs = nowMs - this.#validAtMs;
    if (ageMs < PersistenceValidator.cacheMs && ageMs >= 0) return;
    this.#validate(nowMs);
  }

  static #isOne(value: unknown): value is PersistenceValidator {
    return typeof value === 'object' && value !== null && #source in value;
  }

  /** Ends the bypass of a COLDSTART; called with its first commit. */
  endColdstart(): void {
    this.#coldstart = false;
  }

  /** Drops the cached success. */
  invalidate(): void {
    this.#validAtMs = Number.NEGATIVE_INFINITY;
  }

  #validate(nowMs: number): void {
    this.#validAtMs = Number.NEGATIVE_INFINITY;
    ++this.#validations;
    try {
      this.#source.validateBeforeWrite();
    } catch (error) {
      throw toPersistenceError(error, 'internal');
    }
    this.#validAtMs = nowMs;
  }
}
