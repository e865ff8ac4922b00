// Wrong backup passwords: how long none is tried, and how many may wait to be tried.
//
// Invariants
// - One key derivation at a time in this process; at most eight more wait, others are turned away at once.
// - A store's wait doubles with each wrong password after the third, up to five minutes. It is kept in memory: a wrong
//   password changes no file.
import { PersistenceError } from '../errors.js';
import { waitText } from '../base/units.js';

const freeTries = 3;
const firstWaitMs = 1000;
const longestWaitMs = 300_000;
const forgottenAfterMs = 3_600_000;
const storesMax = 1024;
const waitingMax = 8;

interface Tries {
  wrong: number;
  lastMs: number;
  untilMs: number;
}

export class PasswordThrottle {
  readonly #nowMs: () => number;
  readonly #tries = new Map<string, Tries>();
  #running: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Runs one try of a password for a store. A rejection with `password-wrong` counts; success forgets the others.
   * @throws PersistenceError `password-throttled`, with `retryAfterMs`
   */
  async attempt<T>(store: string, attempt: () => Promise<T>): Promise<T> {
    this.#admit(store);
    if (this.#waiting > waitingMax) throw throttled(firstWaitMs, 'too many passwords wait to be tried');
    this.#waiting += 1;
    const turn = this.#running;
    let release: () => void = () => undefined;
    this.#running = new Promise<void>((resolve) => {
      release = resolve;
    });
    try {
      await turn;
      this.#admit(store);
      const result = await attempt();
      this.#tries.delete(store);
      return result;
    } catch (error) {
      if (error instanceof PersistenceError && error.reason === 'password-wrong') this.#failed(store);
      throw error;
    } finally {
      this.#waiting -= 1;
      release();
    }
  }

  /** How many wrong passwords there were for a store, and how long none is tried. */
  peek(store: string): { readonly wrong: number; readonly waitMs: number } {
    const tries = this.#tries.get(store);
    const now = this.#nowMs();
    if (tries === undefined || now - tries.lastMs > forgottenAfterMs) return { wrong: 0, waitMs: 0 };
    return { wrong: tries.wrong, waitMs: Math.max(0, Math.ceil(tries.untilMs - now)) };
  }

  #admit(store: string): void {
    const tries = this.#tries.get(store);
    if (tries === undefined) return;
    const now = this.#nowMs();
    if (now - tries.lastMs > forgottenAfterMs) this.#tries.delete(store);
    else if (now < tries.untilMs)
      throw throttled(Math.ceil(tries.untilMs - now), `${tries.wrong} wrong passwords`);
  }

  #failed(store: string): void {
    const now = this.#nowMs();
    const wrong = (this.#tries.get(store)?.wrong ?? 0) + 1;
    const waitMs = wrong < freeTries ? 0 : Math.min(longestWaitMs, firstWaitMs * 2 ** (wrong - freeTries));
    this.#tries.delete(store);
    this.#tries.set(store, { wrong, lastMs: now, untilMs: now + waitMs });
    const [oldest] = this.#tries.keys();
    if (this.#tries.size > storesMax && oldest !== undefined) this.#tries.delete(oldest);
  }
}

function throttled(retryAfterMs: number, why: string): PersistenceError {
  return new PersistenceError('password-throttled', `${why}: try again in ${waitText(retryAfterMs)}`, {
    retryAfterMs,
  });
}

/** That of this process. */
export const passwordThrottle = new PasswordThrottle();
