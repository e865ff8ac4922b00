// Auto-restore: the sequence under one lock, from a lost KEK or token to a store that serves again.
//
// Invariants
// - Nothing is changed before the password is proven and every witness that is left has agreed.
// - No one gets the store before the restore is completed. Whatever fails after the commit leaves a restore that continues,
//   without the password while the token opens the store.
// - A second restore of the same store is refused at once: in this process by its directory, across processes by the
//   store's lock.
import { requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { NativeBinding, NativeStoreOptions } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import { readClosed, readFunction, readPath, refuseOldNames } from '../options/readers.js';
import { readProtector, typesWhere } from '../protectors/registry.js';
import type { OpenOptions } from '../store/open-options.js';
import type { AdministrativeOptions } from '../operations/administrative.js';
import type { Opened, OpenStore } from '../store/open-store.js';
import { PersistenceService } from '../store/persistence-service.js';
import { readPassword, type Secret } from '../options/secrets.js';
import { parsePermit } from '../options/permit.js';
import { hookTimeLimitMs, runHook } from './hook.js';
import { StepReport, type RestoreEvent } from './steps.js';
import { passwordThrottle, type PasswordThrottle } from './throttle.js';
import { checkPlace, makeToken, type SetUpTokenOptions } from './token-setup.js';

/** A new token in place of one that is lost. Module and user PIN are those of the protector. */
export type TokenSetup = Pick<SetUpTokenOptions, 'slotId' | 'label' | 'soPin' | 'erase'>;

export interface RestoreOptions extends AdministrativeOptions {
  /** Used only where no token is there. */
  readonly setUp?: TokenSetup;
  /** Where the web server reads key, certificate and chain; written if the vault holds a TLS credential. */
  readonly tls?: { readonly directory: string };
  /** Absolute path of one executable that runs without arguments after the files are in place. */
  readonly hook?: string;
  /** Default 60,000 ms. */
  readonly hookTimeLimitMs?: number;
  /** Called as each step begins and ends. What it throws is ignored. */
  readonly onStep?: (event: RestoreEvent) => void;
}

const ownNames = ['setUp', 'tls', 'hook', 'hookTimeLimitMs', 'onStep', 'credential'] as const;

/** The directories whose stores are being restored in this process. */
const underWay = new Set<string>();

/** What tests give in place of the real parts. */
export interface RestoreParts {
  readonly internals?: Partial<NativeStoreOptions>;
  readonly throttle?: PasswordThrottle;
}

/** As {@link Api.restore}. */
export async function restoreStore(
  binding: NativeBinding,
  options: RestoreOptions,
  { internals = {}, throttle = passwordThrottle }: RestoreParts = {},
): Promise<OpenStore> {
  const { plan, openOptions, directory } = readRestoreOptions(options);
  if (underWay.has(directory)) {
    plan.password?.forget();
    throw busy(directory);
  }
  underWay.add(directory);
  const report = new StepReport((event) => {
    try {
      plan.onStep?.(event);
    } catch {
      // Who only looks on must not stop it.
    }
  });
  let store: OpenStore | undefined;
  try {
    report.begin('detect');
    const service = new PersistenceService(binding, openOptions, internals);
    store = await service.initialize(async () => ({
      kind: 'restore',
      password: await plan.password?.take(),
      permit: plan.permit,
      report,
      makeToken: () => makePlannedToken(binding, plan.setUp, openOptions.protector),
      attempt: (work) => throttle.attempt(directory, work),
    }));
    await finish(service.opened, plan, report);
    return store;
  } catch (error) {
    await store?.close().catch(() => undefined);
    const given = toPersistenceError(error);
    const refusal = plan.password?.explain(given) ?? given;
    throw refusal.reason === 'locked' ? busy(directory, refusal) : refusal;
  } finally {
    plan.password?.forget();
    underWay.delete(directory);
  }
}

function readRestoreOptions(options: unknown): {
  plan: Plan;
  openOptions: OpenOptions;
  directory: string;
} {
  try {
    requireRecord(options);
    // Each property is read once.
    const rest: Record<string, unknown> = { ...options };
    refuseOldNames(rest, ownNames);
    const own = Object.fromEntries(ownNames.map((name) => [name, rest[name]])) as PlanOptions;
    for (const name of ownNames) Reflect.deleteProperty(rest, name);
    const directory = readPath(rest['directory'], 'directory');
    return { plan: readPlan(own), openOptions: rest as unknown as OpenOptions, directory };
  } catch (error) {
    throw toPersistenceError(error);
  }
}

type PlanOptions = Record<(typeof ownNames)[number], unknown>;

interface Plan {
  readonly password: Secret | undefined;
  readonly permit: Uint8Array | undefined;
  readonly setUp: TokenSetup | undefined;
  readonly tlsDirectory: string | undefined;
  readonly hook: string | undefined;
  readonly hookTimeLimitMs: number;
  readonly onStep: ((event: RestoreEvent) => void) | undefined;
}

function readPlan(given: PlanOptions): Plan {
  const { credential, tls, hook, setUp } = given;
  const { password, permit } = readClosed(credential, 'credential', ['password', 'permit']);
  const tlsDirectory = tls === undefined ? undefined : readClosed(tls, 'tls', ['directory']).directory;
  if (hook !== undefined && typeof hook !== 'string') {
    throw new PersistenceError('invalid-option', 'hook must be the path of an executable');
  }
  const limit = given.hookTimeLimitMs === undefined ? hookTimeLimitMs : given.hookTimeLimitMs;
  if (typeof limit !== 'number' || !(limit > 0)) {
    throw new PersistenceError('invalid-option', 'hookTimeLimitMs must be a number above 0');
  }
  const plan = {
    permit: permit === undefined ? undefined : parsePermit(permit, 'credential.permit'),
    setUp: setUp === undefined ? undefined : readSetUp(setUp),
    tlsDirectory: tlsDirectory === undefined ? undefined : readPath(tlsDirectory, 'tls.directory'),
    hook,
    hookTimeLimitMs: limit,
    onStep: readFunction<(event: RestoreEvent) => void>(given.onStep, 'onStep'),
  };
  // Last, so that a refused option leaves no copy of a secret behind.
  return { ...plan, password: readPassword(password, 'credential.password') };
}

/** Checked here, so that a wrong one is refused before anything is changed. */
function readSetUp(value: unknown): TokenSetup {
  const setUp = readClosed(value, 'setUp', ['slotId', 'label', 'soPin', 'erase']);
  checkPlace(setUp, 'setUp.');
  readPassword(setUp.soPin, 'setUp.soPin')?.forget();
  return setUp as unknown as TokenSetup;
}

function busy(directory: string, cause?: PersistenceError): PersistenceError {
  const why =
    cause === undefined ? 'is being restored by this process already' : `is in use: ${cause.message}`;
  return new PersistenceError('restore-busy', `the store in ${directory} ${why}`, cause && { cause });
}

/** Makes the token that the protector options name; the core then finds it there. */
async function makePlannedToken(
  binding: NativeBinding,
  setUp: TokenSetup | undefined,
  protector: unknown,
): Promise<void> {
  // Without a plan the core looks once more, and says what it misses.
  if (setUp === undefined) return;
  const given = readProtector(protector);
  try {
    if (given?.token === undefined) {
      const types = typesWhere(({ isInToken }) => isInToken);
      throw new PersistenceError('invalid-option', `setUp belongs to protector ${types}`);
    }
    const located = await given.token.locate({ binding, signal: undefined });
    if (located.label !== undefined && located.label !== setUp.label)
      throw new PersistenceError('invalid-option', 'setUp.label is another than that of protector.token');
    const { module = '', initArguments, timeLimitMs, pin } = located;
    if (pin === undefined) throw new PersistenceError('pin-missing', 'a new token needs a user PIN');
    await makeToken(binding, {
      module,
      ...(initArguments !== undefined && { initArguments }),
      ...(timeLimitMs !== undefined && { timeLimitMs }),
      ...setUp,
      pin,
    });
  } finally {
    given?.forget();
  }
}

/** The steps on the open store, each of which may be repeated. */
async function finish({ store, tasks }: Opened, plan: Plan, report: StepReport): Promise<void> {
  const { tlsDirectory, hook } = plan;
  if (tlsDirectory === undefined || (await store.tls.certificate()) === undefined) {
    report.skip('tls');
  } else {
    report.begin('tls');
    await store.tls.extract({ directory: tlsDirectory });
    await tasks.run((native) => native.operations.noteRestore('tls'));
  }
  if (hook === undefined) {
    report.skip('hook');
  } else {
    report.begin('hook');
    await runHook(hook, plan.hookTimeLimitMs);
    await tasks.run((native) => native.operations.noteRestore('hook'));
  }
  report.begin('completed');
  await tasks.run((native) => native.operations.completeRestore());
  report.end();
}
