// Every remedy works. For each reason of the table a real state is made, what the remedy says is done with the directory
// filled in, and the verdict must change. Where nobody at the keyboard can change it, the remedy must say who can.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { errorTable, type Reason } from '../../lib/error-table.js';
import { signPermit } from '../../lib/index.js';
import { makeCertificates } from '../support/certificates.js';
import { hardware } from './hardware-remedies.js';
import { keyService } from './key-service-remedies.js';
import { bytes, producers, Scene, signingKey } from './producers.js';
import { Remedy } from './remedy.js';
import { hour, password, recovery, root, runChild, text } from './support.js';

const ofFiles = (name: string): boolean => name.startsWith('store/');
const ofSecrets = (name: string): boolean => name.startsWith('secrets/');
const keyring = { wrapper: [join(root, 'scripts/with-keyring')] };

/** Opens, as whoever follows a remedy does in the end, and reads what was stored before. */
async function opens(scene: Scene): Promise<void> {
  await scene.closeServices();
  await scene.visit();
}

async function opensInTheKeyring(scene: Scene): Promise<void> {
  const script = `const secretStore = { type: 'secret-service' };
    await (await strongroom.open({ ...options, secretStore })).close();
    tell('opened');`;
  const { lines, stderr } = await runChild(scene, script, keyring);
  assert.deepEqual(lines, ['opened'], stderr);
}

/** What the remedy says, done to what producers.ts made. */
const software: Partial<Record<Reason, (scene: Scene, remedy: Remedy) => Promise<unknown>>> = {
  'invalid-argument': (scene) => scene.newestService().opened.store.vault.set('key', bytes('value')),
  'invalid-option': (scene) => scene.open(),
  'invalid-key': (scene) => scene.newest().vault.set(new Uint8Array([0xff]), bytes('value')),
  'reserved-key': (scene) => scene.newest().vault.delete('another'),
  'value-too-large': (scene) => scene.newestService().opened.store.vault.set('key', Buffer.alloc(1024)),
  'batch-too-large': (scene) =>
    scene.newest().vault.batch(Array.from({ length: 100 }, (_, i) => ({ type: 'delete', key: String(i) }))),
  'below-minimum': async (scene) => {
    const { vault } = scene.newest();
    await vault.increment('n', 1n);
    assert.equal(await vault.increment('n', -1n, { min: 0n }), 0n);
  },
  'above-maximum': async (scene) => {
    const { vault } = scene.newest();
    assert.equal(await vault.increment('n', 1n, { max: 1n }), 1n);
    await vault.increment('n', -1n);
    assert.equal(await vault.increment('n', 1n, { max: 1n }), 1n);
  },
  'counter-overflow': (scene) => scene.newest().vault.increment('m', 1n),
  'not-a-counter': async (scene) => {
    const { vault } = scene.newest();
    await vault.increment('another', 1n);
    await vault.delete('n');
    await vault.increment('n', 1n);
  },
  'field-not-authentic': async (scene) => {
    assert.equal(text(scene.newest().fields.open(scene.kept, { context: 'row 1' })), 'value');
  },
  'field-key-unknown': async (scene) => {
    assert.equal(text(scene.newest().fields.open(scene.kept, { context: '' })), 'value');
  },
  'key-exists': async (scene) => {
    const { keys } = scene.newest();
    await keys.generate({ ...signingKey, id: 'another' });
    await keys.remove(signingKey.id);
    await keys.generate(signingKey);
  },
  'key-not-found': async (scene, remedy) => {
    await scene.newest().keys.generate({ ...signingKey, id: 'another' });
    await scene.closeServices();
    const { id } = JSON.parse(await remedy.command('key list', '--json')) as { id: string };
    await (await scene.open()).keys.sign(id, { message: bytes('x') });
  },
  'key-deactivated': async (scene) => {
    const { keys } = scene.newest();
    await keys.reactivate('k');
    await keys.sign('k', { message: bytes('x') });
  },
  'key-not-proven': async (scene) => {
    await scene.closeServices();
    scene.restore(scene.whole);
    const { keys } = await scene.open();
    await keys.deactivate('k', 'lost');
    await keys.reactivate('k');
    await keys.sign('k', { message: bytes('x') });
  },
  'certificate-mismatch': async (scene) => {
    const { key, certificate } = makeCertificates();
    await scene.newest().tls.set({ key, certificate });
  },
  'tls-not-set': async (scene, remedy) => {
    await scene.closeServices();
    const { key, certificate } = makeCertificates();
    const [keyFile, certificateFile] = [join(scene.root, 'key.pem'), join(scene.root, 'certificate.pem')];
    writeFileSync(keyFile, key, { mode: 0o600 });
    writeFileSync(certificateFile, certificate);
    await remedy.command('tls set', '--key-file', keyFile, '--certificate-file', certificateFile);
    await (await scene.open()).tls.extract({ directory: scene.root });
  },

  'vault-tampered': async (scene, remedy) => {
    scene.restore(scene.whole, ofFiles);
    await remedy.command('reanchor');
    await opens(scene);
  },
  'vault-rolled-back': async (scene, remedy) => {
    const rolledBack = scene.snapshot();
    scene.restore(scene.whole);
    await opens(scene);
    scene.restore(rolledBack);
    await remedy.command('reanchor');
    await opens(scene);
  },
  'persistence-tampered': (scene) => {
    scene.restore(scene.whole, (name) => name === 'store/persistence.bin');
    return opens(scene);
  },
  'persistence-rolled-back': (scene) => {
    scene.restore(scene.whole, (name) => name === 'store/persistence.bin');
    return opens(scene);
  },
  'tamper-file-tampered': async (scene, remedy) => {
    const tampered = scene.snapshot();
    scene.restore(scene.whole, (name) => name === 'store/tmtmp.bin');
    await opens(scene);
    scene.restore(tampered);
    await remedy.command('reanchor');
    await opens(scene);
  },
  'partial-restore': async (scene, remedy) => {
    const place = ['--instance', 'test', '--secret-store', `file:${scene.secrets}`];
    const empty = scene.snapshot();
    // The files put back; a part of them, removed by the password; all of them gone.
    scene.restore(scene.whole);
    await opens(scene);
    scene.remove('vault.bin');
    await remedy.command('decommission DIR', '--yes');
    scene.restore(empty);
    await remedy.command('decommission DIR --leftovers', '--yes', ...place);
    assert.equal((await scene.open({ recovery })).startup, 'COLDSTART');
  },
  'witness-missing': async (scene, remedy) => {
    const missing = scene.snapshot();
    scene.restore(scene.whole, ofSecrets);
    await opens(scene);
    scene.restore(missing);
    await remedy.command('reanchor');
    await opens(scene);
  },
  'witness-replaced': (scene) => {
    scene.restore(scene.whole, ofSecrets);
    return opens(scene);
  },
  'clock-rolled-back': (scene) => {
    scene.clock.advanceWall(hour);
    return opens(scene);
  },
  'state-stale': async (scene, remedy) => {
    await (await remedy.perform(scene, 'reanchor')).close();
    await opens(scene);
  },
  'time-tamper-invalid': async (scene, remedy) => {
    remedy.says('reanchor');
    scene.restore(scene.whole);
    await opens(scene);
  },

  closed: opens,
  'not-open': async (scene) => {
    const { vault } = await scene.newestService().initialize();
    assert.equal(vault.get('key'), undefined);
  },
  'already-open': (scene) => scene.newestService().opened.store.vault.set('key', bytes('value')),
  'read-only': async (scene) => {
    await scene.closeServices();
    await scene.visit(({ vault }) => vault.set('key', bytes('value')));
  },
  poisoned: (scene) =>
    scene.visit(async ({ vault }) => {
      assert.notEqual(text(vault.get('key')), 'after');
      await vault.set('key', bytes('after'));
    }),
  'witness-not-moved': async (scene) => {
    rmSync(scene.path('secrets/test.VaultHash.new'), { recursive: true });
    await scene.newest().vault.anchor();
    assert.equal(text(scene.newest().vault.get('key')), 'value');
  },
  'witness-unavailable': (scene) => scene.newestService().opened.store.vault.set('key', bytes('value')),
  'queue-full': (scene) =>
    scene.visit(async ({ vault }) => {
      const value = Buffer.alloc(16 << 20);
      for (let i = 0; i < 4; ++i) await vault.set('key', value);
    }),
  aborted: (scene) => scene.open(),

  'io-error': opens,
  'no-space': (scene) => scene.visit(({ vault }) => vault.set('key', bytes('value'))),
  'permission-denied': opens,
  'unsafe-path': (scene) => scene.open(),
  'not-found': async (scene) => {
    mkdirSync(join(scene.root, 'missing'));
    await scene.open({ directory: join(scene.root, 'missing/store') });
  },
  'no-store': async (scene, remedy) => {
    remedy.neverSays('init');
    await scene.closeServices();
    rmSync(scene.directory, { recursive: true });
    renameSync(`${scene.directory}-away`, scene.directory);
    await (await scene.open({ create: 'never' })).close();
    // No store was ever there, and none is left: a new one is made by what made the first.
    rmSync(scene.directory, { recursive: true });
    const place = ['--instance', 'test', '--secret-store', `file:${scene.secrets}`];
    await remedy.command('decommission DIR --leftovers', '--yes', ...place);
    assert.equal((await scene.open({ create: 'always', recovery })).startup, 'COLDSTART');
  },
  'store-exists': async (scene, remedy) => {
    await opens(scene);
    await remedy.command('decommission DIR', '--yes');
    await scene.open({ create: 'always', recovery });
  },
  locked: opens,
  version: async (scene, remedy) => {
    remedy.names(/release/);
    // What the release that knows the version sees.
    scene.restore(scene.whole);
    await opens(scene);
  },
  'persistence-corrupt': async (scene) => {
    scene.restore(scene.whole);
    await opens(scene);
  },
  'root-unavailable': async (scene, remedy) => {
    const lost = scene.snapshot();
    scene.restore(scene.whole);
    await opens(scene);
    scene.restore(lost);
    await remedy.command('recover');
    await opens(scene);
  },
  'secret-store-unavailable': opensInTheKeyring,
  'library-missing': opensInTheKeyring,
  'password-wrong': (scene) => scene.decommission({ password }),
  'password-missing': async (scene, remedy) => {
    // The store has none and never gets one: the remedy says where the data can go.
    remedy.names(/new store/);
    const former = scene.newest();
    assert.equal(former.status().recoverable, false);
    await former.vault.set('key', bytes('value'));
    const successor = new Scene();
    const { vault } = await successor.open({ recovery });
    for (const [key, value] of former.vault.entries()) await vault.set(key, value);
    await successor.newest().verifyPassword(password);
    assert.equal(text(vault.get('key')), 'value');
    await successor.closeAll();
  },
  'authority-refused': async (scene, remedy) => {
    const { storageId, permitCheckpoint } = JSON.parse(await remedy.command('status', '--json')) as {
      storageId: string;
      permitCheckpoint: { generation: number; head: string };
    };
    const permit = signPermit({
      privateKey: scene.kept,
      purpose: 'decommission',
      storageId,
      ...permitCheckpoint,
    });
    await scene.decommission({ permit });
  },
  'already-accepted': async (scene) => {
    scene.restore(scene.whole, ofFiles);
    await opens(scene);
    // A backup that was made since then is another state.
    const since = scene.snapshot();
    await scene.visit();
    scene.restore(since, ofFiles);
    await (await scene.perform('reanchor', { password })).close();
    await opens(scene);
    // Files and SecretStore together, as they were.
    scene.restore(scene.backup);
    await opens(scene);
  },
  'items-missing': async (scene, remedy) => {
    const refused = scene.snapshot();
    await remedy.command('decommission', '--yes', '--secret-store', `file:${scene.secrets}-away`);
    scene.restore(refused);
    remedy.names(/--allow-leftovers/);
    await remedy.command('decommission', '--yes', '--allow-leftovers');
    assert.equal((await scene.open({ recovery })).startup, 'COLDSTART');
  },
  'nothing-to-do': opens,
  unsupported: (scene) => scene.newest().keys.generate(signingKey),
  'initialization-failed': (scene) => scene.open(),
};

/** Nobody at the keyboard can change it, or no test can make it from here: which C++ test does, and whom the remedy names. */
const elsewhere: Partial<Record<Reason, { readonly test: string; readonly names: RegExp }>> = {
  'tpm-locked-out': { test: 'TpmFaultTest.LockoutAndFullMemoryAreTold', names: /administrator/ },
  internal: { test: 'ManagedKeysTest.RecordsThatNobodyWroteAreRefused', names: /project/ },
};

describe('acceptance: remedies', function () {
  this.timeout(60_000);

  describe('without hardware', () => {
    let scene: Scene;
    beforeEach(() => {
      scene = new Scene();
    });
    afterEach(() => scene.closeAll());

    for (const [name, follow] of Object.entries(software)) {
      const reason = name as Reason;
      it(`remedies: ${reason} changes when its remedy is followed`, async () => {
        const refusal = await producers[reason]!(scene);
        assert.equal(refusal.reason, reason, refusal.message);
        await follow(scene, new Remedy(refusal, scene.directory));
      });
    }
  });

  describe('with a TPM, a token or a key service', () => {
    for (const [name, whole] of Object.entries({ ...hardware, ...keyService })) {
      it(`remedies: ${name} changes when its remedy is followed`, whole);
    }
  });

  it('remedies: where nobody at the keyboard can help, the remedy names who can, and a C++ test makes the state', () => {
    const directory = join(root, 'test/native');
    const sources = readdirSync(directory, { encoding: 'utf8', recursive: true })
      .filter((name) => name.endsWith('.cc'))
      .map((name) => readFileSync(join(directory, name), 'utf8'))
      .join('\n');
    for (const [reason, { test, names }] of Object.entries(elsewhere)) {
      assert.match(errorTable[reason as Reason].remedy, names, reason);
      const [suite, name] = test.split('.');
      assert.match(sources, new RegExp(`^TEST(_F|_P)?\\(${suite}, ${name}\\)`, 'm'), test);
    }
  });

  it('remedies: every reason of the table has its remedy followed, or names who can help', () => {
    const covered = [software, hardware, keyService, elsewhere].flatMap((table) => Object.keys(table)).sort();
    assert.deepEqual(covered, Object.keys(errorTable).sort());
  });
});
