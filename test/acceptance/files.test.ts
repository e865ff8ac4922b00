// The rows of the files: what stands in them, what opens them, and that no byte of them can be changed unseen.
import assert from 'node:assert/strict';

import type { Reason } from '../../lib/error-table.js';
import type { Notice } from '../../lib/vault/events.js';
import { throwsReason } from '../support/errors.js';
import { Forge, persistenceOfVersion } from './forge.js';
import { hour, password, Place, rejection, storeFiles, text, trace } from './support.js';

describe('acceptance: the files', () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.closeAll());

  /** The last step that a refused start began. */
  const lastStep = async (reason: Reason): Promise<string | undefined> => {
    const steps: string[] = [];
    await place.refused(reason, () => place.open({ trace: (step) => steps.push(step) }));
    return steps.at(-1);
  };
  const noticesOf = async (): Promise<string[]> => {
    const store = await place.open();
    const kinds: string[] = [];
    await new Promise<void>((resolve) => {
      store.on('notice', ({ kind }: Notice) => {
        kinds.push(kind);
        resolve();
      });
    });
    await store.close();
    return kinds;
  };

  describe('core data, version V5', () => {
    it('core data, version V5: the version is 6 in both copies, and an unknown one is PERS_8005 version', async () => {
      await place.made();
      const file = place.read('persistence.bin');
      assert.equal(file.toString('latin1', 0, 8), 'SRPERSIS');
      assert.equal(file.readUInt16LE(8), 6);
      assert.ok(file.subarray(0, file.length / 2).equals(file.subarray(file.length / 2)));
      for (const version of [0, 4, 7, 65_535]) {
        place.write('persistence.bin', persistenceOfVersion(file, version));
        const error = await place.refused('version');
        assert.equal(error.code, 'PERS_8005');
      }
      place.write('persistence.bin', file);
      await place.visit();
    });

    it('core data, version V5: one flipped bit in one copy is repaired and reported', async () => {
      await place.made();
      const whole = place.snapshot();
      const { bytes } = whole.get('store/persistence.bin')!;
      for (let at = 3; at < bytes.length; at += 331) {
        place.restore(whole);
        place.flip('persistence.bin', at, 1 << (at % 8));
        assert.deepEqual(await noticesOf(), ['persistence-repaired'], `byte ${at}`);
        assert.ok(place.read('persistence.bin').equals(bytes));
      }
    });

    it('core data, version V5: a flipped bit in both copies is refused, never garbage', async () => {
      await place.made();
      const whole = place.snapshot();
      const half = whole.get('store/persistence.bin')!.bytes.length / 2;
      for (let at = 1; at < half; at += 197) {
        place.restore(whole);
        place.flip('persistence.bin', at, 1 << (at % 8));
        place.flip('persistence.bin', half + ((at * 7) % half), 1 << (at % 5));
        const error = await place.refused('persistence-tampered');
        assert.equal(error.code, 'PERS_8003');
      }
    });
  });

  describe('vault file name', () => {
    it('vault file name: a plain name that contains vault.bin is used and found again', async () => {
      const store = await place.open({}, { vaultFileName: 'acme-vault.bin' });
      await store.vault.set('key', Buffer.from('value'));
      await store.close();
      assert.ok(place.read('acme-vault.bin').length > 0);
      await place.visit(({ vault }) => assert.equal(text(vault.get('key')), 'value'));
    });

    it('vault file name: "", "x.bin", "../vault.bin", absolute, NUL, overlong in the core data are refused before any open', async () => {
      await place.made();
      const whole = place.snapshot();
      const names = [
        '',
        'x.bin',
        '../vault.bin',
        '/tmp/vault.bin',
        'a/vault.bin',
        'vault.bin\0',
        'vault.bin.new',
      ];
      const overlong = `${'x'.repeat(55)}vault.bin`;
      for (const [name, stated] of [
        ...names.map((each) => [each, undefined] as const),
        [overlong, 200] as const,
        [`x${overlong}`, undefined] as const,
      ]) {
        place.restore(whole);
        place.forge().renameVault(name, stated);
        const steps: string[] = [];
        const error = await place.refused('persistence-corrupt', () =>
          place.open({ trace: (step) => steps.push(step) }),
        );
        assert.equal(error.code, 'PERS_8005', JSON.stringify(name));
        assert.ok(!steps.includes('CreateAndLoadVault'), 'before any open');
      }
    });

    it('vault file name: a bad one is refused at COLDSTART, and nothing is made', async () => {
      for (const vaultFileName of [
        'x.bin',
        '../vault.bin',
        '/vault.bin',
        'vault.bin\0',
        `${'x'.repeat(99)}vault.bin`,
      ]) {
        const fresh = new Place();
        const error = await rejection(fresh.open({}, { vaultFileName }));
        assert.ok(['invalid-option', 'invalid-argument'].includes(error.reason), error.reason);
        assert.deepEqual([...fresh.snapshot().keys()], []);
      }
    });
  });

  describe('vault salt, `CreateGetVaultKey()`', () => {
    it('vault salt, `CreateGetVaultKey()`: an implementation beside the core derives the key and reads every record', async () => {
      await place.made(40);
      const forge = place.forge();
      assert.ok(forge.vaultKey().equals(forge.vaultKey()), 'same inputs, same key');
      const { records } = forge.readVault();
      for (let i = 0; i < 40; ++i) assert.equal(text(records.get(`seats/${i}`)), `value ${i}`);
      // And after compaction, when everything stands in the base.
      await place.visit((store) => store.compact());
      assert.equal(text(forge.readVault().records.get('seats/39')), 'value 39');
    });

    it('vault salt, `CreateGetVaultKey()`: one changed salt byte is another key', async () => {
      await place.made();
      const forge = place.forge();
      for (let at = 0; at < 32; ++at) {
        const salt = Buffer.from(forge.vaultSalt);
        salt[at]! ^= 1;
        assert.ok(!forge.vaultKey(salt).equals(forge.vaultKey()));
        assert.throws(() => forge.readVault(salt), /authenticate|unable/i);
      }
    });

    it('vault salt, `CreateGetVaultKey()`: not derivable from published constants: without the root key nothing opens', async () => {
      await place.made();
      const original = place.read('secrets/test.RootKey');
      // The same store with a root key that anybody knows.
      for (const guess of [
        Buffer.alloc(32),
        Buffer.alloc(32, 0xff),
        Buffer.from('strongroom/v5 software kek......'),
      ]) {
        const file = Buffer.from(original);
        guess.copy(file, 32 + 'test'.length);
        place.write('secrets/test.RootKey', file);
        assert.throws(() => new Forge(place.directory, place.secrets), /fits no slot/);
      }
    });
  });

  describe('`InitializeWarmstart()`', () => {
    it('`InitializeWarmstart()`: unchanged files open, with the same storage id and every record', async () => {
      await place.made(200);
      const { storageId } = await place.inspect();
      for (let i = 0; i < 3; ++i) {
        await place.visit((store) => {
          assert.equal(store.status().storageId, storageId);
          assert.equal([...store.vault.keys()].length, 200);
          for (let seat = 0; seat < 200; ++seat)
            assert.equal(text(store.vault.get(`seats/${seat}`)), `value ${seat}`);
        });
      }
    });

    it('`InitializeWarmstart()`: a bit flip or truncation of a cleanly closed vault.bin or tmtmp.bin is refused with its reason', async () => {
      await place.made();
      const whole = place.snapshot();
      for (const [file, reason] of [
        ['vault.bin', 'vault-tampered'],
        ['tmtmp.bin', 'tamper-file-tampered'],
      ] as const) {
        const { bytes } = whole.get(`store/${file}`)!;
        const step = Math.max(1, Math.floor(bytes.length / 60));
        for (let at = 0; at < bytes.length; at += step) {
          place.restore(whole);
          place.flip(file, at, 1 << (at % 8));
          const error = await place.refused(reason);
          assert.equal(error.code, 'PERS_8003');
          place.write(file, bytes.subarray(0, at));
          const cut = await rejection(place.open());
          assert.equal(cut.code, 'PERS_8003', `${file} cut at ${at}`);
          const cutReasons =
            file === 'vault.bin' ? ['vault-tampered', 'vault-rolled-back'] : ['tamper-file-tampered'];
          assert.ok(cutReasons.includes(cut.reason), `${file} cut at ${at}: ${cut.reason}`);
        }
      }
    });
  });

  describe('`LoadVaultAndValidate()`', () => {
    it('`LoadVaultAndValidate()`: file name, load, storage id, integrity, age, update; a failure stops the later steps', async () => {
      await place.made();
      const whole = place.snapshot();
      const cases: [Reason, string, () => void][] = [
        ['persistence-corrupt', 'InitializeWarmstart', () => place.forge().renameVault('x.bin')],
        [
          'vault-tampered',
          'InitializeStorageIdentifier',
          () => place.forge().appendCommit([['strongroom/storage-id', Buffer.alloc(16, 7)]]),
        ],
        ['vault-tampered', 'ValidateVaultIntegrity', () => place.flip('vault.bin', -20)],
        ['state-stale', 'ValidateTimeTamperAge', () => place.clock.reboot(8 * 24 * hour)],
      ];
      for (const [reason, step, damage] of cases) {
        place.restore(whole);
        damage();
        assert.equal(await lastStep(reason), step, reason);
      }
    });
  });

  describe('`CreateAndLoadVault()`', () => {
    it('`CreateAndLoadVault()`: no caller can have the vault before the validator is in place and the start is over', async () => {
      await place.made();
      const service = place.service({
        trace: () => throwsReason(() => service.opened, 'not-open'),
      });
      throwsReason(() => service.opened, 'not-open');
      const { validator, vault } = await service.initialize();
      assert.equal(validator.validations, 0);
      await vault.set('key', Buffer.from('value'));
      assert.equal(validator.validations, 1, 'the first write went through it');
      await service.close();
      const module = await import('../../lib/index.js');
      assert.ok(
        !('Vault' in module) && !('PersistenceService' in module),
        'a vault without validator cannot be made',
      );
    });

    it('`CreateAndLoadVault()`: vault.bin is opened once and read once', async () => {
      const real = new Place();
      const script = `
        const store = await strongroom.open(options);
        const value = Buffer.alloc(3000, 7);
        if (store.startup === 'COLDSTART') for (let i = 0; i < 200; ++i) store.vault.set('key/' + i, value);
        await store.close();`;
      const made = await trace(real, script, 'openat');
      assert.equal(made.outcome.end, 0, made.outcome.stderr);
      const size = real.read('vault.bin').length;
      const { calls, outcome } = await trace(
        real,
        script,
        'openat,read,pread64,readv,preadv,preadv2,mmap,pwrite64,write,pwritev,pwritev2',
      );
      assert.equal(outcome.end, 0, outcome.stderr);
      const opened = calls.filter(
        ({ name, arguments: text }) => name === 'openat' && text.includes('"vault.bin"'),
      );
      assert.equal(opened.length, 1);
      const ofVault = calls.filter(
        ({ name, arguments: text }) => name !== 'openat' && text.includes('/vault.bin>'),
      );
      const firstWrite = ofVault.findIndex(({ name }) => name.includes('write'));
      const reads = ofVault.filter(({ name }) => !name.includes('write'));
      assert.ok(reads.length > 0 && firstWrite > 0);
      assert.equal(
        ofVault.slice(firstWrite).filter(({ name }) => !name.includes('write')).length,
        0,
        'no read later',
      );
      const bytes = reads.reduce((sum, { result }) => sum + Number.parseInt(result), 0);
      assert.equal(bytes, size, 'each byte once');
    });
  });

  describe('`InitializeStorageIdentifier()`', () => {
    it('`InitializeStorageIdentifier()`: made once, 128 bits; it must exist and match at a WARMSTART', async () => {
      await place.made();
      const forge = place.forge();
      assert.equal(forge.storageId.length, 16);
      for (const value of [undefined, Buffer.alloc(16), Buffer.alloc(8)]) {
        const whole = place.snapshot();
        place.forge().appendCommit([['strongroom/storage-id', value]]);
        await place.refused('vault-tampered');
        place.restore(whole);
      }
      await place.visit((store) => assert.equal(store.status().storageId, forge.storageId.toString('hex')));
    });

    it('`InitializeStorageIdentifier()`: a directory copied to a machine with another SecretStore is refused', async () => {
      await place.made();
      const files = place.snapshot();
      const empty = new Place();
      empty.restore(files, (name) => name.startsWith('store/'));
      await empty.refused('root-unavailable');
      const other = new Place();
      await other.made();
      other.restore(files, (name) => name.startsWith('store/'));
      const error = await other.refused('witness-replaced');
      assert.equal(error.code, 'PERS_8003');
    });
  });

  describe('`ValidateVaultIntegrity()`', () => {
    it('`ValidateVaultIntegrity()`: a flipped byte of any class in vault.bin is PERS_8003', async () => {
      await place.made();
      const whole = place.snapshot();
      const vault = whole.get('store/vault.bin')!.bytes;
      const frame = vault.lastIndexOf('SRFR');
      const classes: Record<string, number> = {
        magic: 0,
        version: 8,
        'key id': 12,
        'storage id': 16,
        'log id': 32,
        'frame magic': frame,
        kind: frame + 4,
        flags: frame + 6,
        generation: frame + 8,
        time: frame + 16,
        counter: frame + 24,
        epoch: frame + 32,
        operations: frame + 36,
        lengths: frame + 40,
        synced: frame + 48,
        check: frame + 56,
        directory: frame + 64,
        end: vault.length - 1,
      };
      for (const [name, at] of Object.entries(classes)) {
        place.restore(whole);
        place.flip('vault.bin', at);
        const error = await place.refused('vault-tampered');
        assert.equal(error.code, 'PERS_8003', name);
      }
    });

    it('`ValidateVaultIntegrity()`: a changed vault with a tmtmp.bin edited or taken away to match is PERS_8003', async () => {
      await place.made();
      const whole = place.snapshot();
      place.flip('vault.bin', -20);
      const changed = place.snapshot();
      place.flip('tmtmp.bin', 50);
      await place.refused('vault-tampered');
      place.restore(changed);
      place.remove('tmtmp.bin');
      await place.refused('vault-tampered');
      place.restore(whole);
      place.flip('tmtmp.bin', 50);
      await place.refused('tamper-file-tampered');
    });

    it('`ValidateVaultIntegrity()`: without tmtmp.bin the SecretStore vouches; the file is begun anew, logged and reported', async () => {
      await place.made();
      place.remove('tmtmp.bin');
      const { verdict } = await place.inspect();
      assert.equal(verdict, 'ok');
      const store = await place.open();
      assert.equal(store.status().repaired.tamperFile, true);
      const kinds = await new Promise<string>((resolve) => store.on('notice', ({ kind }) => resolve(kind)));
      assert.equal(kinds, 'tamper-file-anew');
      const log = await store.auditLog();
      assert.ok(log.some(({ operation }) => operation === 'tamper-file-anew'));
      assert.equal(text(store.vault.get('seats/1')), 'value 1');
      await store.close();
      await place.visit((again) => assert.equal(again.status().repaired.tamperFile, false));
    });

    it('`ValidateVaultIntegrity()`: VaultHash in disagreement is PERS_8003, lagging is accepted, gone is witness-missing', async () => {
      await place.made();
      const whole = place.snapshot();
      await place.visit(({ vault }) => vault.set('seats/1', Buffer.from('one history')));
      const fork = place.snapshot();
      place.restore(whole);
      await place.visit(({ vault }) => vault.set('seats/1', Buffer.from('another history')));
      const newest = place.snapshot();
      place.restore(fork, (name) => name.endsWith('VaultHash'));
      const error = await place.refused('vault-tampered');
      assert.equal(error.code, 'PERS_8003');

      place.restore(newest);
      place.restore(whole, (name) => name.endsWith('VaultHash'));
      await place.visit(({ vault }) => assert.equal(text(vault.get('seats/1')), 'another history'));

      place.remove('secrets/test.VaultHash');
      await place.refused('witness-missing');
      const reanchored = await place.perform('reanchor', { password });
      assert.equal(reanchored.status().window.generations, 0);
      await reanchored.close();
      await place.visit();
    });

    it('`ValidateVaultIntegrity()`: RootKey gone too is PERS_8005 root-unavailable, curable by recover', async () => {
      await place.made();
      place.restore(new Map(), (name) => name.startsWith('secrets/'));
      const error = await place.refused('root-unavailable');
      assert.equal(error.code, 'PERS_8005');
      await place.refused('password-wrong', () => place.perform('recover', { password: Buffer.from('no') }));
      const store = await place.perform('recover', { password });
      assert.equal(text(store.vault.get('seats/1')), 'value 1');
      assert.equal(store.status().continuity, 'unproven');
      await store.close();
      await place.visit((again) => assert.equal(again.status().continuity, 'unproven'));
      const proven = await place.perform('reanchor', { password });
      assert.equal(proven.status().continuity, 'proven');
      await proven.close();
      await place.visit((again) => assert.equal(again.status().continuity, 'proven'));
    });
  });

  describe('files among each other', () => {
    it('files among each other: swapping any two files of a store is PERS_8003', async () => {
      await place.made();
      const whole = place.snapshot();
      const names = [...storeFiles, 'secrets/test.VaultHash', 'secrets/test.TimeTamper'];
      for (const [index, a] of names.entries()) {
        for (const b of names.slice(index + 1)) {
          place.restore(whole);
          const [first, second] = [place.read(a), place.read(b)];
          place.write(a, second);
          place.write(b, first);
          const error = await rejection(place.open());
          assert.equal(error.code, 'PERS_8003', `${a} and ${b}: ${error.reason}`);
        }
      }
    });

    it('files among each other: one file of another installation, of the same instance name, is PERS_8003', async () => {
      const other = new Place();
      await place.made();
      await other.made();
      const whole = place.snapshot();
      const foreign = other.snapshot();
      for (const name of foreign.keys()) {
        place.restore(whole);
        place.restore(foreign, (file) => file === name);
        const error = await place.refused((await rejection(place.open())).reason);
        assert.equal(error.code, 'PERS_8003', `${name}: ${error.reason}`);
      }
    });

    it('files among each other: no plaintext key or value is on disk', async () => {
      const marks = ['customer@example.com', 'seats/very-secret-feature', 'tokens/pool-of-secrets'];
      const store = await place.open();
      await store.vault.set(marks[1]!, Buffer.from(marks[0]!));
      await store.vault.increment(marks[2]!, 0x5152_5354_5556_5758n, { durability: 'witnessed' });
      const everywhere = (): Buffer =>
        Buffer.concat([...place.snapshot().values()].map(({ bytes }) => bytes));
      const counter = Buffer.from('5152535455565758', 'hex');
      const check = (): void => {
        const bytes = everywhere();
        for (const mark of [
          ...marks.map((part) => Buffer.from(part)),
          counter,
          Buffer.from(counter).reverse(),
        ]) {
          assert.equal(bytes.indexOf(mark), -1, mark.toString());
        }
      };
      check();
      await store.compact();
      check();
      await store.close();
      check();
    });
  });
});
