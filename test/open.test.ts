import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import type { OpenStore } from '../lib/store/open-store.js';
import { PersistenceService } from '../lib/store/persistence-service.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { manifest, keyPair, pemOf, signed } from './support/manifest-fixtures.js';
import { binding, quickKdf, World } from './support/stores.js';

const documentOrder = [
  'Initialize',
  'DetermineStartupState',
  'SetupPersistenceFiles',
  'LoadLicenseProviderManifests',
  'Initialize*start',
  'LoadVaultAndValidate',
  'ValidateVaultFilename',
  'CreateAndLoadVault',
  'InitializeStorageIdentifier',
  'ValidateVaultIntegrity',
  'ValidateTimeTamperAge',
  'UpdateTimeTamper',
];

/** Content of every file below a directory. */
function fingerprint(directory: string): Record<string, string> {
  if (!existsSync(directory)) return {};
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return Object.fromEntries(
    files.map((file) => {
      const path = join(file.parentPath, file.name);
      return [path, createHash('sha256').update(readFileSync(path)).digest('hex')];
    }),
  );
}

function descriptorsUnder(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(directory) ? [target] : [];
    } catch {
      return [];
    }
  });
}

describe('Initialize()', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  it('takes the steps in the order of the document, cold and warm', async () => {
    for (const startup of ['COLDSTART', 'WARMSTART']) {
      const steps: string[] = [];
      const store = await world.open({ trace: (step) => steps.push(step) });
      assert.equal(store.startup, startup);
      const initialize = startup === 'COLDSTART' ? 'InitializeColdstart' : 'InitializeWarmstart';
      assert.deepEqual(
        steps,
        documentOrder.map((step) => (step === 'Initialize*start' ? initialize : step)),
      );
      await store.close();
    }
  });

  it('a second call on an open instance is an error, and harms nothing', async () => {
    const service = world.service();
    const store = await service.initialize();
    await rejectsReason(service.initialize(), 'already-open');
    await store.vault.set('key', Buffer.from('x'));
    await service.close();
    await rejectsReason(service.initialize(), 'closed');
    assert.equal(service.opened.store, store);
  });

  it('two calls at once: one of them starts', async () => {
    const store = world.service();
    const first = store.initialize();
    await rejectsReason(store.initialize(), 'already-open');
    await first;
    throwsReason(() => world.service().opened, 'not-open');
  });

  it('whatever throws in a step becomes 8005 with its cause, at every step, and leaves nothing behind', async () => {
    for (const startup of ['COLDSTART', 'WARMSTART']) {
      for (const failing of documentOrder) {
        const place = startup === 'COLDSTART' ? new World() : world;
        if (startup === 'WARMSTART' && !existsSync(place.directory)) await (await place.open()).close();
        const cause = new RangeError('thrown on purpose');
        const service = place.service({
          trace: (step) => {
            if (step.replace(/Cold|Warm/, '*') === failing) throw cause;
          },
        });
        const setInterval = globalThis.setInterval;
        let timers = 0;
        globalThis.setInterval = (...parameters: Parameters<typeof setInterval>) => {
          ++timers;
          return setInterval(...parameters);
        };
        try {
          const error = await rejectsReason(service.initialize(), 'initialization-failed');
          assert.equal(error.code, 'PERS_8005');
          assert.equal(error.cause, cause);
        } finally {
          globalThis.setInterval = setInterval;
        }
        assert.equal(timers, 0, failing);
        assert.deepEqual(descriptorsUnder(place.directory), [], failing);
        throwsReason(() => service.opened, 'closed');
        // No lock is left, and what there is of a store goes on.
        const next = await place.open();
        await next.vault.set('key', Buffer.from('x'));
        await next.close();
        if (place !== world) await place.closeAll();
      }
    }
  });

  it('a failed start changes no file', async () => {
    await (await world.open()).close();
    const before = fingerprint(world.root);
    for (const failing of documentOrder.slice(0, -1)) {
      const service = world.service({
        trace: (step) => {
          if (step.replace(/Cold|Warm/, '*') === failing) throw new Error('thrown on purpose');
        },
      });
      await rejectsReason(service.initialize(), 'initialization-failed');
      assert.deepEqual(fingerprint(world.root), before, failing);
    }
  });

  it('a second opener gets `locked` with the owner’s process id, at once', async () => {
    const store = await world.open();
    const error = await rejectsReason(world.open(), 'locked');
    assert.match(error.message, new RegExp(`\\b${process.pid}\\b`));
    assert.equal(error.retryable, true);
    await store.vault.set('key', Buffer.from('x'));
    await store.close();
    await (await world.open()).close();
  });

  it('the open store has no property that a caller could change', async () => {
    const store = await world.open();
    const parts = ['startup', 'vault', 'validator', 'fields', 'keys', 'tls'];
    assert.deepEqual(Reflect.ownKeys(store), parts);
    for (const name of parts)
      assert.ok(!Reflect.set(store, name, undefined) && !Reflect.deleteProperty(store, name), name);
    assert.ok(Object.isExtensible(store), 'a test of the caller may replace a method');
    assert.equal(store.startup, 'COLDSTART');
  });

  it('can be given up by a signal between two steps', async () => {
    const controller = new AbortController();
    const service = world.service({
      signal: controller.signal,
      trace: (step) => {
        if (step === 'CreateAndLoadVault') controller.abort(new Error('enough'));
      },
    });
    const error = await rejectsReason(service.initialize(), 'aborted');
    assert.equal((error.cause as Error).message, 'enough');
    await rejectsReason(world.service({ signal: AbortSignal.abort() }).initialize(), 'aborted');
    await (await world.open()).close();
  });

  it('makes files that are the owner’s alone', async () => {
    await world.open();
    assert.equal(statSync(world.directory).mode & 0o777, 0o700);
    assert.equal(statSync(world.secrets).mode & 0o777, 0o700);
    for (const path of Object.keys(fingerprint(world.root)))
      assert.equal(statSync(path).mode & 0o777, 0o600, path);
  });

  it('reports the progress of reading', async () => {
    const store = await world.open();
    for (let i = 0; i < 4; ++i) await store.vault.set(`k${i}`, Buffer.alloc(4_000_000));
    await store.close();
    const seen: [number, number][] = [];
    await world.open({ onProgress: (done, all) => seen.push([done, all]) });
    assert.ok(seen.every(([done, all]) => done <= all));
  });

  describe('options', () => {
    const wrong: [string, object][] = [
      ['an unknown name', { color: 'red' }],
      ['no directory', { directory: undefined }],
      ['an empty directory', { directory: '' }],
      ['a NUL', { directory: '/tmp/a\0b' }],
      ['a number for the directory', { directory: 7 }],
      ['an empty instance', { instance: '' }],
      ['another protector', { protector: { type: 'paper' } }],
      ['an unknown name in protector', { protector: { type: 'software', x: 1 } }],
      ['a wrong secretStore', { secretStore: { type: 'memory' } }],
      ['a string for secretStore', { secretStore: 'file' }],
      ['a file SecretStore without directory', { secretStore: { type: 'file' } }],
      ['a directory for secret-service', { secretStore: { type: 'secret-service', directory: '/x' } }],
      ['an unknown name in recovery', { recovery: { pin: new Uint8Array(1) } }],
      ['a wrong kdf', { recovery: { kdf: { memoryKiB: 1.5 } } }],
      ['a kdf of no pass', { recovery: { kdf: { passes: 0 } } }],
      ['an unknown name in kdf', { recovery: { kdf: { rounds: 3 } } }],
      ['a negative tolerance', { clockToleranceMs: -1 }],
      ['a fraction', { maxAgeMs: 0.5 }],
      ['NaN', { maxAgeMs: NaN }],
      ['a witness interval beyond 32 bits', { witnessIntervalMs: 2 ** 32 }],
      ['another maxAge', { maxAge: 'never' }],
      ['maxAge and maxAgeMs', { maxAge: 'off', maxAgeMs: 5 }],
      ['a short vendor key', { vendorPublicKey: new Uint8Array(31) }],
      ['an RSA vendor key', { vendorPublicKey: keyPair('vendor').publicKey }],
      ['text for a vendor key', { vendorPublicKey: 'not PEM' }],
      ['a trace that is no function', { trace: true }],
      ['a signal that is none', { signal: {} }],
      ['readOnly as text', { readOnly: 'yes' }],
      ['wrong manifests', { manifests: { directory: '/x', trustedKeys: 5 } }],
    ];
    for (const [name, changes] of wrong) {
      it(`refuses ${name}`, async () => {
        const attempt = async (): Promise<void> => {
          await new PersistenceService(binding, { ...world.options(), ...changes }).initialize();
        };
        await rejectsReason(attempt(), 'invalid-option');
        assert.deepEqual(
          Object.keys(fingerprint(world.root)).filter((path) => !/[./]lock$/.test(path)),
          [],
        );
      });
    }
    it('refuses a password as a string', () => {
      const options = { ...world.options(), recovery: { password: 'secret' } };
      throwsReason(() => new PersistenceService(binding, options), 'invalid-argument');
      assert.deepEqual(Object.keys(fingerprint(world.root)), []);
    });
    it('names the wrong one', () => {
      const error = throwsReason(
        () => new PersistenceService(binding, { ...world.options(), colour: 1 }),
        'invalid-option',
      );
      assert.match(error.message, /'colour'/);
    });
    it('names the protector that has no SecretStore', () => {
      const error = throwsReason(() => world.service({ protector: { type: 'tpm' } }), 'invalid-option');
      assert.match(error.message, /secretStore: protector 'tpm' has none/);
    });

    it('refuses what is no object at all', () => {
      for (const options of [undefined, null, 5, 'x', [], true]) {
        throwsReason(() => new PersistenceService(binding, options), 'invalid-argument');
      }
    });
    it('what was fixed at COLDSTART must agree', async () => {
      await (await world.open({ clockToleranceMs: 5000, maxAge: 'off' })).close();
      await rejectsReason(world.open({ clockToleranceMs: 6000 }), 'invalid-option');
      await rejectsReason(world.open({ maxAgeMs: 6000 }), 'invalid-option');
      await rejectsReason(world.open({ instance: 'other' }), 'invalid-option');
      const store = await world.open({ clockToleranceMs: 5000, maxAge: 'off' });
      assert.deepEqual([store.status().time.clockToleranceMs, store.status().time.maxAgeMs], [5000, 'off']);
    });
    it('a warm start needs the directory alone', async () => {
      await (await world.open()).close();
      const store = await new PersistenceService(
        binding,
        { directory: world.directory },
        { clock: world.clock },
      ).initialize();
      assert.equal(store.status().instance, 'test');
      assert.deepEqual(store.status().secretStore, { type: 'file', directory: world.secrets });
      await store.close();
    });
  });

  describe('the backup password', () => {
    const password = (): Uint8Array => new TextEncoder().encode('correct horse');
    it('is copied at the call, and the caller’s bytes are left alone', async () => {
      const bytes = password();
      const starting = world.open({ recovery: { password: bytes, kdf: quickKdf } });
      bytes.fill(0);
      const store = await starting;
      await store.verifyPassword(password());
      assert.equal(store.status().rewindableBy, 'password');
      const kept = password();
      await store.verifyPassword(kept);
      assert.deepEqual(kept, password());
    });
    it('a function is asked at COLDSTART and not later', async () => {
      let asked = 0;
      const source = (): Promise<Uint8Array> => {
        ++asked;
        return Promise.resolve(password());
      };
      await (await world.open({ recovery: { password: source, kdf: quickKdf } })).close();
      assert.equal(asked, 1);
      const store = await world.open({ recovery: { password: source, kdf: quickKdf } });
      assert.equal(asked, 1);
      await store.verifyPassword(source);
      await rejectsReason(store.verifyPassword(Buffer.from('wrong')), 'password-wrong');
    });
    it('a function that fails, or gives a string, fails the start', async () => {
      const cause = new Error('no terminal');
      const failing = world.open({ recovery: { password: () => Promise.reject(cause) } });
      assert.equal((await rejectsReason(failing, 'initialization-failed')).cause, cause);
      const text = (() => 'text') as unknown as () => Uint8Array;
      await rejectsReason(world.open({ recovery: { password: text } }), 'invalid-argument');
      assert.equal((await world.open()).startup, 'COLDSTART');
    });
    it('can be changed by whoever knows it', async () => {
      const store = await world.open({ recovery: { password: password(), kdf: quickKdf } });
      const next = Buffer.from('another horse');
      await rejectsReason(store.changePassword(next, next), 'password-wrong');
      await rejectsReason(store.changePassword(password(), new Uint8Array()), 'invalid-argument');
      await store.changePassword(password(), next);
      await store.verifyPassword(next);
      await rejectsReason(store.verifyPassword(password()), 'password-wrong');
      for (const wrong of ['text', 5, null] as unknown as Uint8Array[]) {
        await rejectsReason(store.verifyPassword(wrong), 'invalid-argument');
        await rejectsReason(store.changePassword(wrong, next), 'invalid-argument');
      }
      await store.close();
      await (await world.open()).verifyPassword(next);
    });
  });

  describe('for reading only', () => {
    it('shows a live store, takes no lock and changes no byte', async () => {
      const writer = await world.open();
      await writer.vault.set('key', Buffer.from('x'), { durability: 'witnessed' });
      const before = fingerprint(world.root);
      const reader = await world.open({ readOnly: true });
      assert.equal(reader.vault.get('key')?.toString(), 'x');
      assert.equal(reader.status().readOnly, true);
      await reader.verify();
      await reader.auditLog();
      await rejectsReason(reader.vault.set('key', Buffer.from('y')), 'read-only');
      throwsReason(() => {
        reader.vault.setSync('key', Buffer.from('y'));
      }, 'read-only');
      await rejectsReason(reader.anchor(), 'read-only');
      await rejectsReason(reader.compact(), 'read-only');
      await reader.close();
      assert.deepEqual(fingerprint(world.root), before);
      await writer.vault.set('key', Buffer.from('z'));
    });
    it('has no timer that would write', async () => {
      const writer = await world.open();
      const { setInterval } = globalThis;
      let timers = 0;
      globalThis.setInterval = (...parameters: Parameters<typeof setInterval>) => {
        ++timers;
        return setInterval(...parameters);
      };
      try {
        await (await world.open({ readOnly: true })).close();
        assert.equal(timers, 0);
        await writer.close();
        await (await world.open()).close();
        assert.equal(timers, 1);
      } finally {
        globalThis.setInterval = setInterval;
      }
    });
    it('makes nothing where nothing is', async () => {
      await rejectsReason(world.open({ readOnly: true }), 'no-store');
      assert.deepEqual(fingerprint(world.root), {});
    });
  });

  it('the record of manifests keeps each provider, and is written only when one is newer, never by a reader', async () => {
    const directory = join(world.root, 'manifests');
    mkdirSync(directory);
    const trustedKey = pemOf(keyPair('provider').publicKey);
    const trustedKeys = { Acme: trustedKey, Bolt: trustedKey };
    const write = (ProviderName: string, CreatedUtc: string): void => {
      const content = JSON.stringify(signed(manifest({ ProviderName, CreatedUtc })));
      writeFileSync(join(directory, `${ProviderName}.json`), content);
    };
    const start = async (readOnly = false): Promise<[accepted: number, commits: number]> => {
      const store = await world.open({ readOnly, manifests: { directory, trustedKeys } });
      const accepted = store.status().manifests?.providers.length ?? 0;
      const operations = (await store.auditLog()).map(({ operation }) => operation);
      await store.close();
      return [accepted, operations.length];
    };
    write('Acme', '2026-03-01T12:00:00Z');
    write('Bolt', '2026-03-01T12:00:00Z');
    await start();
    const [, first] = await start();
    const [, second] = await start();
    const [, third] = await start();
    assert.equal(third - second, second - first);
    write('Acme', '2026-04-01T12:00:00Z');
    const before = fingerprint(world.root);
    assert.equal((await start(true))[0], 2);
    assert.deepEqual(fingerprint(world.root), before);
    const [, newer] = await start();
    assert.equal(newer - third, third - second + 1);
    write('Bolt', '2026-02-01T12:00:00Z');
    assert.equal((await start())[0], 1);
  });

  it('manifests are verified in step 3 and accepted after step 5; an older one is rejected ever after', async () => {
    const directory = join(world.root, 'manifests');
    mkdirSync(directory);
    const trustedKeys = { Acme: pemOf(keyPair('provider').publicKey) };
    const write = (createdUtc: string): void => {
      writeFileSync(
        join(directory, 'acme.json'),
        JSON.stringify(signed(manifest({ CreatedUtc: createdUtc }))),
      );
    };
    const start = async (): Promise<OpenStore> => world.open({ manifests: { directory, trustedKeys } });
    write('2026-03-01T12:00:00Z');
    writeFileSync(join(directory, 'bad.json'), '{');
    writeFileSync(join(directory, 'other.txt'), 'not a manifest');
    let store = await start();
    assert.equal(store.status().manifests?.licenseProviderFound, true);
    assert.deepEqual(
      store.status().manifests?.rejected.map(({ file, reason }) => [file, reason]),
      [['bad.json', 'json']],
    );
    await store.close();
    write('2026-02-01T12:00:00Z');
    store = await start();
    assert.equal(store.status().manifests?.licenseProviderFound, false);
    assert.deepEqual(
      store.status().manifests?.rejected.map(({ reason }) => reason),
      ['older-than-accepted', 'json'],
    );
    await store.close();
    write('2026-04-01T12:00:00Z');
    store = await start();
    assert.equal(store.status().manifests?.providers.length, 1);
    assert.equal(store.vault.size, 0);
    await store.close();
    store = await world.open({ manifests: { directory: join(directory, 'absent'), trustedKeys } });
    assert.deepEqual(store.status().manifests?.providers, []);
  });

  it('the status tells the policy and no secret', async () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const store = await world.open({ vendorPublicKey: publicKey });
    const status = store.status();
    assert.equal(status.rewindableBy, 'vendor');
    assert.equal(status.securityLevel, 'software');
    assert.equal(status.continuity, 'proven');
    assert.match(status.storageId, /^[0-9a-f]{32}$/);
    assert.match(status.head, /^[0-9a-f]{64}$/);
    assert.match(status.library, /^OpenSSL 3/);
    await store.vault.set('secret-key-name', Buffer.from('secret value'));
    assert.doesNotMatch(JSON.stringify(store.status()), /secret-key-name|secret value/);
    await store.close();
    assert.equal(store.status().state, 'closed');
    assert.deepEqual(store.status().window, { generations: 0, seconds: 0, waitingMs: 0, maxMs: 86_400_000 });
  });
});
