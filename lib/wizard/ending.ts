// How the wizard ends: once, now or after a while.
import type { WizardEvent, WizardOutcome } from './options.js';

export class Ending {
  /** Resolves when nothing is to be served any more; never rejects. */
  readonly finished: Promise<WizardOutcome>;
  readonly #onEvent: (event: WizardEvent) => void;
  #settle: (outcome: WizardOutcome) => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #outcome: WizardOutcome = 'closed';
  #isOver = false;
  #isDelivered = false;

  constructor(onEvent: (event: WizardEvent) => void) {
    this.#onEvent = onEvent;
    this.finished = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** There is a result, which is served for `ms` at most. */
  after(ms: number, outcome: WizardOutcome): void {
    this.#outcome = outcome;
    this.#endIn(ms);
  }

  /** The result was fetched: the pages stay a little longer. */
  delivered(graceMs: number): void {
    if (this.#isDelivered) return;
    this.#isDelivered = true;
    this.#endIn(graceMs);
  }

  now(outcome: WizardOutcome): void {
    clearTimeout(this.#timer);
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onEvent({ event: 'finished', outcome });
    this.#settle(outcome);
  }

  #endIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.now(this.#outcome);
    }, ms);
  }
}
