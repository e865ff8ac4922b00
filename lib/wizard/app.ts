// The wizard's HTTP: paths, sessions and forms, on Hono with its own middleware for headers, origin and size.
//
// Invariants
// - Before the session a page says that a code is wanted, and its own address, and nothing else.
// - Whatever changes something is a POST with the session's cookie and its CSRF token; all others change nothing.
// - A path counts as it was sent: one that would have to be decoded or made normal first is refused.
import { isIP } from 'node:net';
import { hostname } from 'node:os';

import { Hono, type Context } from 'hono';
import { accepts } from 'hono/accepts';
import { bodyLimit } from 'hono/body-limit';
import { getCookie, setCookie } from 'hono/cookie';
import { csrf } from 'hono/csrf';
import { HTTPException } from 'hono/http-exception';
import { secureHeaders } from 'hono/secure-headers';

import { isPersistenceError } from '../errors.js';
import { toPersistenceError } from '../native/errors.js';
import { bodyBytesMax, MalformedBody, readForm, readJson, type Fields } from './body.js';
import type { ReadWizardOptions } from './options.js';
import { render, script, stylesheet } from './pages/index.js';
import { FormError, problemOf } from './problem.js';
import type { Progress, Shown } from './progress.js';
import type { Sessions } from './session.js';
import type { ErrorView, Problem, View } from './view.js';

/** What node:http gives besides the request. Absent where another server calls the handler. */
export interface Bindings {
  readonly incoming?: {
    readonly url?: string | undefined;
    readonly socket?: { readonly remoteAddress?: string | undefined };
  };
}
type Page = Context<{ Bindings: Bindings }>;

const base = '/setup-wizard';
const paths = {
  start: `${base}/`,
  code: `${base}/code/`,
  password: `${base}/auto_restore_password/`,
  hsm: `${base}/auto-restore-hsm-setup/`,
  progress: `${base}/progress/`,
  result: `${base}/result/`,
  stylesheet: `${base}/style.css`,
  script: `${base}/live.js`,
} as const;

const cookieName = 'strongroom-wizard';
const csrfHeader = 'X-CSRF-Token';
const retryAfterSeconds = 10;
const labelBytesMax = 32;
const secretNames = {
  code: new Set<string>(),
  password: new Set(['password']),
  hsm: new Set(['soPin', 'soPinAgain']),
};

const foreignForm = 'The form belongs to another session. Load the page again.';

/** With which status a refusal is answered. */
function statusOf({ reason }: Problem): 400 | 403 | 409 | 429 {
  if (reason === 'restore-busy') return 409;
  if (reason === 'password-throttled') return 429;
  return reason === 'authority-refused' ? 403 : 400;
}

export interface AppParts {
  readonly options: Pick<ReadWizardOptions, 'names' | 'origin' | 'onEvent'>;
  readonly progress: Progress;
  readonly sessions: Sessions;
  /** Where browsers reach the pages, as the log says it; undefined where only the caller's own server knows. */
  readonly address: () => string | undefined;
}

export function makeApp(parts: AppParts): Hono<{ Bindings: Bindings }> {
  return new Pages(parts).app;
}

class Pages {
  readonly app = new Hono<{ Bindings: Bindings }>();
  readonly #options: AppParts['options'];
  readonly #progress: Progress;
  readonly #sessions: Sessions;
  readonly #hosts: ReadonlySet<string>;
  readonly #address: AppParts['address'];

  constructor({ options, progress, sessions, address }: AppParts) {
    this.#options = options;
    this.#progress = progress;
    this.#sessions = sessions;
    this.#address = address;
    const origin = options.origin === undefined ? [] : [new URL(options.origin).hostname];
    this.#hosts = new Set(['localhost', hostname().toLowerCase(), ...options.names, ...origin]);
    this.#guard();
    this.#route();
  }

  #guard(): void {
    const { app } = this;
    app.onError((error, c) => {
      if (error instanceof HTTPException)
        return error.status === 403
          ? this.#forbidden(c, 'The form came from another site. Load the page here again.')
          : this.#error(c, error.status, 'Refused', error.message);
      const { reason } = toPersistenceError(error, 'internal');
      this.#options.onEvent({ event: 'failed', reason, message: 'a request could not be answered' });
      return this.#error(c, 500, 'Internal error', 'The request failed. The log of the server says why.');
    });
    app.use(
      secureHeaders({
        contentSecurityPolicy: {
          defaultSrc: ["'none'"],
          styleSrc: ["'self'"],
          scriptSrc: ["'self'"],
          connectSrc: ["'self'"],
          // The pages' icon stands in them.
          imgSrc: ['data:'],
          formAction: ["'self'"],
          frameAncestors: ["'none'"],
          baseUri: ["'none'"],
        },
        xFrameOptions: 'DENY',
        // With no-referrer a browser would send forms with `Origin: null`.
        referrerPolicy: 'same-origin',
        // The certificate is temporary, and other services have this host name too.
        strictTransportSecurity: false,
      }),
    );
    app.use(async (c, next) => {
      c.header('Cache-Control', 'no-store');
      c.header('Vary', 'Accept');
      if (!this.#isOurHost(c)) return this.#misdirected(c);
      const sent = c.env.incoming?.url?.split('?', 1)[0] ?? new URL(c.req.url).pathname;
      if (sent !== c.req.path)
        return this.#error(
          c,
          400,
          'Bad request',
          'The path is not in its plain form. Send it without escapes.',
        );
      if (!sent.startsWith(paths.start) && sent !== base) return this.#unavailable(c);
      if (c.req.method === 'POST' && c.req.header('Content-Length') === undefined)
        return this.#error(c, 411, 'Length required', 'The body has no length. Send `Content-Length`.');
      return next();
    });
    app.on(
      'POST',
      '*',
      bodyLimit({
        maxSize: bodyBytesMax,
        onError: (c: Page) =>
          this.#error(c, 413, 'Too large', `The body is too long. Send at most ${bodyBytesMax} bytes.`),
      }),
    );
    const { origin } = this.#options;
    app.use(csrf(origin === undefined ? undefined : { origin }));
  }

  #route(): void {
    const { app } = this;
    app.get(base, (c) => c.redirect(paths.start, 303));
    app.get(paths.start, (c) =>
      c.redirect(this.#isKnown(c) ? this.#pathOf(this.#progress.show()) : paths.code, 303),
    );
    app.get(paths.stylesheet, (c) => c.body(stylesheet, 200, { 'Content-Type': 'text/css; charset=UTF-8' }));
    app.get(paths.script, (c) => c.body(script, 200, { 'Content-Type': 'text/javascript; charset=UTF-8' }));

    app.get(paths.code, (c) => (this.#isKnown(c) ? c.redirect(paths.start, 303) : this.#codePage(c, 200)));
    app.post(paths.code, (c) => this.#begin(c));

    app.get(paths.password, (c) => this.#get(c, 'password'));
    app.post(paths.password, (c) =>
      this.#post(c, 'password', secretNames.password, ({ secrets }) => {
        this.#progress.restore(secrets.get('password') ?? Buffer.alloc(0));
      }),
    );

    const hsmTypes = ['softhsm', 'physical'] as const;
    for (const type of hsmTypes) {
      const path = `${paths.hsm}${type}/`;
      app.get(path, (c) => this.#get(c, 'hsm', type));
      app.post(path, (c) =>
        this.#post(
          c,
          'hsm',
          secretNames.hsm,
          (fields) => {
            this.#setUp(fields);
          },
          type,
        ),
      );
    }
    app.all(`${paths.hsm}:type{.*}`, (c) =>
      hsmTypes.some((type) => c.req.path === `${paths.hsm}${type}/`)
        ? this.#notAllowed(c)
        : this.#error(c, 404, 'Not found', 'This type of HSM is unknown. Use `softhsm` or `physical`.'),
    );
    app.get(paths.progress, (c) =>
      this.#get(c, 'progress', undefined, 'outage', 'pin', 'attention', 'refused'),
    );
    app.get(paths.result, (c) => this.#get(c, 'result'));

    for (const path of [paths.code, paths.password]) app.all(path, (c) => this.#notAllowed(c));
    for (const path of [base, paths.start, paths.stylesheet, paths.script, paths.progress, paths.result])
      app.all(path, (c) => this.#notAllowed(c, 'GET, HEAD'));
    app.notFound((c) => this.#unavailable(c));
  }

  #isOurHost(c: Page): boolean {
    const { hostname: name } = new URL(c.req.url);
    const bare = name.startsWith('[') ? name.slice(1, -1) : name;
    // An address cannot be made to mean another machine, as a name can.
    return isIP(bare) !== 0 || this.#hosts.has(bare);
  }

  #wantsJson(c: Page): boolean {
    const supports = ['text/html', 'application/json'];
    return accepts(c, { header: 'Accept', supports, default: 'text/html' }) === 'application/json';
  }

  #idOf(c: Page): string | undefined {
    return getCookie(c, cookieName, 'secure');
  }

  #isKnown(c: Page): boolean {
    return this.#sessions.knows(this.#idOf(c));
  }

  #setId(c: Page, id: string): void {
    setCookie(c, cookieName, id, {
      prefix: 'secure',
      path: base,
      secure: true,
      httpOnly: true,
      sameSite: 'Strict',
    });
  }

  #pathOf(shown: Shown): string {
    switch (shown.page) {
      case 'password':
        return paths.password;
      case 'hsm':
        return `${paths.hsm}${this.#progress.looksLikeSoftHsm ? 'softhsm' : 'physical'}/`;
      case 'result':
        return paths.result;
      default:
        return paths.progress;
    }
  }

  #get(
    c: Page,
    ...[page, type, ...others]: [Shown['page'], ('softhsm' | 'physical')?, ...Shown['page'][]]
  ): Response {
    if (!this.#isKnown(c)) return this.#askForCode(c);
    const shown = this.#progress.show();
    if (shown.page !== page && !others.includes(shown.page)) return c.redirect(this.#pathOf(shown), 303);
    if (shown.page === 'result') this.#progress.delivered();
    return this.#page(c, shown, 200, type);
  }

  /** A POST of a form: 403 without session and token, 303 to what is shown then, or its own page with what was wrong. */
  async #post(
    c: Page,
    page: 'password' | 'hsm',
    secrets: ReadonlySet<string>,
    act: (fields: Fields) => void,
    type?: 'softhsm' | 'physical',
  ): Promise<Response> {
    const fields = await this.#read(c, secrets);
    if (fields instanceof Response) return fields;
    try {
      const id = this.#idOf(c);
      if (!this.#sessions.knows(id))
        return this.#forbidden(c, 'The session is missing or has ended. Enter the one-time code first.');
      if (!this.#isToken(c, fields)) return this.#forbidden(c, foreignForm);
      const before = this.#progress.show();
      if (before.page !== page && before.page !== 'progress')
        return this.#wantsJson(c) ? this.#page(c, before, 409, type) : c.redirect(this.#pathOf(before), 303);
      act(fields);
    } catch (error) {
      if (!isPersistenceError(error)) throw error;
      const problem = problemOf(error);
      return this.#page(c, { ...this.#progress.show(), problem }, statusOf(problem), type);
    } finally {
      fields.wipe();
    }
    const shown = this.#progress.show();
    const path = this.#pathOf(shown);
    if (!this.#wantsJson(c)) return c.redirect(path, 303);
    c.header('Location', path);
    return this.#page(c, shown, 202, type);
  }

  #setUp({ text, secrets }: Fields): void {
    const slot = text.get('slotId') ?? '';
    const label = text.get('label') ?? '';
    const erase = text.get('erase') ?? '';
    const soPin = secrets.get('soPin');
    if (!/^\d{1,15}$/.test(slot)) throw new FormError('invalid-option', 'no slot is chosen', 'slots');
    if (label === '' || Buffer.byteLength(label) > labelBytesMax || /[\p{C}\p{Zl}\p{Zp}]/u.test(label))
      throw new FormError(
        'invalid-option',
        `a label has 1 to ${labelBytesMax} bytes and only printable characters`,
        'label',
      );
    this.#progress.setUp({
      slotId: Number(slot),
      label,
      soPin: soPin === undefined || soPin.length === 0 ? undefined : soPin,
      soPinAgain: secrets.get('soPinAgain'),
      erase: erase === '' ? undefined : erase,
    });
  }

  /** The code in exchange for a session. */
  async #begin(c: Page): Promise<Response> {
    const fields = await this.#read(c, secretNames.code);
    if (fields instanceof Response) return fields;
    if (!this.#isToken(c, fields)) return this.#forbidden(c, foreignForm);
    const address = c.env.incoming?.socket?.remoteAddress ?? 'unknown';
    try {
      const id = await this.#sessions.begin(fields.text.get('code') ?? '', address);
      this.#setId(c, id);
      this.#options.onEvent({ event: 'session', address });
    } catch (error) {
      if (!isPersistenceError(error)) throw error;
      const problem = problemOf(error);
      // Codes that were not compared would only fill the log.
      if (error.retryAfterMs === undefined) this.#options.onEvent({ event: 'code-refused', address });
      return this.#codePage(c, statusOf(problem), problem);
    }
    const path = this.#pathOf(this.#progress.show());
    if (!this.#wantsJson(c)) return c.redirect(path, 303);
    c.header('Location', path);
    return c.json({ page: 'code', accepted: true });
  }

  #isToken(c: Page, { text }: Fields): boolean {
    return this.#sessions.isCsrf(this.#idOf(c), text.get('csrf') ?? c.req.header(csrfHeader));
  }

  /** The fields of a body, which is wiped. */
  async #read(c: Page, secrets: ReadonlySet<string>): Promise<Fields | Response> {
    const type = (c.req.header('Content-Type') ?? '').split(';', 1)[0]?.trim().toLowerCase();
    const read = type === 'application/json' ? readJson : readForm;
    if (read === readForm && type !== 'application/x-www-form-urlencoded')
      return this.#error(c, 415, 'Unsupported', 'Send the body as a form or as JSON.');
    const body = await bytesOf(c.req.raw.body);
    try {
      return read(body, secrets);
    } catch (error) {
      if (!(error instanceof MalformedBody)) throw error;
      return this.#error(
        c,
        400,
        'Bad request',
        `The form cannot be read: ${error.message}. Load the page again.`,
      );
    } finally {
      body.fill(0);
    }
  }

  #askForCode(c: Page): Response {
    return this.#wantsJson(c) ? this.#codePage(c, 401) : c.redirect(paths.code, 303);
  }

  #codePage(c: Page, status: 200 | 400 | 401 | 403 | 409 | 429, problem?: Problem): Response {
    const given = this.#idOf(c);
    const id = this.#sessions.visitorId(given);
    if (id !== given) this.#setId(c, id);
    return this.#send(c, { page: 'code', csrf: this.#sessions.csrfOf(id), problem }, status);
  }

  #page(
    c: Page,
    shown: Shown,
    status: 200 | 202 | 400 | 403 | 409 | 429,
    type: 'softhsm' | 'physical' = this.#progress.looksLikeSoftHsm ? 'softhsm' : 'physical',
  ): Response {
    const token = this.#sessions.csrfOf(this.#idOf(c) ?? '');
    const view: View =
      shown.page === 'password'
        ? { ...shown, csrf: token }
        : shown.page === 'hsm'
          ? { ...shown, csrf: token, hsmType: type }
          : shown;
    return this.#send(c, view, status);
  }

  #send(c: Page, view: View, status: 200 | 202 | 400 | 401 | 403 | 409 | 429): Response {
    const problem = 'problem' in view ? view.problem : undefined;
    if (problem?.retryAfterMs !== undefined)
      c.header('Retry-After', String(Math.max(1, Math.ceil(problem.retryAfterMs / 1000))));
    if (!this.#wantsJson(c)) return c.html(render(view), status);
    if (!('csrf' in view)) return c.json(view, status);
    const { csrf: token, ...rest } = view;
    c.header(csrfHeader, token);
    return c.json(rest, status);
  }

  #forbidden(c: Page, message: string): Response {
    return this.#error(c, 403, 'Forbidden', message);
  }

  #notAllowed(c: Page, allow = 'GET, HEAD, POST'): Response {
    c.header('Allow', allow);
    return this.#error(c, 405, 'Method not allowed', `Use one of these methods: ${allow}.`);
  }

  #unavailable(c: Page): Response {
    c.header('Retry-After', String(retryAfterSeconds));
    return c.text('Unavailable: this service is being restored.\n', 503);
  }

  /** A link to this host would only lead back here. */
  #misdirected(c: Page): Response {
    const address = this.#address();
    const where = address === undefined ? 'the address that the log of the server shows' : `\`${address}\``;
    // An address at the end, without a full stop that would be copied with it.
    const message = `The restore page has another address. To use this name as well, start the page with \`--name\`. Otherwise open ${where}`;
    return this.#error(c, 421, 'Wrong address', message, address);
  }

  #error(c: Page, status: number, title: string, message: string, address?: string): Response {
    const view: ErrorView = {
      page: 'error',
      status,
      title,
      message,
      ...(address !== undefined && { address }),
    };
    const code = status as 400;
    return this.#wantsJson(c) ? c.json(view, code) : c.html(render(view), code);
  }
}

/** A body to its end; what the reader gave is wiped. */
async function bytesOf(body: ReadableStream<Uint8Array> | null): Promise<Buffer> {
  if (body === null) return Buffer.alloc(0);
  const reader = body.getReader();
  const whole = Buffer.allocUnsafeSlow(bodyBytesMax);
  let used = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return whole.subarray(0, used);
      // The length was checked, and a body that is longer than its length does not come through.
      whole.set(value.subarray(0, bodyBytesMax - used), used);
      used = Math.min(bodyBytesMax, used + value.length);
      value.fill(0);
    }
  } catch (error) {
    whole.fill(0);
    throw error;
  }
}
