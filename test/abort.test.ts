// Cancellation by an AbortSignal, in every part of a start that may last: nothing is held afterwards. What hangs here never
// answers, so that a start which waits for it does not end within the time of the test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { findLeftovers, removeLeftovers } from '../lib/operations/leftovers.js';
import type { NativeBinding, NativeStore } from '../lib/native-binding.js';
import type { OpenOptions } from '../lib/store/open-options.js';
import { restoreStore } from '../lib/restore/restore.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { HsmWorld } from './support/softhsm.js';
import { binding, quickKdf, World } from './support/stores.js';

/** Takes the place of what World gives. */
const noSecretStore = { secretStore: undefined } as unknown as Partial<OpenOptions>;
const value = Buffer.alloc(1_048_576, 'v');

/** A socket that takes connections and says nothing. */
class SilentServer {
  readonly #server: Server = createServer();
  readonly called = once(this.#server, 'connection');

  constructor(readonly path: string) {
    this.#server.listen(path);
    this.#server.on('connection', (socket) => {
      socket.on('error', () => undefined).resume();
      this.#server.once('close', () => socket.destroy());
    });
  }
  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.emit('close');
    await closed;
  }
}

/** Where a TPM's simulator would be: the library asks a second socket first, and would be refused if there were none. */
class SilentTpm {
  readonly #servers: readonly SilentServer[];
  readonly tcti: string;
  readonly called: Promise<unknown>;

  constructor(path: string) {
    this.#servers = [new SilentServer(path), new SilentServer(`${path}.ctrl`)];
    this.tcti = `swtpm:path=${path}`;
    this.called = Promise.race(this.#servers.map((server) => server.called));
  }
  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()));
  }
}

describe('cancellation', () => {
  let world: World;
  let controller: AbortController;
  const reason = new Error('enough');
  beforeEach(() => {
    world = new World();
    controller = new AbortController();
  });
  afterEach(() => world.closeAll());

  const cancelled = async (options: Partial<OpenOptions>): Promise<void> => {
    const service = world.service({ ...options, signal: controller.signal });
    assert.equal((await rejectsReason(service.initialize(), 'aborted')).cause, reason);
  };
  const abort = (): void => {
    controller.abort(reason);
  };

  it('while a callback is awaited for the password: nothing was made', async () => {
    const password = (): Promise<Uint8Array> => {
      setImmediate(abort);
      return new Promise(() => undefined);
    };
    await cancelled({ recovery: { password } });
    assert.deepEqual(readdirSync(world.root), []);
  });

  it('while a callback is awaited for the PIN: nothing was made', async () => {
    const pin = (): Promise<Uint8Array> => {
      setImmediate(abort);
      return new Promise(() => undefined);
    };
    await cancelled({ ...noSecretStore, protector: { type: 'tpm', pin } });
    assert.deepEqual(readdirSync(world.root), []);
  });

  it('while a TPM does not answer', async () => {
    const tpm = new SilentTpm(join(world.root, 's'));
    try {
      void tpm.called.then(abort);
      const protector = { type: 'tpm', tcti: tpm.tcti } as const;
      await cancelled({ ...noSecretStore, protector, recovery: 'none' });
    } finally {
      await tpm.close();
    }
    // No lock is left.
    await (await world.open()).close();
  });

  it('while a keyring does not answer', async () => {
    const server = new SilentServer(join(world.root, 's'));
    const former = process.env['DBUS_SESSION_BUS_ADDRESS'];
    process.env['DBUS_SESSION_BUS_ADDRESS'] = `unix:path=${server.path}`;
    try {
      void server.called.then(abort);
      await cancelled({ secretStore: { type: 'secret-service' } });
    } finally {
      if (former === undefined) delete process.env['DBUS_SESSION_BUS_ADDRESS'];
      else process.env['DBUS_SESSION_BUS_ADDRESS'] = former;
      await server.close();
    }
    await (await world.open()).close();
  });

  it('while the vault is read', async () => {
    const store = await world.open();
    for (let i = 0; i < 24; ++i) await store.vault.set(`k${i}`, value);
    await store.close();
    await cancelled({ onProgress: abort });
    const again = await world.open();
    assert.equal(again.vault.size, 24);
  });

  it('in the last step: the store is not open, and the next start finds it whole', async () => {
    const store = await world.open();
    await store.vault.set('k', value);
    await store.close();
    const service = world.service({
      signal: controller.signal,
      trace: (step) => {
        if (step === 'UpdateTimeTamper') abort();
      },
    });
    assert.equal((await rejectsReason(service.initialize(), 'aborted')).cause, reason);
    throwsReason(() => service.opened, 'closed');
    const again = await world.open();
    assert.ok(again.vault.has('k'));
  });

  describe('of an administrative operation: nothing was changed', () => {
    const password = Buffer.from('correct horse battery');
    const contents = (): readonly (readonly [string, string])[] =>
      readdirSync(world.root, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.endsWith('lock'))
        .map(({ parentPath, name }) => join(parentPath, name))
        .sort()
        .map((path) => [path, readFileSync(path, 'hex')] as const);
    const abortAt = (step: string): Partial<OpenOptions> => ({
      trace: (name) => {
        if (name === step) abort();
      },
    });
    beforeEach(async () => {
      const store = await world.open({ recovery: { password, kdf: quickKdf } });
      await store.vault.set('k', value);
      await store.close();
    });
    const loseSecrets = (): void => {
      rmSync(world.secrets, { recursive: true });
    };
    const agedAYear = (): void => {
      world.clock.advance(365 * 86_400_000);
    };

    for (const [kind, when, prepare, options] of [
      ['decommission', 'while the vault is read', () => undefined, { onProgress: () => abort() }],
      ['decommission', 'before the vault is read', () => undefined, abortAt('InitializeWarmstart')],
      ['reanchor', 'before the last step', agedAYear, abortAt('InitializeStorageIdentifier')],
      ['recover', 'before the last step', loseSecrets, abortAt('InitializeStorageIdentifier')],
    ] as const) {
      it(`${kind}, ${when}`, async () => {
        prepare();
        const before = contents();
        const perform = (changes: object): Promise<unknown> =>
          kind === 'decommission'
            ? world.decommission({ password }, changes)
            : world.perform(kind, { password }, changes).then((store) => store.close());
        const performed = perform({ ...options, signal: controller.signal });
        assert.equal((await rejectsReason(performed, 'aborted')).cause, reason);
        assert.deepEqual(contents(), before);
        // No lock is left, and the operation can be repeated.
        await perform({});
      });
    }
  });

  it('while a callback is awaited for the password of a credential', async () => {
    const password = (): Promise<Uint8Array> => {
      setImmediate(abort);
      return new Promise(() => undefined);
    };
    const { signal } = controller;
    await (await world.open()).close();
    const performed = world.perform('reanchor', { password }, { signal });
    assert.equal((await rejectsReason(performed, 'aborted')).cause, reason);
    controller = new AbortController();
    const options = { ...world.options({ signal: controller.signal }), credential: { password } };
    assert.equal((await rejectsReason(restoreStore(binding, options), 'aborted')).cause, reason);
    await (await world.open()).close();
  });

  describe('of what is left of a store: nothing was removed', () => {
    beforeEach(async () => {
      await (await world.open()).close();
      rmSync(world.directory, { recursive: true });
    });
    const leftovers = (remove: boolean, core: NativeBinding = binding): Promise<unknown> => {
      const { directory, instance, secretStore } = world.options();
      const work = remove ? removeLeftovers : findLeftovers;
      return work(core, { directory, instance, secretStore, signal: controller.signal });
    };

    for (const remove of [false, true]) {
      it(`before it is ${remove ? 'removed' : 'listed'}`, async () => {
        const before = readdirSync(world.secrets);
        abort();
        assert.equal((await rejectsReason(leftovers(remove), 'aborted')).cause, reason);
        assert.deepEqual(readdirSync(world.secrets), before);
      });
    }

    it('between listing and removing', async () => {
      const before = readdirSync(world.secrets);
      class Store extends binding.Store {}
      Object.defineProperty(Store.prototype, 'operations', {
        get(this: NativeStore): Partial<NativeStore['operations']> {
          const own = Reflect.get(binding.Store.prototype, 'operations', this) as NativeStore['operations'];
          return {
            findLeftovers: async () => {
              const found = await own.findLeftovers();
              abort();
              return found;
            },
            removeLeftovers: () => own.removeLeftovers(),
          };
        },
      });
      const refusal = await rejectsReason(leftovers(true, { ...binding, Store }), 'aborted');
      assert.equal(refusal.cause, reason);
      assert.deepEqual(readdirSync(world.secrets), before);
    });
  });

  it('of a restore, before the key is made: no key was made, and the same call goes on', async () => {
    const hsm = new HsmWorld();
    try {
      await hsm.make();
      await hsm.makeStore();
      hsm.destroyKek();
      const before = hsm.files();
      const restoring = hsm.restore({
        signal: controller.signal,
        onStep: ({ step, state }) => {
          if (step === 'witnesses' && state === 'begun') abort();
        },
      });
      assert.equal((await rejectsReason(restoring, 'aborted')).cause, reason);
      assert.deepEqual(hsm.files(), before);
      await hsm.restore();
    } finally {
      await hsm.closeAll();
    }
  });

  it('after the start: nothing happens', async () => {
    const store = await world.open({ signal: controller.signal });
    abort();
    await store.vault.set('k', value);
    await store.verify();
  });

  it('of verify(): the reading stops, and the next task is not touched', async () => {
    const store = await world.open();
    await store.vault.set('k', value);
    const verifying = store.verify({ signal: controller.signal, onProgress: abort });
    const compacting = store.compact();
    abort();
    await rejectsReason(verifying, 'aborted');
    await compacting;
    await store.verify();
  });

  it('of verify() while another task runs: that one goes on', async () => {
    const store = await world.open();
    await store.vault.set('k', value);
    const first = store.verify();
    const second = store.verify({ signal: controller.signal });
    abort();
    await rejectsReason(second, 'aborted');
    await first;
  });

  it('process.exit() does not wait for what does not answer', async () => {
    const tpm = new SilentTpm(join(world.root, 's'));
    const index = fileURLToPath(new URL('../lib/index.ts', import.meta.url));
    const options = {
      directory: world.directory,
      protector: { type: 'tpm', tcti: tpm.tcti },
      recovery: 'none',
    };
    const code = `
      const { open } = await import(${JSON.stringify(index)});
      open(${JSON.stringify(options)}).catch(() => undefined);
      process.on('SIGUSR2', () => process.exit(7));
      process.stdout.write('ready');
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await Promise.all([tpm.called, once(child.stdout, 'data')]);
      const closed = once(child, 'close');
      const started = performance.now();
      child.kill('SIGUSR2');
      assert.deepEqual(await closed, [7, null]);
      assert.ok(performance.now() - started < 15_000, 'half of the time that a TPM is given');
    } finally {
      child.kill('SIGKILL');
      await tpm.close();
    }
  });
});
