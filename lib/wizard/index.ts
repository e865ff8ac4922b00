// What `import 'strongroom/wizard'` gives: the restore of a store through a browser.
import type { RequestListener } from 'node:http';

import { PersistenceError } from '../errors.js';
import { loadNative } from '../native.js';
import type { NativeBinding, NativeStoreOptions } from '../native-binding.js';
import { reading } from '../native/errors.js';
import { passwordThrottle, type PasswordThrottle } from '../restore/throttle.js';
import type { RestoreState } from '../restore/detect.js';
import { makeApp, type Bindings } from './app.js';
import { readWizardOptions, type WizardOptions, type WizardOutcome } from './options.js';
import { Progress } from './progress.js';
import { listen, listenerOf, serverLimits, type Listening, type ListenOptions } from './server.js';
import { sessionLimits, Sessions } from './session.js';

export type { Bindings } from './app.js';
export type { WizardEvent, WizardOptions, WizardOutcome } from './options.js';
export type { Listening, ListenOptions } from './server.js';
export type * from './view.js';

/** The restore page of one store. */
export interface Wizard {
  /** What the newest detection said. */
  readonly state: RestoreState;
  /** Answers a request, for servers that speak the Fetch API; 503 outside of `/setup-wizard/`. */
  readonly fetch: (request: Request, env?: Bindings) => Promise<Response>;
  /** The same for node:http and node:https. */
  readonly listener: RequestListener;
  /** Serves it over TLS with a temporary certificate, until the wizard ends. */
  listen(options: ListenOptions): Promise<Listening>;
  /** Resolves when nothing is served any more, and every server of listen() is closed; never rejects. */
  readonly finished: Promise<WizardOutcome>;
  /** Ends the session and tells a new one-time code. */
  renewCode(): void;
  /** Ends it; a restore that is under way is waited for. */
  close(): Promise<void>;
}

/**
 * The restore page of a store whose token lost its key, is lost, or does not answer. Nobody gets in without the one-time
 * code that `onEvent` is told.
 * @throws PersistenceError `nothing-to-do` where a start goes on as usual; `no-store`; `invalid-option`
 */
export function createWizard(options: WizardOptions): Promise<Wizard> {
  return makeWizard(loadNative(), options);
}

/** What tests give in place of the real parts. */
export interface WizardParts {
  readonly internals?: Partial<NativeStoreOptions>;
  readonly throttle?: PasswordThrottle;
  readonly limits?: Partial<typeof serverLimits>;
}

function checkRequest(request: unknown): void {
  const isRequest = reading(() => {
    const { url, method } = Object(request) as { url?: unknown; method?: unknown };
    return typeof url === 'string' && typeof method === 'string';
  });
  if (!isRequest) throw new PersistenceError('invalid-argument', 'fetch takes a Request');
}

/** {@link createWizard} with a binding of the caller's choice. */
export async function makeWizard(
  binding: NativeBinding,
  options: WizardOptions,
  { internals, throttle = passwordThrottle, limits = {} }: WizardParts = {},
): Promise<Wizard> {
  const read = readWizardOptions(options);
  const isWatched = (): boolean => sessions.isOpen;
  const progress = await Progress.begin(read, {
    binding,
    throttle,
    isWatched,
    ...(internals && { internals }),
  });
  const sessions = new Sessions(
    (code) => {
      read.onEvent({ event: 'code', code });
    },
    () => progress.isBusy,
    { ...sessionLimits, idleMs: read.sessionIdleMs },
  );
  const urls: string[] = [];
  const address = (): string | undefined =>
    urls[0] ?? (read.origin === undefined ? undefined : `${read.origin}/setup-wizard/`);
  const app = makeApp({ options: read, progress, sessions, address });
  const state = { ended: false };
  const fetch = async (request: Request, env: Bindings = {}): Promise<Response> => {
    checkRequest(request);
    return state.ended ? new Response('Gone.\n', { status: 404 }) : app.fetch(request, env);
  };
  const listener = listenerOf((request, env) => fetch(request, env as Bindings));
  const servers: (() => Promise<void>)[] = [];
  const finished = progress.finished.then(async (outcome) => {
    state.ended = true;
    sessions.close();
    await Promise.all(servers.map((close) => close()));
    return outcome;
  });
  const close = async (): Promise<void> => {
    await progress.close();
    await finished;
  };
  if (read.signal?.aborted === true) void close();
  read.signal?.addEventListener('abort', () => void close(), { once: true });
  sessions.renew();
  return Object.freeze({
    get state() {
      return progress.state;
    },
    fetch,
    listener,
    listen: async (where: ListenOptions) => {
      const { listening, close: closeServer } = await listen(binding, listener, read, where, {
        ...serverLimits,
        ...limits,
      });
      if (state.ended) await closeServer();
      servers.push(closeServer);
      urls.push(listening.url);
      read.onEvent({ event: 'listening', url: listening.url, fingerprint: listening.fingerprint });
      return listening;
    },
    finished,
    renewCode: () => {
      if (!state.ended) sessions.renew();
    },
    close,
  });
}
