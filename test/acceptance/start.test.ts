// The rows of the start: what is looked at, in which order, what is refused, and what a refusal leaves behind.
import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { open } from '../../lib/index.js';
import { rejectsReason, throwsReason } from '../support/errors.js';
import { manifest, resigned, signed, trustedKeys } from '../support/manifest-fixtures.js';
import { assertSame, Place, password, recovery, rejection, runChild, storeFiles, text } from './support.js';
import { temporaryDirectory } from '../support/stores.js';

const coldSteps = [
  'Initialize',
  'DetermineStartupState',
  'SetupPersistenceFiles',
  'LoadLicenseProviderManifests',
  'InitializeColdstart',
  'LoadVaultAndValidate',
  'ValidateVaultFilename',
  'CreateAndLoadVault',
  'InitializeStorageIdentifier',
  'ValidateVaultIntegrity',
  'ValidateTimeTamperAge',
  'UpdateTimeTamper',
];
const warmSteps = coldSteps.map((step) => (step === 'InitializeColdstart' ? 'InitializeWarmstart' : step));

/** What a process holds: open files by what they are, and what keeps its event loop busy. */
function holdings(): { files: string[]; resources: string[]; threads: number } {
  const files = readdirSync('/proc/self/fd').length;
  return {
    files: [String(files)],
    resources: process.getActiveResourcesInfo().sort(),
    threads: readdirSync('/proc/self/task').length,
  };
}

describe('acceptance: the start', function () {
  // Some start many processes one after the other.
  this.timeout(120_000);
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.closeAll());

  describe('`Initialize()`', () => {
    it("`Initialize()`: the five steps run in the document's order, shown by the trace hook", async () => {
      for (const expected of [coldSteps, warmSteps]) {
        const steps: string[] = [];
        const store = await place.open({ trace: (step) => steps.push(step) });
        assert.deepEqual(steps, expected);
        await store.close();
      }
    });

    it('`Initialize()`: any throw becomes PERS_8005 with its cause, at every step, and the next start is clean', async () => {
      for (const [startup, steps] of [
        ['COLDSTART', coldSteps],
        ['WARMSTART', warmSteps],
      ] as const) {
        for (const failing of steps) {
          const cause = new Error('the hook fails');
          const trace = (step: string): void => {
            if (step === failing) throw cause;
          };
          const before = place.snapshot();
          const error = await rejection(place.service({ trace }).initialize());
          assert.equal(error.code, 'PERS_8005');
          assert.equal(error.reason, 'initialization-failed');
          assert.equal(error.cause, cause);
          if (startup === 'WARMSTART') assertSame(before, place.snapshot());
        }
        const store = await place.open();
        assert.equal(store.startup, startup);
        await store.close();
      }
    });

    it('`Initialize()`: a second call is an error and harms nothing', async () => {
      const service = place.service();
      const store = await service.initialize();
      await rejectsReason(service.initialize(), 'already-open');
      await store.vault.set('key', Buffer.from('value'));
      await service.close();
      await rejectsReason(service.initialize(), 'closed');
    });

    it('`Initialize()`: a failed start leaves no lock, descriptor, timer or thread', async () => {
      await place.made();
      const good = place.snapshot();
      const failures: Record<string, () => Promise<unknown>> = {
        'a throwing hook': () =>
          place.open({
            trace: (step) => {
              if (step === 'UpdateTimeTamper') throw new Error('late');
            },
          }),
        'a changed vault': () => {
          place.flip('vault.bin', 200);
          return place.open();
        },
        'a missing vault': () => {
          place.remove('vault.bin');
          return place.open();
        },
        'a missing root': () => {
          place.remove('secrets/test.RootKey');
          return place.open();
        },
      };
      // What the first of everything loads stays.
      await place.visit();
      for (const fail of Object.values(failures)) {
        place.restore(good);
        await rejection(fail());
      }
      place.restore(good);
      await place.visit();
      const before = holdings();
      for (const [name, fail] of Object.entries(failures)) {
        for (let i = 0; i < 5; ++i) {
          place.restore(good);
          await rejection(fail());
        }
        assert.deepEqual(holdings(), before, name);
        // No lock is left: the store opens at once.
        place.restore(good);
        await place.visit();
      }
    });
  });

  describe('`DetermineStartupState()`', () => {
    it('`DetermineStartupState()`: nothing there is a COLDSTART, all there a WARMSTART', async () => {
      await place.made();
      const again = await place.open();
      assert.equal(again.startup, 'WARMSTART');
      await again.close();
      const empty = new Place();
      mkdirSync(empty.directory, { mode: 0o700 });
      const store = await empty.open();
      assert.equal(store.startup, 'COLDSTART');
      await store.close();
    });

    it('`DetermineStartupState()`: each of the six partial sets has a defined outcome, never a silent COLDSTART', async () => {
      await place.made();
      const whole = place.snapshot();
      let sets = 0;
      for (let present = 1; present < 7; ++present) {
        for (const secrets of [true, false]) {
          place.restore(whole);
          const [persistence, vault, tamper] = storeFiles.map((file, bit) => {
            const there = (present & (1 << bit)) !== 0;
            if (!there) place.remove(file);
            return there;
          });
          if (!secrets) place.restore(new Map(), (name) => name.startsWith('secrets/'));
          if (persistence && vault && !tamper && secrets) {
            const store = await place.open();
            assert.equal(store.startup, 'WARMSTART');
            assert.equal(store.status().repaired.tamperFile, true);
            await store.close();
          } else if (persistence && vault) {
            await place.refused('root-unavailable');
          } else {
            await place.refused('partial-restore');
          }
          ++sets;
        }
      }
      assert.equal(sets, 12);
    });

    it('`DetermineStartupState()`: an empty file counts as present and damaged', async () => {
      await place.made();
      const whole = place.snapshot();
      const expected = ['persistence-tampered', 'vault-tampered', 'tamper-file-tampered'] as const;
      for (const [index, file] of storeFiles.entries()) {
        place.restore(whole);
        place.write(file, Buffer.alloc(0));
        await place.refused(expected[index]!);
      }
      for (const file of storeFiles) place.write(file, Buffer.alloc(0));
      await place.refused('persistence-tampered');
      place.restore(new Map(), (name) => name.startsWith('secrets/'));
      await place.refused('persistence-tampered');
    });

    it('`DetermineStartupState()`: a missing directory is created 0700, whatever the umask', async () => {
      for (const mask of [0o000, 0o077, 0o177]) {
        const fresh = new Place();
        const before = process.umask(mask);
        try {
          const store = await fresh.open();
          await store.close();
        } finally {
          process.umask(before);
        }
        for (const directory of [fresh.directory, fresh.secrets]) {
          assert.equal(statSync(directory).mode & 0o7777, 0o700);
        }
      }
    });
  });

  describe('`SetupPersistenceFiles()`', () => {
    it('`SetupPersistenceFiles()`: every file is 0600, whatever the umask', async () => {
      const before = process.umask(0);
      try {
        const store = await place.open({ recovery });
        await store.vault.set('key', Buffer.from('value'), { durability: 'witnessed' });
        await store.compact();
        await store.changePassword(password, Buffer.from('another password'));
        await store.close();
      } finally {
        process.umask(before);
      }
      for (const directory of [place.directory, place.secrets]) {
        for (const name of readdirSync(directory)) {
          assert.equal(statSync(join(directory, name)).mode & 0o7777, 0o600, name);
        }
      }
    });

    it('`SetupPersistenceFiles()`: a symbolic link is PERS_8005 unsafe-path, for each file and directory', async () => {
      await place.made();
      const whole = place.snapshot();
      for (const file of [...storeFiles, 'secrets/test.RootKey', 'secrets/test.VaultHash', 'lock']) {
        place.restore(whole);
        const elsewhere = join(place.root, 'elsewhere');
        renameSync(place.path(file), elsewhere);
        symlinkSync(elsewhere, place.path(file));
        const error = await rejection(place.open());
        assert.deepEqual(
          [error.code, error.reason],
          ['PERS_8005', 'unsafe-path'],
          `${file}: ${error.message}`,
        );
        place.remove(file);
        renameSync(elsewhere, place.path(file));
      }
      for (const directory of [place.directory, place.secrets]) {
        const elsewhere = join(place.root, 'moved');
        renameSync(directory, elsewhere);
        symlinkSync(elsewhere, directory);
        const error = await rejection(place.open());
        assert.deepEqual([error.code, error.reason], ['PERS_8005', 'unsafe-path'], error.message);
        rmSync(directory);
        renameSync(elsewhere, directory);
      }
      await place.visit();
    });

    it('`SetupPersistenceFiles()`: a directory or file that others may write, or own, is PERS_8005 unsafe-path', async () => {
      await place.made();
      const unsafe = async (what: string): Promise<void> => {
        const error = await rejection(place.open());
        assert.deepEqual(
          [error.code, error.reason],
          ['PERS_8005', 'unsafe-path'],
          `${what}: ${error.message}`,
        );
      };
      for (const target of [place.directory, place.secrets, place.path('vault.bin')]) {
        const { mode } = statSync(target);
        chmodSync(target, 0o777);
        await unsafe(`world-writable ${target}`);
        chmodSync(target, mode & 0o7777);
      }
      if (process.getuid?.() === 0) {
        for (const target of [place.directory, place.secrets, place.path('persistence.bin')]) {
          chownSync(target, 65_534, 65_534);
          await unsafe(`foreign owner of ${target}`);
          chownSync(target, 0, 0);
        }
      } else {
        // Without root there is no foreign file but those of root itself, who is trusted and lets nobody write.
        const error = await rejection(open({ ...place.options(), directory: '/usr' }));
        assert.equal(error.code, 'PERS_8005');
      }
      await place.visit();
    });
  });

  describe('`LoadLicenseProviderManifests()`', () => {
    it('`LoadLicenseProviderManifests()`: one bad file is rejected with its reason, the others load, and the start goes on', async () => {
      const directory = temporaryDirectory();
      writeFileSync(join(directory, 'good.json'), JSON.stringify(signed(manifest())));
      writeFileSync(join(directory, 'bad.json'), '{');
      const manifests = { directory, trustedKeys };
      const store = await place.open({ manifests });
      const { manifests: found } = store.status();
      assert.equal(found?.licenseProviderFound, true);
      assert.deepEqual(
        found?.rejected.map(({ file }) => file),
        ['bad.json'],
      );
      await store.close();

      // The vault remembers the last CreatedUtc of each provider, also after a warm start.
      const older = resigned({ CreatedUtc: '2026-02-01T12:00:00Z' });
      writeFileSync(join(directory, 'good.json'), older);
      const second = await place.open({ manifests });
      assert.equal(second.status().manifests?.licenseProviderFound, false);
      assert.deepEqual(
        second
          .status()
          .manifests?.rejected.map(({ file, reason }) => [file, reason])
          .sort(),
        [
          ['bad.json', found?.rejected[0]?.reason],
          ['good.json', 'older-than-accepted'],
        ],
      );
      await second.close();
    });

    it('`LoadLicenseProviderManifests()`: a missing directory is an empty list', async () => {
      const store = await place.open({ manifests: { directory: join(place.root, 'none'), trustedKeys } });
      assert.deepEqual(store.status().manifests?.providers, []);
      assert.equal(store.status().manifests?.licenseProviderFound, false);
      await store.close();
    });
  });

  describe('`InitializeColdstart()`', () => {
    it('`InitializeColdstart()`: an empty world becomes three files, a storage id, TIME_TAMPER, and witnesses that agree', async () => {
      const store = await place.open();
      const { storageId, generation, head, witnesses, time, window } = store.status();
      assert.deepEqual(
        readdirSync(place.directory)
          .filter((name) => name !== 'lock')
          .sort(),
        [...storeFiles].sort(),
      );
      assert.match(storageId, /^[0-9a-f]{32}$/);
      assert.equal(time.stampMs, place.clock.wallMs());
      assert.deepEqual(
        witnesses.map(({ name, generation: at, head: its }) => [name, at, its]),
        [
          ['tamper-file', generation, head],
          ['secret-store', generation, head],
        ],
      );
      assert.equal(window.generations, 0);
      await store.close();
      const forge = place.forge();
      assert.equal(forge.storageId.toString('hex'), storageId);
      assert.equal(forge.witnessedStamp().wallMs, place.clock.wallMs());
      const vault = forge.readVault();
      assert.deepEqual(vault.records.get('strongroom/storage-id'), forge.storageId);
      assert.equal(forge.witnessedPoint().head, vault.head.toString('hex'));
    });

    it('`InitializeColdstart()`: two cold starts share no salt, key or id', async () => {
      const other = new Place();
      await place.made();
      await other.made();
      const [a, b] = [place.forge(), other.forge()];
      for (const part of ['storageId', 'dek', 'vaultSalt'] as const) {
        assert.ok(!a[part].equals(b[part]), part);
        assert.ok(
          a[part].some((byte) => byte !== 0),
          part,
        );
      }
      assert.ok(!place.read('secrets/test.RootKey').equals(other.read('secrets/test.RootKey')));
      // Nothing random is shared: no 16 bytes in a row, but for zeros, text and the small numbers of a header.
      for (const file of storeFiles) {
        const seen = new Set<string>();
        const windows = (bytes: Buffer): string[] =>
          Array.from({ length: Math.max(0, bytes.length - 16) }, (_, at) => bytes.subarray(at, at + 16))
            .filter((window) => new Set(window).size > 10 && window.some((byte) => byte > 127))
            .map((window) => window.toString('hex'));
        for (const window of windows(place.read(file).subarray(0, 16_384))) seen.add(window);
        const shared = windows(other.read(file).subarray(0, 16_384)).filter((window) => seen.has(window));
        assert.deepEqual(shared, [], file);
      }
    });

    it('`InitializeColdstart()`: kill -9 at every step; the next start completes or starts clean, never PERS_8003', async () => {
      for (const step of coldSteps) {
        const fresh = new Place();
        const killed = await runChild(
          fresh,
          `await strongroom.open({ ...options, trace: (step) => { if (step === '${step}') die(); } });`,
        );
        assert.equal(killed.end, 'SIGKILL', killed.stderr);
        const next = await runChild(
          fresh,
          `const store = await strongroom.open(options);
           tell(store.startup);
           await store.vault.set('key', Buffer.from('value'));
           await store.close();
           const again = await strongroom.open(options);
           tell(again.startup + ' ' + again.vault.get('key'));
           await again.close();`,
        );
        assert.deepEqual(next.lines, ['COLDSTART', 'WARMSTART value'], `${step} ${next.stderr}`);
      }
    });
  });

  describe('`ValidateColdstartSecretStore()`', () => {
    it('`ValidateColdstartSecretStore()`: another or an emptied directory is no new trial', async () => {
      await place.made();
      const elsewhere = join(place.root, 'elsewhere');
      await place.refused('partial-restore', () => place.open({ directory: elsewhere }));
      const left = existsSync(elsewhere) ? readdirSync(elsewhere) : [];
      assert.deepEqual(
        left.filter((name) => name !== 'lock'),
        [],
      );
      place.restore(new Map(), (name) => name.startsWith('store/'));
      const error = await place.refused('partial-restore');
      assert.equal(error.code, 'PERS_8003');
      // Another instance name is another store.
      const other = await place.open({ directory: join(place.root, 'other'), instance: 'another' });
      assert.equal(other.startup, 'COLDSTART');
      await other.close();
    });

    it('`ValidateColdstartSecretStore()`: any leftover of the SecretStore with files missing: PERS_8003, nothing created', async () => {
      await place.made();
      const whole = place.snapshot();
      for (const kept of ['VaultHash', 'TimeTamper', 'RootKey']) {
        place.restore(new Map(), (name) => name.startsWith('store/'));
        place.restore(whole, (name) => name.startsWith('secrets/') && name.endsWith(kept));
        place.restore(new Map(), (name) => name.startsWith('secrets/') && !name.endsWith(kept));
        const error = await place.refused('partial-restore');
        assert.equal(error.code, 'PERS_8003', kept);
      }
    });

    it('`ValidateColdstartSecretStore()`: after an authorised decommission a clean COLDSTART follows', async () => {
      await place.made();
      const { storageId } = await place.inspect();
      await place.refused('password-wrong', () => place.decommission({ password: Buffer.from('no') }));
      await place.refused('password-missing', () => place.decommission({}));
      await place.decommission({ password });
      assert.deepEqual([...place.snapshot().keys()], []);
      const store = await place.open();
      assert.equal(store.startup, 'COLDSTART');
      assert.notEqual(store.status().storageId, storageId);
      await store.close();
    });
  });

  describe('two processes', () => {
    it("two processes: the second opener gets PERS_8005 locked with the owner's pid at once, and nothing is harmed", async () => {
      const real = new Place();
      let refusals = 0;
      const owner = await runChild(
        real,
        `const store = await strongroom.open(options);
         await store.vault.set('before', Buffer.from('1'));
         tell('open ' + process.pid);
         await new Promise((resolve) => process.stdin.once('data', resolve));
         await store.vault.set('after', Buffer.from('2'));
         await store.close();
         process.stdin.destroy();`,
        {
          onLine: async (line, child) => {
            const pid = line.split(' ')[1]!;
            const opens = [
              () => open(real.options()),
              () => real.open(),
              () => real.perform('reanchor', { password }),
              () => real.decommission({ password }),
            ];
            for (const attempt of opens) {
              const start = performance.now();
              const error = await rejection(attempt());
              assert.ok(performance.now() - start < 2000, 'at once');
              assert.deepEqual([error.code, error.reason, error.retryable], ['PERS_8005', 'locked', true]);
              assert.match(error.message, new RegExp(`\\b${pid}\\b`));
              refusals++;
            }
            // Who only reads needs no lock.
            const reader = await open({ ...real.options(), readOnly: true });
            assert.equal(text(reader.vault.get('before')), '1');
            throwsReason(() => reader.vault.setSync('key', Buffer.from('value')), 'read-only');
            await reader.close();
            child.stdin?.end('go on\n');
          },
        },
      );
      assert.equal(refusals, 4);
      assert.equal(owner.end, 0, owner.stderr);
      const store = await open(real.options());
      assert.equal(text(store.vault.get('after')), '2');
      assert.equal(store.status().repaired.tail, false);
      await store.close();
    });
  });
});
