// What a start does in place of its last steps: an administrative operation, or a restore.
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
