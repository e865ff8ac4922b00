// What a start does in place of its last steps: an administrative operation, or a restore.
import { untilAborted } from '../base/abort.js';
import { toPersistenceError } from '../native/errors.js';

/** What authorises an operation. */
interface Authorised {
  readonly password?: Uint8Array | undefined;
  readonly permit?: Uint8Array | undefined;
}

/** Leads to an open store. */
export type OpeningOperation =
  { readonly kind: 'open' } | ({ readonly kind: 'reanchor' | 'recover' | 'reseal' } & Authorised);

export interface DecommissionOperation extends Authorised {
  readonly kind: 'decommission';
}

/** What is told of the steps of a restore that are a start's. */
export interface RestoreReport {
  begin(step: 'password' | 'witnesses' | 'token'): void;
  skip(step: 'password'): void;
  /** By number, the steps of the core. */
  readonly core: (number: number) => void;
}

/** In place of the last steps of a start: the restore up to its commit. */
export interface RestoreOperation extends Authorised {
  readonly kind: 'restore';
  readonly report: RestoreReport;
  /** Called where no token is there, when all that can be proven is proven. */
  readonly makeToken: () => Promise<void>;
  /** Runs the part that tries the password. */
  readonly attempt: <T>(work: () => Promise<T>) => Promise<T>;
}

export type Operation = OpeningOperation | DecommissionOperation | RestoreOperation;

/** An operation, or a function that reads the caller's secrets for it as a part of the start. */
export type GivenOperation<Kind extends Operation> = Kind | (() => Promise<Kind>);

/** What a caller's function for a secret throws is `invalid-argument`. */
export async function operationOf<Kind extends Operation>(
  given: GivenOperation<Kind>,
  signal: AbortSignal | undefined,
): Promise<Kind> {
  if (typeof given !== 'function') return given;
  try {
    return await (signal === undefined ? given() : untilAborted(given(), signal));
  } catch (error) {
    throw toPersistenceError(error);
  }
}
