// What the pages say: plain words for steps, states and reasons. The remedies of the error table speak of commands; here
// are those that differ on a page.
import type { Reason } from '../../errors.js';
import type { RestoreStep } from '../../restore/steps.js';
import type { StepView, View } from '../view.js';

export const stepWords: Readonly<Record<RestoreStep, string>> = {
  detect: 'Find out what is lost',
  password: 'Check the backup password',
  witnesses: 'Check history and witnesses',
  token: 'Find the token',
  kek: 'Make a new key in the token',
  witness: 'Note this point in the token',
  commit: 'Save it in one commit',
  tls: 'Write certificate and key files',
  hook: 'Test and reload the web server',
  completed: 'Open the store for service',
};

export const stateWords: Readonly<Record<StepView['state'], string>> = {
  'to-come': 'To come',
  'under-way': 'Under way',
  done: 'Done',
  skipped: 'Not needed',
  failed: 'Stopped here',
};

/** The stages that a person goes through, and the pages that belong to them. */
export const stages: readonly { readonly name: string; readonly pages: readonly View['page'][] }[] = [
  { name: 'Code', pages: ['code'] },
  { name: 'Token', pages: ['hsm'] },
  { name: 'Password', pages: ['password'] },
  { name: 'Restore', pages: ['progress'] },
  { name: 'Done', pages: ['result'] },
];

/** Why the password is asked for. */
export const lossWords: Partial<Record<Reason, string>> = {
  'kek-missing': 'The token is there, but it does not hold the key that opens this store.',
  'kek-replaced': 'The token is there, but the key in it is not the one that opens this store.',
  'wrapped-dek-corrupt': 'The token and its key are there, but the store’s copy of its own key is damaged.',
};

export interface ProblemWords {
  readonly title: string;
  /** In place of the remedy of the error table. */
  readonly remedy?: string;
  /** The field that it is about, by its id. */
  readonly field?: 'password' | 'code' | 'slots' | 'label' | 'so-pin' | 'confirm';
}

/** Whatever is wrong with the one-time code, but that a wait is asked for. */
export const codeWords: ProblemWords = {
  title: 'That code is not accepted',
  remedy: 'Take the newest code from the log. Capitals and hyphens do not matter.',
  field: 'code',
};

export const problemWords: Partial<Record<Reason, ProblemWords>> = {
  'password-wrong': {
    title: 'That is not the backup password',
    remedy: 'Nothing was changed. Look at Caps Lock and the keyboard layout, then try again.',
    field: 'password',
  },
  'password-missing': { title: 'The backup password is missing', field: 'password' },
  'password-throttled': {
    title: 'Please wait before the next try',
    remedy: 'This password was not tried. Each wrong one makes the wait longer, up to five minutes.',
    field: 'password',
  },
  'restore-busy': {
    title: 'A restore is under way already',
    remedy: 'Wait until it ends. Nothing was started a second time.',
  },
  'token-not-confirmed': {
    title: 'The token was not erased',
    remedy: 'Choose an empty slot, or type the label of the token exactly as it is shown.',
    field: 'confirm',
  },
  'token-exists': {
    title: 'A token with this label exists already',
    remedy: 'Choose another label. Nothing was changed.',
    field: 'label',
  },
  'token-missing': {
    title: 'The token is not visible',
    remedy: 'Connect or mount it and look again, or choose another slot.',
    field: 'slots',
  },
  'pin-missing': {
    title: 'The PIN is missing',
    remedy: 'Type the PIN of the security officer.',
    field: 'so-pin',
  },
  'pin-wrong': {
    title: 'The token does not take this PIN',
    remedy: 'Give the right PIN. Some tokens lock after a few wrong ones.',
    field: 'so-pin',
  },
  'pin-locked': { title: 'The token has locked its PIN' },
  'pin-length': { title: 'The token does not take this PIN', field: 'so-pin' },
  'pin-expired': { title: 'The token asks for a new PIN' },
  'pin-not-initialized': { title: 'The token has no PIN yet' },
  'invalid-option': {
    title: 'Something in the form is not right',
    remedy: 'Correct what is named below, then send it again. Nothing was changed.',
  },
  'hsm-refused': { title: 'The token refused' },
  'hsm-algorithm-missing': { title: 'The token lacks an algorithm' },
  'token-write-failed': { title: 'The token does not keep what is written' },
  'hsm-unreachable': {
    title: 'The token does not answer',
    remedy: 'Check the device and its connection, then try again.',
  },
  'hook-not-found': {
    title: 'The web server was not reloaded',
    remedy: 'Your data is safe. Install the hook, then go on with the backup password.',
  },
  'hook-not-permitted': {
    title: 'The web server was not reloaded',
    remedy: 'Your data is safe. Correct owner and mode of the hook, then go on with the backup password.',
  },
  'hook-failed': {
    title: 'The web server did not take its new configuration',
    remedy:
      'Your data is safe, and the old configuration still serves. Correct what the hook reports, then go on with the backup password.',
  },
  'hook-timeout': {
    title: 'The web server did not reload in time',
    remedy: 'Your data is safe. Find out what the hook waits for, then go on with the backup password.',
  },
  'no-space': {
    title: 'The disk is full',
    remedy: 'Make room, then go on with the backup password.',
  },
  locked: {
    title: 'Another process has the store, or a copy of it, open',
    remedy: 'Stop it or wait until it ends, then try again.',
  },
};

/** On the page of the password, a PIN is that of the configuration. */
export const configuredPinWords = (reason: Reason): ProblemWords | undefined => {
  if (!['pin-missing', 'pin-wrong', 'pin-locked', 'pin-expired', 'pin-not-initialized'].includes(reason))
    return undefined;
  return {
    title: pinTitles[reason] ?? pinTitle,
    remedy:
      'It belongs to the configuration of the server: correct it there, then start the service again. Some tokens lock after a few wrong PINs.',
  };
};

interface WaitingWords {
  readonly title: string;
  readonly lead: string;
  readonly remedy?: string;
}

const pinTitle = 'The token does not take the PIN';
const pinTitles: Partial<Record<Reason, string>> = {
  'pin-missing': 'The token’s PIN is missing',
  'pin-locked': 'The token has locked its PIN',
  'pin-expired': 'The token asks for a new PIN',
  'pin-not-initialized': 'The token has no PIN yet',
};

const outageTitles: Partial<Record<Reason, string>> = {
  'hsm-unreachable': 'The token does not answer',
  'secret-store-unavailable': 'The secret store does not answer',
  'permission-denied': 'The files of the store cannot be read',
  'io-error': 'The files of the store cannot be read',
};

const attentionTitles: Partial<Record<Reason, string>> = {
  'token-ambiguous': 'More than one token fits',
  'token-misnamed': 'The configuration names another token',
  'kek-duplicate': 'More than one key fits',
  'hsm-refused': 'The token refuses',
  'hsm-algorithm-missing': 'The token lacks an algorithm',
};

const tokenLost: readonly Reason[] = ['kek-missing', 'kek-replaced', 'wrapped-dek-corrupt', 'token-missing'];

/** What a page without a field says of its reason. */
export function waitingWords(
  page: 'outage' | 'pin' | 'attention' | 'refused',
  reason: Reason | undefined,
): WaitingWords {
  const titled = (titles: Partial<Record<Reason, string>>, otherwise: string): string =>
    (reason === undefined ? undefined : titles[reason]) ?? otherwise;
  switch (page) {
    case 'outage':
      return {
        title: titled(outageTitles, 'Something that the store needs does not answer'),
        lead: 'Nothing is lost, and no password is needed. When it answers again, the service starts by itself.',
      };
    case 'pin':
      return {
        title: titled(pinTitles, pinTitle),
        lead: 'Nothing is lost. The PIN belongs to the configuration of the server, so it cannot be typed here.',
      };
    case 'attention':
      if (reason !== undefined && tokenLost.includes(reason)) {
        return {
          title: 'This store has no backup password',
          lead: 'The key that opens it is not in the token, and there is no password that could replace it.',
          remedy:
            'Only the token’s own backup helps: bring the token or its key back, then start the service again.',
        };
      }
      return {
        title: titled(attentionTitles, 'This needs a decision'),
        lead: 'Nothing is lost, and nothing was changed. What to do cannot be decided without you.',
      };
    case 'refused':
      return {
        title: 'The store is not opened',
        lead: 'Its files did not pass the checks: they may be an older copy, incomplete, or changed by someone. A restore does not go over that. Nothing was changed.',
      };
  }
}
