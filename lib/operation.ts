// What a start does in place of its last steps: an administrative operation, or a restore.
import { untilAborted } from './abort.js';
import { toPersistenceError } from './native-errors.js';
import type { StepReport } from './restore/steps.js';

/** In place of the last steps of a start, or of the key protector. */
export type Operation =
  | { readonly kind: 'open' }
  | {
      readonly kind: 'reanchor' | 'recover' | 'reseal';
      readonly password?: Uint8Array | undefined;
      readonly permit?: Uint8Array | undefined;
    }
  | {
      readonly kind: 'decommission';
      readonly password?: Uint8Array | undefined;
      readonly permit?: Uint8Array | undefined;
      /** Called when the store is removed, with the items that were not found. */
      readonly onRemoved?: ((leftBehind: readonly string[]) => void) | undefined;
    }
  | RestoreOperation;

/** In place of the last steps of a start: the restore up to its commit. */
export interface RestoreOperation {
  readonly kind: 'restore';
  readonly password?: Uint8Array | undefined;
  readonly permit?: Uint8Array | undefined;
  readonly report: StepReport;
  /** Called when all that can be proven is proven; without a token it makes one. */
  readonly prepareToken: (missing: boolean) => Promise<void>;
  /** Runs the part that tries the password. */
  readonly attempt: <T>(work: () => Promise<T>) => Promise<T>;
}

/** What a caller's function for a secret throws is `invalid-argument`. */
export async function asking(
  given: () => Promise<Operation>,
  signal: AbortSignal | undefined,
): Promise<Operation> {
  try {
    return await (signal === undefined ? given() : untilAborted(given(), signal));
  } catch (error) {
    throw toPersistenceError(error);
  }
}
