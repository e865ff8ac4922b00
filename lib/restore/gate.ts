// What an entrypoint starts: the service, the wizard, or nothing yet.
//
// Invariants
// - Reads only: no lock, no file, no object in the token; in a restore state nothing is unwrapped.
// - Only what is lost leads to the wizard. An outage is waited for, and what needs the operator starts nothing.
// - It answers within its time limit, whatever hangs.
import { untilAborted } from '../base/abort.js';
import { requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { NativeBinding } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import type { RestoreState } from './detect.js';
import type { TokenInfo } from './token-setup.js';
import { detectLoss, type DetectOptions, type Detection } from './world.js';
import { limitText } from '../base/units.js';

export const gateTimeLimitMs = 60_000;

export interface GateOptions extends DetectOptions {
  /** For the whole answer; default 60,000 ms. Calls into a module have a limit of their own besides. */
  readonly timeLimitMs?: number;
}

/**
 * - `service`: start it.
 * - `wizard`: the store must be restored first; `strongroom wizard`, or its library function.
 * - `wait`: ask again; it heals by itself.
 * - `none`: the operator must act first.
 */
export type GateStart = 'service' | 'wizard' | 'wait' | 'none';

export interface Gate {
  readonly start: GateStart;
  readonly state: RestoreState;
  readonly scenario: 1 | 2 | 3 | undefined;
  /** The wizard's page that comes first. */
  readonly path: string | undefined;
  /** Why it is not the service. */
  readonly cause: PersistenceError | undefined;
  /** All that was found; undefined where the time limit cut it off. */
  readonly detection: Detection | undefined;
}

const starts: Readonly<Record<RestoreState, GateStart>> = {
  WIZARD_COMPLETED: 'service',
  // A start makes the store, and refuses by itself where there was one.
  NO_STORE: 'service',
  WIZARD_AUTO_RESTORE_PASSWORD: 'wizard',
  WIZARD_SETUP_HSM_AUTORESTORE: 'wizard',
  OUTAGE: 'wait',
  PIN: 'none',
  ATTENTION: 'none',
  REFUSED: 'none',
};

/** As {@link Api.serveGate}. */
export async function decideGate(binding: NativeBinding, options: GateOptions): Promise<Gate> {
  const { timeLimitMs, place } = readGateOptions(options);
  const clock = new AbortController();
  const timer = setTimeout(() => {
    clock.abort();
  }, timeLimitMs);
  try {
    return gateOf(await untilAborted(detectLoss(binding, place), clock.signal));
  } catch (error) {
    if (clock.signal.aborted) return late(timeLimitMs);
    throw toPersistenceError(error);
  } finally {
    clearTimeout(timer);
  }
}

function readGateOptions(options: unknown): { timeLimitMs: number; place: DetectOptions } {
  try {
    requireRecord(options);
    const { timeLimitMs = gateTimeLimitMs, ...place } = options as GateOptions;
    if (typeof timeLimitMs !== 'number' || !(timeLimitMs > 0 && timeLimitMs <= 3_600_000)) {
      throw new PersistenceError('invalid-option', 'timeLimitMs must be a number above 0, at most 3,600,000');
    }
    return { timeLimitMs, place };
  } catch (error) {
    throw toPersistenceError(error);
  }
}

/** What passes is waited for, whatever the state is called: a clock that is set right. What does not is for the operator. */
function startOf(state: RestoreState, cause: PersistenceError | undefined): GateStart {
  const start = starts[state];
  if (start === 'wait' && cause?.retryable === false) return 'none';
  return start === 'none' && cause?.retryable === true ? 'wait' : start;
}

/** The decision from what was found. */
export function gateOf(detection: Detection): Gate {
  const { state, scenario, cause, tokens } = detection;
  const start = startOf(state, cause);
  return Object.freeze({
    start,
    state,
    scenario,
    path: wizardPath(state, tokens),
    cause: cause ?? (start === 'wizard' ? notCompleted() : undefined),
    detection,
  });
}

function notCompleted(): PersistenceError {
  return new PersistenceError('restore-required', 'a restore of this store was begun and is not completed');
}

function late(timeLimitMs: number): Gate {
  return Object.freeze({
    start: 'wait',
    state: 'OUTAGE',
    scenario: undefined,
    path: undefined,
    cause: new PersistenceError(
      'aborted',
      `what a start would meet was not known within ${limitText(timeLimitMs)}`,
    ),
    detection: undefined,
  });
}

function wizardPath(state: RestoreState, tokens: readonly TokenInfo[] | undefined): string | undefined {
  if (state === 'WIZARD_AUTO_RESTORE_PASSWORD') return '/setup-wizard/auto_restore_password/';
  if (state !== 'WIZARD_SETUP_HSM_AUTORESTORE') return undefined;
  // Both pages are the same but for their words.
  const soft =
    tokens?.some(({ model, manufacturer }) => /softhsm/i.test(`${manufacturer} ${model}`)) === true;
  return `/setup-wizard/auto-restore-hsm-setup/${soft ? 'softhsm' : 'physical'}/`;
}
