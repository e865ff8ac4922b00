// The public calls for one native binding: what index.ts exports, for the compiled core.
import { findLeftovers, type Leftover, type LeftoverOptions } from './operations/leftovers.js';
import {
  decommissionStore,
  performOperation,
  type AdministrativeOptions,
  type Decommissioned,
  type DecommissionOptions,
} from './operations/administrative.js';
import { inspectStore, type Inspection, type InspectOptions } from './operations/inspection.js';
import type { NativeBinding } from './native-binding.js';
import type { OpenOptions } from './store/open-options.js';
import { PersistenceService } from './store/persistence-service.js';
import type { Persistence } from './store/persistence.js';
import { decideGate, type Gate, type GateOptions } from './restore/gate.js';
import { restoreStore, type RestoreOptions } from './restore/restore.js';
import {
  findTokens,
  makeToken,
  type ListTokensOptions,
  type SetUpTokenOptions,
  type TokenInfo,
} from './restore/token-setup.js';
import { detectLoss, type DetectOptions, type Detection } from './restore/world.js';

/** The public calls; index.ts has what is to be said of each. */
export interface Api {
  open(options: OpenOptions): Promise<Persistence>;
  inspect(directory: string, options?: InspectOptions): Promise<Inspection>;
  reanchor(options: AdministrativeOptions): Promise<Persistence>;
  recover(options: AdministrativeOptions): Promise<Persistence>;
  reseal(options: AdministrativeOptions): Promise<Persistence>;
  decommission(options: DecommissionOptions): Promise<Decommissioned>;
  findLeftovers(options: LeftoverOptions): Promise<readonly Leftover[]>;
  restore(options: RestoreOptions): Promise<Persistence>;
  detectRestore(options: DetectOptions): Promise<Detection>;
  serveGate(options: GateOptions): Promise<Gate>;
  listTokens(options: ListTokensOptions): Promise<readonly TokenInfo[]>;
  setUpToken(options: SetUpTokenOptions): Promise<TokenInfo>;
  libraryVersion(): string;
}

export function createApi(binding: NativeBinding): Api {
  return Object.freeze({
    open: async (options) => new PersistenceService(binding, options).initialize(),
    inspect: (directory, options) => inspectStore(binding, directory, options),
    reanchor: (options) => performOperation(binding, 'reanchor', options),
    recover: (options) => performOperation(binding, 'recover', options),
    reseal: (options) => performOperation(binding, 'reseal', options),
    decommission: (options) => decommissionStore(binding, options),
    findLeftovers: (options) => findLeftovers(binding, options),
    restore: (options) => restoreStore(binding, options),
    detectRestore: (options) => detectLoss(binding, options),
    serveGate: (options) => decideGate(binding, options),
    listTokens: (options) => findTokens(binding, options),
    setUpToken: (options) => makeToken(binding, options),
    libraryVersion: () => binding.libraryVersion,
  } satisfies Api);
}
