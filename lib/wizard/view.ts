// What a page of the wizard shows. The server makes it from a Detection and the restore's events; the pages turn it into
// HTML and know nothing else; its JSON twin is the same object, without the CSRF token.
//
// The forms post to the path of their own page, as application/x-www-form-urlencoded, with the fields `csrf` and
//   code page      `code`
//   password page  `password`
//                  (none where the restore continues without it)
//   HSM page       `slotId`, `label`, `soPin` (empty: the configured one), `soPinAgain` (where `soPin` is chosen; absent: not
//                  compared), `erase` (the label of the token that is erased)
import type { Reason } from '../errors.js';
import type { RestoreStep } from '../restore/steps.js';

export interface TokenFacts {
  readonly label: string;
  readonly serial: string;
}

/** What was found, in the words of the store. Unauthenticated while the key protector is closed. */
export interface StoreFacts {
  readonly instance: string | undefined;
  readonly storageId: string | undefined;
  /** The token that persistence.bin names. */
  readonly token: TokenFacts | undefined;
  /** The token that is in its place: another serial number, and the label or slot that the options name. */
  readonly newToken: TokenFacts | undefined;
  /** When the store was last written, as far as that is known. */
  readonly lastGoodMs: number | undefined;
}

export interface StepView {
  readonly step: RestoreStep;
  readonly state: 'to-come' | 'under-way' | 'done' | 'skipped' | 'failed';
}

/** Why the last attempt went wrong: of the error table, with its remedy. */
export interface Problem {
  readonly reason: Reason;
  readonly message: string;
  readonly remedy: string;
  readonly retryAfterMs: number | undefined;
  /** What it is about, where the reason does not say. */
  readonly about?: Subject | undefined;
}

/** A field of the form for a new token; `user-pin`: the PIN of the server's configuration. */
export type Subject = 'slots' | 'label' | 'confirm' | 'so-pin' | 'so-pin-again' | 'user-pin';

/** A slot that a new token can be set up in. */
export interface SlotView {
  readonly slotId: number;
  readonly description: string;
  /** Undefined: the slot is empty. Else this token would be erased, and its label must be typed. */
  readonly erases: TokenFacts | undefined;
  /** `new`: the PIN of the security officer is chosen with this form. `existing`: the token has one, which is needed. */
  readonly soPin: 'new' | 'existing';
  /** The permitted length of a PIN in bytes. Undefined: the module does not report it. */
  readonly pinBytes: { readonly min: number; readonly max: number } | undefined;
}

interface Base {
  readonly facts: StoreFacts;
  /** Why the store does not open, as detection found it: the reason of its cause. */
  readonly found?: Reason | undefined;
  /** All steps of the restore, in their order. */
  readonly steps: readonly StepView[];
  readonly problem: Problem | undefined;
}

/** Asks for the one-time code that was printed to the log; nothing about the store is told before. */
export interface CodeView {
  readonly page: 'code';
  readonly csrf: string;
  readonly problem: Problem | undefined;
}

/** `/setup-wizard/auto_restore_password/` */
export interface PasswordView extends Base {
  readonly page: 'password';
  readonly csrf: string;
  /** A restore was committed and is not completed. The token opens the store, so it continues without the password. */
  readonly resumes: boolean;
  /** Wrong passwords so far, in this process. */
  readonly wrongAttempts: number;
  /** No attempt is taken before this many ms have passed. */
  readonly waitMs: number;
}

/** `/setup-wizard/auto-restore-hsm-setup/<hsm_type>/` */
export interface HsmView extends Base {
  readonly page: 'hsm';
  readonly csrf: string;
  readonly hsmType: 'softhsm' | 'physical';
  readonly slots: readonly SlotView[];
  /** False: the PIN of the security officer is configured, and need not be typed. */
  readonly asksSoPin: boolean;
  /** False: the configuration has no user PIN, and no token can be set up. */
  readonly hasUserPin: boolean;
  /** What was typed before, so that it need not be typed again; never a PIN. */
  readonly given: { readonly slotId: number | undefined; readonly label: string };
}

/** A restore is under way: refreshes itself. */
export interface ProgressView extends Base {
  readonly page: 'progress';
}

/** Nothing is asked for: an outage ends by itself. `pin`, `attention` and `refused` need the operator. */
export interface WaitingView extends Base {
  readonly page: 'outage' | 'pin' | 'attention' | 'refused';
}

/** The store serves again. */
export interface ResultView extends Base {
  readonly page: 'result';
  /** The token answered again by itself: nothing was restored, and nothing was changed. */
  readonly healed: boolean;
  readonly completedMs: number;
  readonly deactivatedKeys: readonly { readonly id: string; readonly why: string }[];
  /** SHA-256 of the web server's certificate, in hexadecimal; undefined where the vault holds none. */
  readonly tlsFingerprint: string | undefined;
  /** The status says `continuity: 'unproven'`: a reanchor is needed. */
  readonly unproven: boolean;
}

/** 403, 404, 405, 413, 503 and the like. */
export interface ErrorView {
  readonly page: 'error';
  readonly status: number;
  readonly title: string;
  readonly message: string;
  /** Where the pages are, for a request that came by another address. */
  readonly address?: string | undefined;
}

export type View = CodeView | PasswordView | HsmView | ProgressView | WaitingView | ResultView | ErrorView;
