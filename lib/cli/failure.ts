// How a command fails: one exit code and one report for whatever was thrown.
//
// Exit codes: 0 ok, 2 usage (PERS_8001), 3 PERS_8003, 4 retryable or unavailable, 5 restore required, 1 anything else.
// Of PERS_8003 what passes when a clock is set right (`clock-rolled-back`, `state-stale`) is 4: units start again on it. 6: the output could not
// be written, which is no reason to repeat what the command did.
import { errorTable, type Reason } from '../error-table.js';
import { isPersistenceError, PersistenceError } from '../errors.js';
import {
  OutputFailed,
  painter,
  printable,
  takeNoticed,
  tell,
  tellJson,
  type OutputFormat,
} from './terminal.js';

export const exitCodes = {
  ok: 0,
  other: 1,
  usage: 2,
  critical: 3,
  unavailable: 4,
  restoreRequired: 5,
  output: 6,
} as const;

/** What is said of an error, as text or, with `--json`, as this object. */
export interface Failure {
  readonly code: string;
  readonly reason: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly remedy: string;
  /** Present only when the operation is durable although it failed. */
  readonly committed?: true;
  /** Present only when it is not known whether the operation is durable. */
  readonly outcomeUnknown?: true;
  /** Present where it is known how long to wait before another try. */
  readonly retryAfterMs?: number;
}

/** No value under the key: not a fault of the store, but nothing to print either. Exit code 1. */
export class KeyAbsent extends Error {
  constructor(key: string) {
    super(`there is no value under the key ${JSON.stringify(key)}`);
  }
}

/** A wrong argument, found before the store is touched. */
export function wrongArgument(message: string): PersistenceError {
  return new PersistenceError('invalid-argument', message);
}

/** A wrong option, found before the store is touched. */
export function wrongOption(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

/** Reasons that are not retryable by themselves, and yet say that a part is out of reach rather than wrong. */
const unavailable: ReadonlySet<string> = new Set<Reason>(['root-unavailable']);
/** Reasons for which only a restore helps. */
const restoreRequired: ReadonlySet<string> = new Set<Reason>([
  'restore-required',
  'token-missing',
  'kek-missing',
  'kek-replaced',
  'wrapped-dek-corrupt',
]);

const nativeMissing = 'native-missing';
const outputFailed = 'output-failed';

export function exitCodeOf({ code, reason, retryable }: Failure): number {
  if (reason === outputFailed) return exitCodes.output;
  if (code === 'PERS_8003' && !retryable) return exitCodes.critical;
  if (code === 'PERS_8001') return exitCodes.usage;
  if (restoreRequired.has(reason)) return exitCodes.restoreRequired;
  return retryable || unavailable.has(reason) ? exitCodes.unavailable : exitCodes.other;
}

export function failureOf(error: unknown): Failure {
  if (isPersistenceError(error)) {
    const { code, reason, message, retryable, remedy } = error;
    return {
      code,
      reason,
      message,
      retryable,
      remedy,
      ...(error.committed === true && { committed: true }),
      ...(error.outcomeUnknown === true && { outcomeUnknown: true }),
      ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    };
  }
  if (error instanceof KeyAbsent) {
    const remedy = 'List the keys with `strongroom list DIR`.';
    return { code: 'PERS_8002', reason: 'key-absent', message: error.message, retryable: false, remedy };
  }
  if (error instanceof OutputFailed) {
    const remedy =
      'Make room, or write elsewhere. A change that the command made is durable: look before you repeat it.';
    return { code: 'PERS_8005', reason: outputFailed, message: error.message, retryable: false, remedy };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && 'code' in error && error.code === 'ERR_STRONGROOM_NATIVE') {
    const remedy = 'Install or build the compiled core as the message says.';
    return { code: error.code, reason: nativeMissing, message, retryable: false, remedy };
  }
  const { code, retryable, remedy } = errorTable.internal;
  return { code, reason: 'internal', message, retryable, remedy };
}

/** Reports on standard error: two lines for people, or one JSON object. */
export function report(failure: Failure, format: OutputFormat): void {
  if (format === 'json') {
    tellJson({ ...takeNoticed(), ...failure });
    return;
  }
  const paint = painter(process.stderr);
  const { code, reason, message, remedy } = failure;
  // Our own page of help; every other message is held to a line.
  if (reason === nativeMissing) {
    tell(message);
    return;
  }
  tell(`${paint('red', 'strongroom:')} ${printable(message)} ${paint('dim', `[${code} ${reason}]`)}`);
  if (failure.committed === true) {
    const repeat = remedy.startsWith('Do not repeat') ? '' : ' Do not repeat it.';
    tell(`  The change is durable all the same.${repeat}`);
  }
  if (failure.outcomeUnknown === true) tell('  Whether the change is durable is not known.');
  tell(`  ${printable(remedy)}`);
}
