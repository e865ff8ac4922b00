// What a start of this store would meet: a pure function from what was found to the documents' states.
import type { Reason } from '../error-table.js';
import { protectorOf, type KeyProtectorType } from '../protectors/registry.js';

/** What the files in the directory are. */
export type FilesFound =
  /** Nothing, or an interrupted COLDSTART: a start makes the store. */
  | 'none'
  | 'complete'
  /** A decommission was begun. */
  | 'decommissioning'
  /** Some files are there and others are missing. */
  | 'partial'
  /** persistence.bin does not parse, or is of another version. */
  | 'damaged'
  /** They cannot be read now. */
  | 'unreadable';

/** Why a token does not open the store; each failure is classified before anything is decided. */
export const tokenRefusals = [
  'hsm-unreachable',
  'hsm-refused',
  'hsm-algorithm-missing',
  'token-missing',
  'token-ambiguous',
  'token-misnamed',
  'pin-missing',
  'pin-wrong',
  'pin-locked',
  'pin-expired',
  'pin-not-initialized',
  'kek-missing',
  'kek-duplicate',
  'kek-replaced',
  'wrapped-dek-corrupt',
] as const satisfies readonly Reason[];

/** How the token answered. */
export type TokenFound =
  /** Nobody asked: the protector is none, or the files answer already. */
  | 'not-asked'
  /** The KEK is there, and unwraps. */
  | 'ok'
  | (typeof tokenRefusals)[number];

/** What the journal in the vault says of a restore. It can be read only when the key protector is open. */
export type JournalFound = 'unknown' | 'none' | 'pending' | 'completed';

/** What the history and its witnesses say, as far as they could be asked. */
export type HistoryFound = 'unknown' | 'ok' | 'refused' | 'unavailable';

/** All that the decision depends on. */
export interface Found {
  readonly protector: KeyProtectorType | undefined;
  readonly files: FilesFound;
  readonly token: TokenFound;
  readonly journal: JournalFound;
  readonly history: HistoryFound;
  readonly passwordSlot: boolean;
}

/**
 * - `WIZARD_COMPLETED`: a start goes on as usual.
 * - `WIZARD_AUTO_RESTORE_PASSWORD`: the token is there and its KEK is not, or a restore is not completed: the backup
 *   password is asked for.
 * - `WIZARD_SETUP_HSM_AUTORESTORE`: the token is lost: another is set up, then the password is asked for.
 * - `OUTAGE`: something does not answer; it heals by itself, and no password helps.
 * - `PIN`: the PIN is missing, wrong or locked.
 * - `ATTENTION`: the operator must decide: two tokens fit, the options name another token than the store's, two KEKs are
 *   there, the token refuses.
 * - `REFUSED`: PERS_8003. A restore never goes over it.
 * - `NO_STORE`: a start makes the store.
 */
export type RestoreState =
  | 'WIZARD_COMPLETED'
  | 'WIZARD_AUTO_RESTORE_PASSWORD'
  | 'WIZARD_SETUP_HSM_AUTORESTORE'
  | 'OUTAGE'
  | 'PIN'
  | 'ATTENTION'
  | 'REFUSED'
  | 'NO_STORE';

export interface Decision {
  readonly state: RestoreState;
  /** The document's scenario: 1 the KEK is lost, 2 the HSM is lost, 3 all is there. */
  readonly scenario: 1 | 2 | 3 | undefined;
}

const decided = (state: RestoreState, scenario?: 1 | 2 | 3): Decision => Object.freeze({ state, scenario });

export function detect(found: Found): Decision {
  const { protector, files, token, journal, history, passwordSlot } = found;
  switch (files) {
    case 'none':
      return decided('NO_STORE');
    case 'partial':
    case 'damaged':
      return decided('REFUSED');
    case 'unreadable':
      return decided('OUTAGE');
    case 'decommissioning':
      return decided('ATTENTION');
    case 'complete':
      break;
  }
  // A start says what else is to be said; no token is asked.
  if (protector === undefined || !protectorOf(protector).isInToken) return decided('WIZARD_COMPLETED');
  const restore = (scenario: 1 | 2): Decision =>
    // Without a password slot only the token's own backup helps.
    passwordSlot
      ? decided(scenario === 1 ? 'WIZARD_AUTO_RESTORE_PASSWORD' : 'WIZARD_SETUP_HSM_AUTORESTORE', scenario)
      : decided('ATTENTION');
  switch (token) {
    case 'ok':
      if (history === 'refused') return decided('REFUSED');
      if (history === 'unavailable' || history === 'unknown') return decided('OUTAGE');
      return journal === 'pending'
        ? decided('WIZARD_AUTO_RESTORE_PASSWORD', 1)
        : decided('WIZARD_COMPLETED', 3);
    case 'kek-missing':
    case 'kek-replaced':
    case 'wrapped-dek-corrupt':
      return restore(1);
    case 'token-missing':
      return restore(2);
    case 'pin-missing':
    case 'pin-wrong':
    case 'pin-locked':
    case 'pin-expired':
    case 'pin-not-initialized':
      return decided('PIN');
    case 'token-ambiguous':
    case 'token-misnamed':
    case 'kek-duplicate':
    case 'hsm-refused':
    case 'hsm-algorithm-missing':
      return decided('ATTENTION');
    case 'not-asked':
      // The history was refused before or beside the token: no waiting heals that.
      return decided(history === 'refused' ? 'REFUSED' : 'OUTAGE');
    case 'hsm-unreachable':
      return decided('OUTAGE');
  }
}
