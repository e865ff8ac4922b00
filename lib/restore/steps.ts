// The steps of a restore, by the names that every face of it uses.
import { operationSteps } from '../native-border.js';

/** In their order. */
export const restoreSteps = [
  'detect',
  'password',
  'witnesses',
  'token',
  'kek',
  'witness',
  'commit',
  'tls',
  'hook',
  'completed',
] as const;

/**
 * - `detect`: what is lost was found out, and the lock taken
 * - `password`: the backup password was proven; skipped where a restore continues without it
 * - `witnesses`: the history and every witness that is left agree
 * - `token`: the token is there; set up if it was lost
 * - `kek`: a new key-encryption key, and the data encryption key wrapped with it and unwrapped again
 * - `witness`: the token remembers the present checkpoint
 * - `commit`: key slot, restore record and deactivated keys in one commit, then persistence.bin
 * - `tls`: key, certificate and chain of the web server are written
 * - `hook`: the web server's configuration was tested and reloaded
 * - `completed`: the store serves again
 */
export type RestoreStep = (typeof restoreSteps)[number];

export interface RestoreEvent {
  readonly step: RestoreStep;
  readonly state: 'begun' | 'done' | 'skipped';
}

const stepOf: Readonly<Record<(typeof operationSteps)[number], RestoreStep>> = {
  begin: 'token',
  kek: 'kek',
  witness: 'witness',
  commit: 'commit',
  file: 'commit',
  settle: 'commit',
  strays: 'commit',
};

/** Tells of steps, each once, in order, whatever was passed over in between. */
export class StepReport {
  readonly #tell: (event: RestoreEvent) => void;
  #at = -1;
  #begun = false;

  constructor(tell: (event: RestoreEvent) => void) {
    this.#tell = tell;
  }

  begin(step: RestoreStep): void {
    const at = restoreSteps.indexOf(step);
    if (at <= this.#at) return;
    this.#finish();
    for (this.#at += 1; this.#at < at; this.#at += 1) this.#emit(this.#at, 'done');
    this.#emit(at, 'begun');
    this.#begun = true;
  }

  skip(step: RestoreStep): void {
    this.begin(step);
    this.#emit(this.#at, 'skipped');
    this.#begun = false;
  }

  /** The last step is done. */
  end(): void {
    this.#finish();
  }

  /** What the core reports. */
  readonly core = (number: number): void => {
    const step = operationSteps[number];
    if (step !== undefined) this.begin(stepOf[step]);
  };

  #finish(): void {
    if (this.#begun) this.#emit(this.#at, 'done');
    this.#begun = false;
  }

  #emit(at: number, state: RestoreEvent['state']): void {
    const step = restoreSteps[at];
    if (step !== undefined) this.#tell(Object.freeze({ step, state }));
  }
}
