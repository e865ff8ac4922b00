// The one class of error that leaves this package. Code, retryability and remedy come from the generated table, so that
// they cannot differ between C++, TypeScript and the documentation.
import { errorTable, type ErrorCode, type Reason } from './error-table.js';

export type { ErrorCode, Reason } from './error-table.js';

/** What a {@link PersistenceError} can carry besides its reason and message. */
export interface PersistenceErrorOptions {
  /** The underlying error, where there is one. */
  readonly cause?: unknown;
  /** `true`: the operation is durable in the vault although it failed. Do not repeat it. */
  readonly committed?: boolean;
  /** `true`: whether the operation counts is not known. */
  readonly outcomeUnknown?: boolean;
  /** How long to wait before another try. */
  readonly retryAfterMs?: number;
  /** In place of the remedy of the reason, where the place of the failure knows a better one. */
  readonly remedy?: string;
}

/** Of `witness-not-moved` where no operation of the caller's waits for the witness: at anchor(), at a start, at a close. */
const nothingToRepeat =
  'Bring the witness back. It is moved with the next commit, by anchor(), or by the next start; there is nothing to repeat.';

/**
 * An error of strongroom. `code` and `reason` are the contract; `message` is for people and may change.
 *
 * Recognise one by {@link isPersistenceError} and not by `instanceof`, which fails for errors of another realm or of a
 * second copy of this package.
 */
export class PersistenceError extends Error {
  /** The class of the error, `PERS_8001` to `PERS_8005`; `PERS_8003` is the critical one. */
  readonly code: ErrorCode;
  /** The stable, machine-readable cause. */
  readonly reason: Reason;
  /**
   * Whether the same call can succeed later without a change to the store or the arguments. Never with
   * {@link outcomeUnknown}: it could take effect twice.
   */
  readonly retryable: boolean;
  /** What to do about it, in plain words. */
  readonly remedy: string;
  /** Present and `true` only when the operation is durable although it failed. */
  declare readonly committed?: boolean;
  /**
   * Present and `true` only when it is not known whether the operation counts. Read its effect once the store opens again,
   * and repeat it only if it is missing.
   */
  declare readonly outcomeUnknown?: boolean;
  /** Present where it is known how long to wait before another try. */
  declare readonly retryAfterMs?: number;

  constructor(reason: Reason, message: string, options: PersistenceErrorOptions = {}) {
    requireParts(reason, message, options);
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    const entry = errorTable[reason];
    this.code = entry.code;
    this.reason = reason;
    // The same call could take effect twice.
    this.retryable = entry.retryable && options.outcomeUnknown !== true;
    this.remedy =
      options.remedy ??
      (reason === 'witness-not-moved' && options.committed !== true ? nothingToRepeat : entry.remedy);
    if (options.committed === true) this.committed = true;
    if (options.outcomeUnknown === true) this.outcomeUnknown = true;
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }

  static {
    // On the prototype, as with the built-in errors: not an own property, so that it is not printed twice.
    Object.defineProperty(this.prototype, 'name', {
      value: 'PersistenceError',
      configurable: true,
      writable: true,
    });
  }
}

function requireParts(reason: unknown, message: unknown, options: unknown): void {
  if (typeof reason !== 'string' || !Object.hasOwn(errorTable, reason))
    throw new PersistenceError('invalid-argument', 'reason must be one of docs/errors.md');
  if (typeof message !== 'string') throw new PersistenceError('invalid-argument', 'message must be a string');
  if (typeof options !== 'object' || options === null)
    throw new PersistenceError('invalid-argument', 'the options must be an object');
}

/**
 * Tells whether a caught value is an error of strongroom, by its `code` and `reason`. Also true for errors that come
 * from another realm or from another copy or release of this package.
 */
export function isPersistenceError(value: unknown): value is PersistenceError {
  if (typeof value !== 'object' || value === null) return false;
  try {
    const { code, reason } = value as { code?: unknown; reason?: unknown };
    return typeof code === 'string' && /^PERS_80\d\d$/.test(code) && typeof reason === 'string';
  } catch {
    return false; // a getter or a Proxy of somebody else's
  }
}

/**
 * What a function of protector `external` throws to say how its key service failed. Its message becomes part of a
 * {@link PersistenceError}: leave keys out of it.
 */
export class KeyServiceError extends Error {
  /** `unreachable`: the same call can succeed later. `refused`: it cannot, until somebody changes the key service. */
  readonly kind: 'unreachable' | 'refused';

  constructor(kind: 'unreachable' | 'refused', message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    if (kind !== 'unreachable' && (kind as string) !== 'refused')
      throw new PersistenceError('invalid-argument', "kind must be 'unreachable' or 'refused'");
    this.kind = kind;
  }

  static {
    this.prototype.name = 'KeyServiceError';
  }
}
