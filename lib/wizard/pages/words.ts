// The words of the pages: steps, states and reasons. The remedies of the error table name commands. A remedy that differs
// on a page is here.
import { errorTable } from '../../error-table.js';
import type { Reason } from '../../errors.js';
import type { RestoreStep } from '../../restore/steps.js';
import type { Problem, StepView, Subject, View } from '../view.js';

export const stepWords: Readonly<Record<RestoreStep, string>> = {
  detect: 'Find out what is lost',
  password: 'Check the backup password',
  witnesses: 'Check history and witnesses',
  token: 'Find the token',
  kek: 'Make a new key in the token',
  witness: 'Save the checkpoint in the token',
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
  'kek-missing': 'The token answers, but it does not hold the key that opens this store.',
  'kek-replaced': 'The token answers, but the key in it is not the one that opens this store.',
  'wrapped-dek-corrupt': 'The token holds its key, but the store’s copy of its own key is damaged.',
};

export interface ProblemWords {
  readonly title: string;
  /** Instead of the remedy of the error table. */
  readonly remedy?: string;
  /** The field that it is about, by its id. */
  readonly field?: 'password' | 'code' | 'slots' | 'label' | 'so-pin' | 'confirm';
}

/** Anything that is wrong with the one-time code, except too many wrong codes. */
const codeWords: ProblemWords = {
  title: 'That code is not accepted',
  remedy: 'Take the newest code from the log. Capitals and hyphens do not matter.',
  field: 'code',
};

const throttled = (what: string): ProblemWords => ({
  title: 'Please wait, then try again',
  remedy: `This ${what} was not checked. Each wrong ${what} makes the wait longer, up to five minutes.`,
});

export const codeWordsOf = (reason: Reason): ProblemWords =>
  reason === 'password-throttled' ? { ...throttled('code'), field: 'code' } : codeWords;

const enterPassword: ProblemWords = {
  title: 'The token does not open the store',
  remedy: 'Enter the backup password.',
  field: 'password',
};

const problemWords: Partial<Record<Reason, ProblemWords>> = {
  'password-wrong': {
    title: 'That is not the backup password',
    remedy: 'Nothing was changed. Check Caps Lock and the keyboard layout, then try again.',
    field: 'password',
  },
  'password-missing': { title: 'The backup password is missing', field: 'password' },
  'password-throttled': { ...throttled('password'), field: 'password' },
  'kek-missing': enterPassword,
  'kek-replaced': enterPassword,
  'wrapped-dek-corrupt': enterPassword,
  'restore-required': enterPassword,
  'restore-busy': {
    title: 'A restore is under way already',
    remedy: 'Wait until it ends. Nothing was started a second time.',
  },
  'authority-refused': {
    title: 'The vendor’s permit is missing or does not fit',
    remedy:
      'Ask the vendor for a permit over the checkpoint that `strongroom status` shows. Then start this page again with `--permit-file`.',
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
    remedy: 'Type the PIN that its security officer has. Some tokens lock after a few wrong PINs.',
    field: 'so-pin',
  },
  'pin-length': { title: 'The token does not take this PIN', field: 'so-pin' },
  'pin-expired': { title: 'The token asks for a new PIN' },
  'pin-locked': {
    title: 'The PIN of the security officer is locked',
    remedy: 'Choose another slot, or reset the token as its vendor describes.',
    field: 'slots',
  },
  'pin-not-initialized': { title: 'The token has no PIN yet' },
  'invalid-option': {
    title: 'Something in the form is not right',
    remedy: 'Correct what the message below names, then send the form again. Nothing was changed.',
  },
  'hsm-refused': { title: 'The token refused' },
  'hsm-algorithm-missing': { title: 'The token lacks an algorithm' },
  'token-write-failed': { title: 'The token does not keep what is written' },
  'token-misnamed': {
    title: 'The configuration names another token',
    remedy: 'Correct the token in the configuration of the server, then start this page again.',
  },
  'hsm-unreachable': {
    title: 'The token does not answer',
    remedy: 'Check the device and its connection, then try again.',
  },
  'hook-not-found': {
    title: 'The web server was not reloaded',
    remedy: 'Your data is safe. Install the hook, then continue.',
  },
  'hook-not-permitted': {
    title: 'The web server was not reloaded',
    remedy: 'Your data is safe. Correct the owner and the mode of the hook, then continue.',
  },
  'hook-failed': {
    title: 'The web server did not take its new configuration',
    remedy:
      'Your data is safe, and the web server keeps its old configuration. Correct what the hook reports, then continue.',
  },
  'hook-timeout': {
    title: 'The web server did not reload in time',
    remedy: 'Your data is safe. Find out what the hook waits for, then continue.',
  },
  'no-space': {
    title: 'The disk is full',
    remedy: 'Make room, then try again.',
  },
  locked: {
    title: 'Another process has the store, or a copy of it, open',
    remedy: 'Stop it or wait until it ends, then try again.',
  },
};

/** One reason has several causes in the form for a new token. */
const formWords: Partial<Record<`${Reason} ${Subject}`, ProblemWords>> = {
  'invalid-option slots': {
    title: 'No slot is chosen',
    remedy: 'Choose a slot. Nothing was changed.',
    field: 'slots',
  },
  'invalid-option label': {
    title: 'The new token cannot have this label',
    remedy: 'Correct the label. Nothing was changed.',
    field: 'label',
  },
  'pin-length so-pin': {
    title: 'The PIN of the security officer has the wrong length',
    remedy: 'Choose a PIN with the length that the slot permits. Nothing was changed.',
    field: 'so-pin',
  },
  'invalid-option so-pin-again': {
    title: 'The two PINs of the security officer differ',
    remedy: 'Type the same PIN twice. Nothing was changed.',
    field: 'so-pin',
  },
  'pin-length user-pin': {
    title: 'The server’s user PIN has the wrong length for this slot',
    remedy:
      'Nothing was changed. Choose another slot. Or change the PIN in the configuration of the server, then start this page again.',
    field: 'slots',
  },
  'pin-missing user-pin': {
    title: 'The configuration of the server has no user PIN',
    remedy: 'Nothing was changed. Give the PIN, for example with `--pin-file`, then start this page again.',
  },
};

export function wordsOf({ reason, about }: Pick<Problem, 'reason' | 'about'>): ProblemWords | undefined {
  return (about && formWords[`${reason} ${about}`]) ?? problemWords[reason];
}

/** On the page of the password, a PIN is that of the configuration. */
export function passwordWordsOf(problem: Problem): ProblemWords | undefined {
  const { reason } = problem;
  if (!['pin-missing', 'pin-wrong', 'pin-locked', 'pin-expired', 'pin-not-initialized'].includes(reason))
    return wordsOf(problem);
  return {
    title: pinTitles[reason] ?? pinTitle,
    remedy:
      'The PIN belongs to the configuration of the server. Correct it there, then start this page again. Some tokens lock after a few wrong PINs.',
  };
}

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
  'clock-rolled-back': 'The clock of the server is behind',
};

const attentionTitles: Partial<Record<Reason, string>> = {
  'token-ambiguous': 'More than one token fits',
  'token-misnamed': 'The configuration names another token',
  'kek-duplicate': 'More than one key fits',
  'hsm-refused': 'The token refuses',
  'hsm-algorithm-missing': 'The token lacks an algorithm',
};

const tokenLost: readonly Reason[] = ['kek-missing', 'kek-replaced', 'wrapped-dek-corrupt', 'token-missing'];

const noPassword: WaitingWords = {
  title: 'This store has no backup password',
  lead: 'The token does not open it, and no password can give it a new key.',
  remedy: 'Only the token’s own backup helps. Bring the token or its key back, then start the service again.',
};

const noStore: WaitingWords = {
  title: 'The files of the store are not visible now',
  lead: 'They were in their directory when this page started. Nothing was changed.',
  remedy: 'Check whether the disk is mounted. This page continues when the files are back.',
};

const halfRemoved: WaitingWords = {
  title: 'The removal of this store was interrupted',
  lead: 'A decommission was begun and did not end. A restore does not undo that.',
  remedy: 'Complete it with `strongroom decommission`, or bring the files back from a backup.',
};

const deviceGivenUp =
  'Check the device, its connection and the configuration of its module. If the device is given up, name another token or module in the configuration of the server, with `--another-token`, and start this page again. Then the backup password gives the store a new key in that token.';

/** What a page without a field says of its reason. */
export function waitingWords(
  page: 'outage' | 'pin' | 'attention' | 'refused',
  reason: Reason | undefined,
): WaitingWords {
  const titled = (titles: Partial<Record<Reason, string>>, otherwise: string): string =>
    (reason === undefined ? undefined : titles[reason]) ?? otherwise;
  switch (page) {
    case 'outage':
      if (reason !== undefined && !errorTable[reason].retryable) {
        return {
          title: titled(outageTitles, 'The store cannot be opened'),
          lead: 'Nothing is lost, and no password is needed. The store opens when the cause below is corrected.',
        };
      }
      return {
        title: titled(outageTitles, 'Something that the store needs does not answer'),
        lead: 'Nothing is lost, and no password is needed. When it answers again, the service starts by itself.',
        ...(reason === 'hsm-unreachable' && { remedy: deviceGivenUp }),
      };
    case 'pin':
      return {
        title: titled(pinTitles, pinTitle),
        lead: 'Nothing is lost. The PIN belongs to the configuration of the server, so it cannot be typed here.',
      };
    case 'attention':
      if (reason === 'no-store') return noStore;
      if (reason === 'partial-restore') return halfRemoved;
      if (reason !== undefined && tokenLost.includes(reason)) return noPassword;
      return {
        title: titled(attentionTitles, 'This needs a decision'),
        lead: 'Nothing is lost, and nothing was changed. The store cannot be opened without your decision.',
      };
    case 'refused':
      return refusedWords(reason);
  }
}

function refusedWords(reason: Reason | undefined): WaitingWords {
  const title = 'The store is not opened';
  if (reason === 'clock-rolled-back') {
    return {
      title: outageTitles[reason] ?? title,
      lead: 'The store remembers a later time than the clock shows. Nothing is lost, and nothing was changed.',
    };
  }
  // Only the checks of the history may be called a sign of an attack.
  if (reason !== undefined && errorTable[reason].code !== 'PERS_8003') {
    return {
      title,
      lead: 'Its files cannot be used as they are, and a restore does not change that. Nothing was changed.',
    };
  }
  return {
    title,
    lead: 'Its files did not pass the checks: they may be an older copy, incomplete, or changed by someone. A restore does not override that. Nothing was changed.',
  };
}
