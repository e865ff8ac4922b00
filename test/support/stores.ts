// Stores for tests: the testing build of the core, a clock that the test moves, and directories that go away afterwards.
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { AdministrativeOptions } from '../../lib/operations/administrative.js';
import type { Inspection, InspectOptions } from '../../lib/operations/inspection.js';
import { decommissionStore, performOperation } from '../../lib/operations/administrative.js';
import { inspectStore } from '../../lib/operations/inspection.js';
import type { NativeBinding, NativeStoreOptions } from '../../lib/native-binding.js';
import type { OpenOptions } from '../../lib/store/open-options.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';

/** Moved by the test; boot time never goes backwards. All arguments are milliseconds. */
export interface ManualClock {
  /** Time passes. */
  advance(ms: number): void;
  /** The machine sleeps. */
  suspend(ms: number): void;
  /** Someone sets the wall clock. */
  setWall(ms: number): void;
  advanceWall(ms: number): void;
  /** Another boot, after being off for so long. */
  reboot(offMs: number): void;
  wallMs(): number;
}

export interface TestingBinding extends NativeBinding {
  createManualClock(wallMs?: number, bootMs?: number): ManualClock;
}

const testingAddon =
  process.env['STRONGROOM_TESTING_ADDON'] ??
  fileURLToPath(new URL('../../build/testing/strongroom_testing.node', import.meta.url));

export const binding = createRequire(import.meta.url)(testingAddon) as TestingBinding;

/** A few milliseconds instead of seconds. */
export const quickKdf = { memoryKiB: 64, passes: 1, lanes: 1 };

const made = new Set<string>();
process.on('exit', () => {
  for (const directory of made) removeDirectory(directory);
});

/** A directory that is removed by removeDirectory(), at the latest when the process ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'strongroom-test-'));
  made.add(directory);
  return directory;
}

export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  made.delete(directory);
}

/** One machine: a place for a store, its SecretStore, and a clock. */
export class World {
  readonly root = temporaryDirectory();
  readonly directory = join(this.root, 'store');
  readonly secrets = join(this.root, 'secrets');
  readonly clock = binding.createManualClock();
  /** Every service made here. */
  readonly #services = new Set<PersistenceService | OpenStore>();
  #newest: OpenStore | undefined;
  #newestService: PersistenceService | undefined;

  options(changes: Partial<OpenOptions> = {}): OpenOptions {
    return {
      directory: this.directory,
      instance: 'test',
      recovery: 'none',
      secretStore: { type: 'file', directory: this.secrets },
      ...changes,
    };
  }

  /** A service that is not initialized. */
  service(
    changes: Partial<OpenOptions> = {},
    internals: Partial<NativeStoreOptions> = {},
  ): PersistenceService {
    const service = new PersistenceService(binding, this.options(changes), {
      clock: this.clock,
      ...internals,
    });
    this.#services.add(service);
    this.#newestService = service;
    return service;
  }

  async open(
    changes: Partial<OpenOptions> = {},
    internals: Partial<NativeStoreOptions> = {},
  ): Promise<OpenStore> {
    const service = this.service(changes, internals);
    this.#newest = await service.initialize();
    return this.#newest;
  }

  /** The service that was made last. */
  newestService(): PersistenceService {
    if (this.#newestService === undefined) throw new Error('no service was made');
    return this.#newestService;
  }

  /** The store that was opened last. */
  newest(): OpenStore {
    if (this.#newest === undefined) throw new Error('no store was opened');
    return this.#newest;
  }

  async perform(
    kind: 'reanchor' | 'recover' | 'reseal',
    credential: AdministrativeOptions['credential'],
    changes: Partial<OpenOptions> = {},
  ): Promise<OpenStore> {
    const options = { ...this.options(changes), credential } as AdministrativeOptions;
    this.#newest = await performOperation(binding, kind, options, { clock: this.clock });
    this.#services.add(this.#newest);
    return this.#newest;
  }

  async decommission(
    credential: AdministrativeOptions['credential'],
    changes: Partial<OpenOptions> = {},
  ): Promise<void> {
    const options = { ...this.options(changes), credential } as AdministrativeOptions;
    await decommissionStore(binding, options, { clock: this.clock });
  }

  inspect(options: InspectOptions = {}): Promise<Inspection> {
    return inspectStore(binding, this.directory, options, { clock: this.clock });
  }

  async closeServices(): Promise<void> {
    for (const service of this.#services) await service.close().catch(() => undefined);
    this.#services.clear();
  }

  async closeAll(): Promise<void> {
    await this.closeServices();
    removeDirectory(this.root);
  }
}
