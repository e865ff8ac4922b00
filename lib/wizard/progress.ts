// What the wizard knows and does: detections, one operation at a time, and how it ends. Nothing here speaks HTTP.
//
// Invariants
// - One operation at a time, from the call that begins it: a second one is `restore-busy` before anything is awaited.
// - restore() and setUpToken() are the only ones that change anything. A detection never runs beside them.
// - The PIN is not tried again by itself once it was wrong: tokens lock after a few wrong ones.
import { X509Certificate } from 'node:crypto';

import { waitText } from '../base/units.js';
import { PersistenceError } from '../errors.js';
import type { NativeBinding, NativePkcs11Protector, NativeStoreOptions } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import { readProtector, typesWhere } from '../protectors/registry.js';
import type { PasswordSource } from '../options/secrets.js';
import type { Pkcs11ProtectorOptions } from '../protectors/pkcs11.js';
import type { OpenStore } from '../store/open-store.js';
import type { RestoreState } from '../restore/detect.js';
import { restoreStore, type RestoreOptions } from '../restore/restore.js';
import { restoreSteps, type RestoreEvent, type RestoreStep } from '../restore/steps.js';
import type { PasswordThrottle } from '../restore/throttle.js';
import { findTokens, makeToken, type TokenInfo } from '../restore/token-setup.js';
import { detectLoss, type Detection } from '../restore/world.js';
import { Ending } from './ending.js';
import type { ReadWizardOptions, WizardOutcome } from './options.js';
import { FormError, problemOf } from './problem.js';
import { checkSoPin, checkUserPin, newTokenOf, slotOf } from './slots.js';
import type { GivenToken, NamedToken } from '../protectors/protector.js';
import type {
  HsmView,
  PasswordView,
  Problem,
  ProgressView,
  ResultView,
  StepView,
  StoreFacts,
  WaitingView,
} from './view.js';

/** The states in which there is something to serve. */
const waitingPages: Partial<Readonly<Record<RestoreState, WaitingView['page']>>> = {
  OUTAGE: 'outage',
  PIN: 'pin',
  ATTENTION: 'attention',
  REFUSED: 'refused',
  // It was there at the start.
  NO_STORE: 'attention',
};

/** Where a person is at work, it is looked less often whether the token came back: each look logs in. */
const restoreFactor = 5;

/** A view without what belongs to the session. */
export type Shown =
  Omit<PasswordView, 'csrf'> | Omit<HsmView, 'csrf' | 'hsmType'> | ProgressView | WaitingView | ResultView;

/** What is given for a new token. */
export interface TokenPlan {
  readonly slotId: number;
  readonly label: string;
  readonly soPin: Buffer | undefined;
  /** Typed a second time. Absent: not compared. */
  readonly soPinAgain: Buffer | undefined;
  readonly erase: string | undefined;
}

/** What stands in the way of the operation, or of a look at the store. */
interface Trouble {
  readonly problem: Problem | undefined;
  /** Then it is over with the next look that goes well. */
  readonly isOfLook: boolean;
  /** A restore was refused the PIN that a detection was not: looking again would try it once more. */
  readonly pinRefused: boolean;
}
const noTrouble: Trouble = { problem: undefined, isOfLook: false, pinRefused: false };

/** What tests give in place of the real parts. */
export interface ProgressParts {
  readonly binding: NativeBinding;
  readonly throttle: PasswordThrottle;
  readonly internals?: Partial<NativeStoreOptions>;
  /** Whether somebody has a session, and may wait for the result. */
  readonly isWatched?: () => boolean;
}

/** In memory that is shared with nothing else. */
function ownCopy(secret: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(secret.length);
  copy.set(secret);
  return copy;
}

const busy = (): PersistenceError =>
  new PersistenceError('restore-busy', 'the store is being restored by this process already');

export class Progress {
  readonly #options: ReadWizardOptions;
  readonly #parts: ProgressParts;
  #protector: Pkcs11ProtectorOptions | { readonly type: 'software' };
  #detection: Detection;
  #detecting: Promise<void> = Promise.resolve();
  #slots: readonly TokenInfo[] = [];
  #operation: 'restore' | 'token' | undefined;
  #steps = new Map<RestoreStep, StepView['state']>();
  #trouble: Trouble = noTrouble;
  #given: HsmView['given'];
  #result: ResultView | undefined;
  /** Of the next look. */
  #timer: NodeJS.Timeout | undefined;
  #closing = false;
  readonly #ending: Ending;

  private constructor(options: ReadWizardOptions, parts: ProgressParts, detection: Detection) {
    this.#options = options;
    this.#parts = parts;
    this.#protector = options.protector;
    this.#detection = detection;
    this.#given = { slotId: undefined, label: this.#token()?.label ?? detection.token?.label ?? '' };
    this.#ending = new Ending((event) => {
      options.onEvent(event);
    });
    this.#noteDetection(detection);
    this.#schedule();
  }

  /**
   * Looks at the store.
   * @throws PersistenceError `nothing-to-do` where a start goes on as usual; `no-store`
   */
  static async begin(options: ReadWizardOptions, parts: ProgressParts): Promise<Progress> {
    const { directory, protector, secretStore } = options;
    const detection = await detectLoss(
      parts.binding,
      { directory, protector, ...(secretStore !== undefined && { secretStore }) },
      parts.internals,
    );
    if (detection.state === 'NO_STORE')
      throw new PersistenceError('no-store', `there is no store in ${directory}`);
    if (detection.state === 'WIZARD_COMPLETED')
      throw new PersistenceError('nothing-to-do', 'a start of this store goes on as usual');
    return new Progress(options, parts, detection);
  }

  get state(): RestoreState {
    return this.#detection.state;
  }

  /** Resolves when nothing is to be served any more; never rejects. */
  get finished(): Promise<WizardOutcome> {
    return this.#ending.finished;
  }

  get isBusy(): boolean {
    return this.#operation !== undefined;
  }

  /** What is to be shown now. */
  show(): Shown {
    if (this.#result !== undefined) return this.#result;
    const base = this.#base();

    if (this.#operation !== undefined) return { page: 'progress', ...base, problem: undefined };
    const { state, cause } = this.#detection;
    if (state === 'WIZARD_SETUP_HSM_AUTORESTORE') {
      return {
        page: 'hsm',
        ...base,
        slots: this.#slots.map(slotOf),
        asksSoPin: this.#options.soPin === undefined,
        hasUserPin: this.#hasUserPin(),
        given: this.#given,
      };
    }
    const page = waitingPages[state];
    if (page !== undefined) {
      const why = cause ?? this.#unnamedCause();
      return { page, ...base, problem: why === undefined ? undefined : problemOf(why) };
    }
    const { wrong, waitMs } = this.#parts.throttle.peek(this.#options.directory);
    return {
      page: 'password',
      ...base,
      resumes: this.#resumes(),
      wrongAttempts: wrong,
      waitMs,
    };
  }

  /** Whether the tokens look like those of SoftHSM2. */
  get looksLikeSoftHsm(): boolean {
    return this.#slots.some(({ manufacturer }) => /softhsm/i.test(manufacturer));
  }

  /**
   * Begins a restore, which runs by itself. The password is copied at once. It may be empty where a restore continues.
   * @throws PersistenceError `restore-busy`, `password-throttled`, `password-missing`; nothing has begun then
   */
  restore(password: Uint8Array): void {
    if (this.#operation !== undefined || this.#closing) throw busy();
    const { waitMs } = this.#parts.throttle.peek(this.#options.directory);
    if (waitMs > 0) {
      throw new PersistenceError('password-throttled', `wrong passwords: try again in ${waitText(waitMs)}`, {
        retryAfterMs: waitMs,
      });
    }
    if (password.length === 0 && !this.#resumes())
      throw new PersistenceError('password-missing', 'no password was given');
    const copy = password.length === 0 ? undefined : ownCopy(password);
    this.#begin('restore', async () => {
      try {
        await this.#restore(copy);
      } finally {
        copy?.fill(0);
      }
    });
  }

  /**
   * Sets up a token, which runs by itself.
   * @throws PersistenceError `restore-busy`, `pin-missing`, `invalid-option`; nothing has begun then
   */
  setUp(plan: TokenPlan): void {
    if (this.#operation !== undefined || this.#closing) throw busy();
    const { slotId, label, erase } = plan;
    this.#given = { slotId, label };
    checkSoPin(
      this.#slots.find((slot) => slot.slotId === slotId),
      plan,
    );
    const copy = plan.soPin && ownCopy(plan.soPin);
    const soPin = copy ?? this.#options.soPin;
    if (soPin === undefined)
      throw new FormError('pin-missing', 'the PIN of the security officer was not given', 'so-pin');
    this.#begin('token', async () => {
      try {
        await this.#setUp({ slotId, label, erase, soPin });
      } finally {
        copy?.fill(0);
      }
    });
  }

  /** The result was fetched: the pages stay a little longer. */
  delivered(): void {
    if (this.#result !== undefined) this.#ending.delivered(this.#options.resultGraceMs);
  }

  /** Ends without a result. What is under way is waited for. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    while (this.#operation !== undefined) await this.#running;
    await this.#detecting;
    this.#ending.now('closed');
  }

  #running: Promise<void> = Promise.resolve();

  #begin(operation: 'restore' | 'token', work: () => Promise<void>): void {
    clearTimeout(this.#timer);
    this.#operation = operation;
    this.#trouble = noTrouble;
    this.#steps.clear();
    if (operation === 'token') this.#steps.set('token', 'under-way');
    this.#running = this.#detecting
      .then(work)
      .catch((error: unknown) => {
        this.#fail(toPersistenceError(error, 'internal'));
      })
      .then(() => (this.#result === undefined && !this.#trouble.pinRefused ? this.#look() : undefined))
      .finally(() => {
        this.#operation = undefined;
        this.#schedule();
      });
  }

  #fail(error: PersistenceError): void {
    for (const [step, state] of this.#steps) if (state === 'under-way') this.#steps.set(step, 'failed');
    const pinRefused = error.reason === 'pin-wrong' && this.#operation === 'restore';
    this.#trouble = { problem: problemOf(error), isOfLook: false, pinRefused };
    this.#options.onEvent({ event: 'failed', reason: error.reason, message: error.message });
  }

  /** The commit is made and the token opens the store: the rest needs no password. */
  #resumes(): boolean {
    return this.#detection.restore?.completed === false;
  }

  #hasUserPin(): boolean {
    return this.#token()?.hasPin(this.#parts.binding) ?? false;
  }

  /** The token of the options, without its secrets. */
  #token(): GivenToken | undefined {
    const given = readProtector(this.#protector);
    given?.forget();
    return given?.token;
  }

  /** How the options name the token. */
  #named(): NamedToken | undefined {
    return this.#token()?.named(this.#parts.binding);
  }

  /** What a detection of these states says by the state alone. */
  #unnamedCause(): PersistenceError | undefined {
    const { state, found } = this.#detection;
    if (state === 'NO_STORE')
      return new PersistenceError('no-store', `the directory ${this.#options.directory} holds no store now`);
    if (found.files === 'decommissioning')
      return new PersistenceError('partial-restore', 'a decommission of this store was interrupted');
    return undefined;
  }

  async #restore(password: Buffer | undefined): Promise<void> {
    const { directory, secretStore, tlsDirectory, hook, hookTimeLimitMs, permit, onEvent } = this.#options;
    const options: RestoreOptions = {
      directory,
      protector: this.#protector,
      credential: { ...(password !== undefined && { password }), ...(permit !== undefined && { permit }) },
      ...(secretStore !== undefined && { secretStore }),
      ...(tlsDirectory !== undefined && { tls: { directory: tlsDirectory } }),
      ...(hook !== undefined && { hook, hookTimeLimitMs }),
      onStep: (event: RestoreEvent) => {
        this.#steps.set(event.step, event.state === 'begun' ? 'under-way' : event.state);
        onEvent({ event: 'step', ...event });
      },
    };
    const { binding, throttle, internals } = this.#parts;
    const store = await restoreStore(binding, options, { throttle, ...(internals && { internals }) });
    let result: ResultView;
    try {
      result = await this.#resultOf(store);
    } finally {
      // The store is restored, whatever its closing says; the service that starts next opens it.
      await store.close().catch((error: unknown) => {
        const { reason, message } = toPersistenceError(error, 'internal');
        onEvent({ event: 'failed', reason, message });
      });
    }
    this.#finish(result, 'restored');
  }

  async #resultOf(store: OpenStore): Promise<ResultView> {
    const status = store.status();
    const credential = await store.tls.certificate();
    const lost = store.keys
      .list()
      .filter(({ state, location }) => state === 'deactivated' && location === 'hsm');
    return Object.freeze({
      page: 'result',
      healed: false,
      ...this.#base(),
      facts: {
        ...this.#facts(),
        token: status.token && { label: status.token.label, serial: status.token.serial },
        newToken: undefined,
        lastGoodMs: status.newestMs,
      },
      problem: undefined,
      completedMs: status.restore?.completedMs ?? Date.now(),
      deactivatedKeys: lost.map(({ id, reason }) => ({ id, why: reason ?? '' })),
      tlsFingerprint:
        credential &&
        new X509Certificate(credential.certificate).fingerprint256.replaceAll(':', '').toLowerCase(),
      unproven: status.continuity === 'unproven',
    });
  }

  async #setUp(
    plan: Pick<TokenPlan, 'slotId' | 'label' | 'erase'> & { soPin: PasswordSource },
  ): Promise<void> {
    const { slotId, label, soPin, erase } = plan;
    // The look before it may have found that the token is back.
    if (this.#result !== undefined)
      throw new PersistenceError('nothing-to-do', 'the token opens the store again');
    const made = await this.#withModule(
      async ({ module = '', initArguments, timeLimitMs, pin, label: named }) => {
        if (pin === undefined)
          throw new FormError('pin-missing', 'the configuration of the server has no user PIN', 'user-pin');
        if (named !== undefined && named !== label)
          throw new FormError('invalid-option', `the configuration names the token '${named}'`, 'label');
        checkUserPin(
          this.#slots.find((each) => each.slotId === slotId),
          pin,
        );
        return makeToken(this.#parts.binding, {
          module,
          ...(initArguments !== undefined && { initArguments }),
          ...(timeLimitMs !== undefined && { timeLimitMs }),
          slotId,
          label,
          soPin,
          pin,
          ...(erase !== undefined && { erase }),
        });
      },
    );
    this.#steps.set('token', 'done');
    this.#protector = (this.#token()?.movedTo(made) ?? this.#protector) as ReadWizardOptions['protector'];
    this.#options.onEvent({ event: 'token', slotId: made.slotId, label: made.label, serial: made.serial });
  }

  /** Looks again; an operation comes after it, and it never comes beside one. */
  async #look(): Promise<void> {
    const { directory, secretStore } = this.#options;
    const { binding, internals } = this.#parts;
    const before = this.#detection;
    try {
      this.#detection = await detectLoss(
        binding,
        { directory, protector: this.#protector, ...(secretStore !== undefined && { secretStore }) },
        internals,
      );
    } catch (error) {
      // The options were good at the start: what is wrong now, such as a PIN that its source does not give, may pass.
      const problem = problemOf(toPersistenceError(error, 'internal'));
      this.#trouble = { ...this.#trouble, problem, isOfLook: true };
      return;
    }
    if (this.#trouble.isOfLook) this.#trouble = { ...this.#trouble, problem: undefined, isOfLook: false };
    const { state, cause } = this.#detection;
    // A store that opens has no page but the result: nobody must be asked for a password meanwhile.
    if (state !== 'WIZARD_COMPLETED') await this.#listSlots();
    if (state !== before.state || cause?.reason !== before.cause?.reason)
      this.#noteDetection(this.#detection);
    if (state !== 'WIZARD_COMPLETED') return;
    this.#finish(
      Object.freeze({
        page: 'result',
        healed: true,
        ...this.#base(),
        problem: undefined,
        completedMs: Date.now(),
        deactivatedKeys: [],
        tlsFingerprint: undefined,
        unproven: false,
      }),
      'healed',
    );
  }

  async #listSlots(): Promise<void> {
    this.#slots =
      this.#detection.tokens ??
      (await this.#withModule(({ module = '', initArguments, timeLimitMs }) =>
        findTokens(this.#parts.binding, {
          module,
          ...(initArguments !== undefined && { initArguments }),
          ...(timeLimitMs !== undefined && { timeLimitMs }),
        }),
      ).catch(() => []));
  }

  /** The module and the rest, whether they were given by themselves or in a URI. */
  async #withModule<T>(work: (protector: NativePkcs11Protector) => Promise<T>): Promise<T> {
    const given = readProtector(this.#protector);
    try {
      if (given?.token === undefined) {
        const types = typesWhere(({ isInToken }) => isInToken);
        throw new PersistenceError('invalid-option', `the store is in a token; protector must be ${types}`);
      }
      return await work(await given.token.locate({ binding: this.#parts.binding, signal: undefined }));
    } finally {
      given?.forget();
    }
  }

  #noteDetection({ state, cause, tokens }: Detection): void {
    this.#slots = tokens ?? this.#slots;
    this.#options.onEvent({ event: 'state', state, message: cause?.message });
  }

  /** The next look, where one may find something else. */
  #schedule(): void {
    if (this.#ending.isOver || this.#result !== undefined) return;
    clearTimeout(this.#timer);
    const { state } = this.#detection;
    if (state === 'PIN' || state === 'REFUSED' || this.#trouble.pinRefused) return;
    this.#timer = setTimeout(
      () => {
        if (this.#operation !== undefined) return;
        this.#detecting = this.#look().finally(() => {
          if (this.#operation === undefined) this.#schedule();
        });
      },
      this.#options.detectEveryMs * (waitingPages[state] === undefined ? restoreFactor : 1),
    );
    this.#timer.unref();
  }

  /** Nothing of the store is open any more. */
  #finish(result: ResultView, outcome: 'restored' | 'healed'): void {
    this.#result = result;
    clearTimeout(this.#timer);
    // Nobody waits for it: the service need not, either.
    this.#ending.after(this.#parts.isWatched?.() === false ? 0 : this.#options.resultLimitMs, outcome);
  }

  #base(): Pick<ProgressView, 'facts' | 'steps' | 'found' | 'problem'> {
    return {
      facts: this.#facts(),
      steps: this.#stepViews(),
      found: this.#detection.cause?.reason,
      problem: this.#trouble.problem,
    };
  }

  #facts(): StoreFacts {
    const { instance, storageId, token, lastWrittenMs } = this.#detection;
    return {
      instance,
      storageId,
      token: token && { label: token.label, serial: token.serial },
      newToken: newTokenOf(this.#detection, this.#named()),
      lastGoodMs: lastWrittenMs,
    };
  }

  #stepViews(): readonly StepView[] {
    // A detection has come before whatever is shown.
    return restoreSteps.map((step) => ({
      step,
      state: this.#steps.get(step) ?? (step === 'detect' ? 'done' : 'to-come'),
    }));
  }
}
