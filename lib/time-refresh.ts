// When TIME_TAMPER is refreshed by itself: hourly, and as soon as the wall clock was set. A store that was opened under a wrong
// clock, which is then put right, would else be stamped with the wrong time for up to an hour, and look that much too old or
// too young to the start after a crash.

/** How often TIME_TAMPER is refreshed by itself. */
const refreshMs = 3_600_000;
/** How often the clocks are compared. */
const lookMs = 5_000;
/** What the clocks may drift apart between two looks, such as while a clock is slewed. */
const driftMs = 1_000;

export class TimeRefresh {
  readonly #timer: NodeJS.Timeout;
  #dueMs = performance.now() + refreshMs;
  #offsetMs = offsetMs();

  /** Does not hold the process open. */
  constructor(refresh: () => void) {
    this.#timer = setInterval(() => {
      const moved = Math.abs(offsetMs() - this.#offsetMs) > driftMs;
      this.#offsetMs = offsetMs();
      if (!moved && performance.now() < this.#dueMs) return;
      this.#dueMs = performance.now() + refreshMs;
      refresh();
    }, lookMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** The wall clock against a clock that nobody sets. That one stands still while the machine is suspended. */
function offsetMs(): number {
  return Date.now() - performance.now();
}
