// Who may use the pages: whoever has read the one-time code in the log, in one session at a time.
//
// Invariants
// - A code opens one session and no other. A new one is drawn, and told, when that session ends.
// - Of the code and of the session's id only digests are kept; they are compared in constant time.
// - The id of a session is always drawn anew; one that a browser brings along is never adopted.
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

import { isPersistenceError, PersistenceError } from '../errors.js';
import { PasswordThrottle } from '../restore/throttle.js';
import { waitText } from '../base/units.js';

/** Crockford's base 32: no I, L, O and U, and what is mistaken for another is read as that. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const codeSymbols = 20;
const groupSymbols = 4;
const idBytes = 32;

export interface SessionLimits {
  /** A session ends when nothing was asked for this long. */
  readonly idleMs: number;
  /** And this long after it began. */
  readonly wholeMs: number;
}

export const sessionLimits: SessionLimits = { idleMs: 900_000, wholeMs: 3_600_000 };

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

/** 100 bits in five groups. Each symbol is five bits of a byte of its own. */
function drawCode(): string {
  const symbols = [...randomBytes(codeSymbols)].map((value) => alphabet[value & 31]).join('');
  return symbols.replace(new RegExp(`.{${groupSymbols}}(?=.)`, 'g'), '$&-');
}

/** As it was drawn, however it was typed. */
function normalised(code: string): string {
  return code.toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
}

export class Sessions {
  readonly #limits: SessionLimits;
  readonly #tellCode: (code: string) => void;
  readonly #isBusy: () => boolean;
  readonly #key = randomBytes(32);
  readonly #throttle: PasswordThrottle;
  #code: Buffer | undefined;
  #session: { readonly id: Buffer; readonly beganMs: number; usedMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param isBusy a session does not end while this answers true */
  constructor(
    tellCode: (code: string) => void,
    isBusy: () => boolean,
    limits: SessionLimits = sessionLimits,
    throttle = new PasswordThrottle(),
  ) {
    this.#tellCode = tellCode;
    this.#isBusy = isBusy;
    this.#limits = limits;
    this.#throttle = throttle;
  }

  /** Ends the session, if there is one, and draws a code. */
  renew(): void {
    clearTimeout(this.#timer);
    this.#session = undefined;
    const code = drawCode();
    this.#code = digestOf(normalised(code));
    this.#tellCode(code);
  }

  /** Neither a code nor a session is good any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#session = undefined;
    this.#code = undefined;
  }

  /**
   * The id of a new session in exchange for the code.
   * @throws PersistenceError `authority-refused`; `password-throttled` with `retryAfterMs`
   */
  async begin(code: string, address: string): Promise<string> {
    // The right one does not wait: 100 bits are not guessed, and whoever shares the address must not keep the operator out.
    const expected = this.#code;
    if (expected !== undefined && timingSafeEqual(digestOf(normalised(code)), expected)) {
      this.#code = undefined;
      return this.#open();
    }
    try {
      return await this.#throttle.attempt(address, () =>
        Promise.reject(new PersistenceError('password-wrong', 'the code is wrong')),
      );
    } catch (error) {
      if (!isPersistenceError(error) || error.reason === 'internal') throw error;
      const { retryAfterMs } = error;
      if (retryAfterMs === undefined)
        throw new PersistenceError('authority-refused', 'The code is wrong, or it was used before.');
      throw new PersistenceError(
        'password-throttled',
        `Too many wrong codes. Try again in ${waitText(retryAfterMs)}.`,
        {
          retryAfterMs,
        },
      );
    }
  }

  /** Whether somebody gave the code, and is here still. */
  get isOpen(): boolean {
    return this.#session !== undefined;
  }

  /** Whether this is the id of the session; it is used by that. */
  knows(id: string | undefined): boolean {
    const session = this.#session;
    if (session === undefined || id === undefined) return false;
    if (!timingSafeEqual(digestOf(id), session.id)) return false;
    session.usedMs = performance.now();
    return true;
  }

  /** An id that opens nothing, for the form that asks for the code: the given one, if it was drawn here as such. */
  visitorId(given?: string): string {
    if (given !== undefined && this.#isVisitor(given)) return given;
    const drawn = randomBytes(idBytes).toString('base64url');
    return `${drawn}.${this.#macOf('visitor', drawn)}`;
  }

  /** The token that a form must bring along with this id: a form of another session, or of another site, has another. */
  csrfOf(id: string): string {
    return this.#macOf('form', id);
  }

  isCsrf(id: string | undefined, token: string | undefined): boolean {
    if (id === undefined || token === undefined) return false;
    return timingSafeEqual(digestOf(token), digestOf(this.csrfOf(id)));
  }

  #isVisitor(id: string): boolean {
    const [drawn = '', mac, ...more] = id.split('.');
    return (
      mac !== undefined &&
      more.length === 0 &&
      timingSafeEqual(digestOf(mac), digestOf(this.#macOf('visitor', drawn)))
    );
  }

  #macOf(purpose: 'visitor' | 'form', id: string): string {
    return createHmac('sha256', this.#key).update(`${purpose} ${id}`).digest('base64url');
  }

  #open(): string {
    const id = randomBytes(idBytes).toString('base64url');
    const now = performance.now();
    this.#session = { id: digestOf(id), beganMs: now, usedMs: now };
    this.#watch();
    return id;
  }

  /** Looks again when the session could be over. */
  #watch(): void {
    const { idleMs, wholeMs } = this.#limits;
    const session = this.#session;
    if (session === undefined) return;
    const endMs = Math.min(session.usedMs + idleMs, session.beganMs + wholeMs);
    const leftMs = endMs - performance.now();
    if (leftMs <= 0 && !this.#isBusy()) {
      this.renew();
      return;
    }
    const again = (): void => {
      this.#watch();
    };
    this.#timer = setTimeout(again, Math.max(leftMs, Math.min(idleMs, 1000)));
    this.#timer.unref();
  }
}
