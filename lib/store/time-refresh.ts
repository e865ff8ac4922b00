// When TIME_TAMPER is refreshed by itself: hourly, and as soon as the wall clock was set. A store that was opened under a wrong
// clock, which is then put right, would else be stamped with the wrong time for up to an hour, and look that much too old or
// too young to the start after a crash.
import type { EventHub } from '../vault/events.js';
import { toPersistenceError } from '../native/errors.js';
import type { PendingOperations } from '../vault/pending.js';
import type { Tasks } from './tasks.js';

/** How often TIME_TAMPER is refreshed by itself. */
const refreshMs = 3_600_000;
/** How often the clocks are compared. */
const lookMs = 5_000;
/** What the clocks may drift apart between two looks, such as while a clock is slewed. */
const driftMs = 1_000;

export class TimeRefresh {
  readonly #tasks: Tasks;
  readonly #pending: PendingOperations;
  readonly #events: EventHub;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = performance.now() + refreshMs;
  #offsetMs = offsetMs();

  constructor(tasks: Tasks, pending: PendingOperations, events: EventHub) {
    this.#tasks = tasks;
    this.#pending = pending;
    this.#events = events;
  }

  /** Does not hold the process open. */
  start(): void {
    this.#timer = setInterval(() => {
      const moved = Math.abs(offsetMs() - this.#offsetMs) > driftMs;
      this.#offsetMs = offsetMs();
      if (!moved && performance.now() < this.#dueMs) return;
      this.#dueMs = performance.now() + refreshMs;
      void this.refresh().catch(() => undefined);
    }, lookMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** What the timer does. */
  async refresh(): Promise<void> {
    try {
      const generation = await this.#tasks.run(async (native) => {
        await native.maintenance.refreshTimeTamper();
        return native.status()?.newest.generation ?? this.#pending.generation;
      });
      this.#pending.committed(generation);
      this.#events.publish({ op: 'time', generation });
    } catch (error) {
      const cause = toPersistenceError(error, 'internal');
      if (cause.reason !== 'closed') {
        this.#events.notify(
          Object.freeze({ kind: 'time-refresh-failed', message: 'TIME_TAMPER was not refreshed', cause }),
        );
      }
      throw cause;
    }
  }
}

/** The wall clock against a clock that nobody sets. That one stands still while the machine is suspended. */
function offsetMs(): number {
  return Date.now() - performance.now();
}
