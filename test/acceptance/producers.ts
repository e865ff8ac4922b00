// Makers of every refusal that a store without hardware can give: for each reason a real state, and the refusal that it meets.
// errors.test.ts checks that it happens, remedies.test.ts that its remedy works.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { Reason } from '../../lib/error-table.js';
import { open, signPermit, type Persistence } from '../../lib/index.js';
import type { PersistenceError } from '../../lib/errors.js';
import { makeCertificates } from '../support/certificates.js';
import { secretOfVersion } from './forge.js';
import {
  day,
  hour,
  password,
  Place,
  rejection,
  runChild,
  storeFiles,
  type ChildOptions,
  type Snapshot,
} from './support.js';

/** What a refusal is judged by, from this process or from a child. */
export type Refusal = Pick<PersistenceError, 'code' | 'reason' | 'retryable' | 'remedy' | 'message'>;

export const bytes = (value: string): Buffer => Buffer.from(value);

/** The refusal that a script in a child process meets; `await refusal(promise)` is in scope there. */
export async function inChild(place: Place, script: string, options: ChildOptions = {}): Promise<Refusal> {
  const child = await runChild(
    place,
    `const refusal = async (promise) => {
       const error = await Promise.resolve(promise).then(() => undefined, (thrown) => thrown);
       const { code, reason, retryable, remedy, message } = error ?? {};
       tell(JSON.stringify({ code, reason, retryable, remedy, message }));
     };
     ${script}`,
    options,
  );
  assert.equal(child.lines.length, 1, `${child.end} ${child.stderr}`);
  return JSON.parse(child.lines[0]!) as Refusal;
}

/** A real failure of a system call, from strace. */
export const failing = (...injections: readonly string[]): ChildOptions => ({
  wrapper: [
    'strace',
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '-e',
    'trace=openat,pread64,pwrite64,fdatasync,fsync,fallocate,ftruncate',
    ...injections.flatMap((injection) => ['-e', `inject=${injection}`]),
  ],
});

export const openAndClose = `await (await strongroom.open(options)).close();`;
export const openInChild = `await refusal(strongroom.open(options));`;

export const signingKey = { id: 'k', algorithm: 'Ed25519', location: 'vault' } as const;

async function withKey(place: Place): Promise<Persistence> {
  const store = await place.open();
  await store.keys.generate(signingKey);
  return store;
}

/** A place, with what the maker of a state leaves for its remedy. */
export class Scene extends Place {
  /** The files and items as they should be. */
  whole: Snapshot = new Map();
  /** The same, of an earlier time. */
  backup: Snapshot = new Map();
  /** A value of the maker's own. */
  kept: Buffer = Buffer.alloc(0);

  constructor() {
    super();
    // The command line, which remedies run, has no clock but the machine's.
    this.clock.setWall(Date.now());
  }

  keepWhole(): void {
    this.whole = this.snapshot();
  }

  override async made(records?: number): Promise<void> {
    await super.made(records);
    this.keepWhole();
  }
}

/** For each reason something that makes it happen. Gets an empty place. */
export const producers: Partial<Record<Reason, (place: Scene) => Promise<Refusal>>> = {
  // PERS_8001: the call is wrong
  'invalid-argument': async (place) => rejection((await place.open()).vault.set('key', 'a string' as never)),
  'invalid-option': (place) => rejection(place.open({ instance: '' })),
  'invalid-key': async (place) => rejection((await place.open()).vault.set('', bytes('value'))),
  'reserved-key': async (place) => rejection((await place.open()).vault.delete('strongroom/storage-id')),
  'value-too-large': async (place) =>
    rejection((await place.open()).vault.set('key', Buffer.alloc((16 << 20) + 1))),
  'batch-too-large': async (place) => {
    const batch = Array.from({ length: 65_537 }, (_, i) => ({ type: 'delete' as const, key: String(i) }));
    return rejection((await place.open()).vault.batch(batch));
  },
  // PERS_8002: the operation's own condition
  'below-minimum': async (place) => rejection((await place.open()).vault.increment('n', -1n, { min: 0n })),
  'above-maximum': async (place) => rejection((await place.open()).vault.increment('n', 2n, { max: 1n })),
  'counter-overflow': async (place) => {
    const { vault } = await place.open();
    await vault.increment('n', 2n ** 63n - 1n);
    return rejection(vault.increment('n', 1n));
  },
  'not-a-counter': async (place) => {
    const { vault } = await place.open();
    await vault.set('n', bytes('seven'));
    return rejection(vault.increment('n', 1n));
  },
  'field-not-authentic': async (place) => {
    const { fields } = await place.open();
    const sealed = fields.seal(bytes('value'), { context: 'row 1' });
    place.kept = sealed;
    return rejection((async () => fields.open(sealed, { context: 'row 2' }))());
  },
  'field-key-unknown': async (place) => {
    const { fields } = await place.open();
    const sealed = fields.seal(bytes('value'), { context: '' });
    place.kept = Buffer.from(sealed);
    sealed.writeUInt32LE(2, 1);
    return rejection((async () => fields.open(sealed, { context: '' }))());
  },
  'key-exists': async (place) => {
    const { keys } = await withKey(place);
    return rejection(keys.generate(signingKey));
  },
  'key-not-found': async (place) => rejection((await place.open()).keys.sign('k', { message: bytes('x') })),
  'key-deactivated': async (place) => {
    const { keys } = await withKey(place);
    await keys.deactivate('k', 'lost');
    return rejection(keys.sign('k', { message: bytes('x') }));
  },
  'key-not-proven': async (place) => {
    await (await withKey(place)).close();
    place.keepWhole();
    const { privateKey } = generateKeyPairSync('ed25519');
    const another = privateKey.export({ format: 'der', type: 'pkcs8' });
    place.forge().appendCommit([['strongroom/keys/k/private', another]]);
    return rejection((await place.open()).keys.reactivate('k'));
  },
  'certificate-mismatch': async (place) => {
    const [one, two] = [makeCertificates(), makeCertificates()];
    return rejection((await place.open()).tls.set({ key: one.key, certificate: two.certificate }));
  },
  'tls-not-set': async (place) => rejection((await place.open()).tls.extract({ directory: place.root })),
  // PERS_8003: critical
  'vault-tampered': async (place) => {
    await place.made();
    await place.visit();
    place.flip('vault.bin', -20);
    return place.refused('vault-tampered');
  },
  'vault-rolled-back': async (place) => {
    await place.made();
    const backup = place.snapshot();
    await place.visit();
    place.keepWhole();
    place.restore(backup, (name) => name.startsWith('store/'));
    return place.refused('vault-rolled-back');
  },
  'persistence-tampered': async (place) => {
    await place.made();
    place.flip('persistence.bin', 50);
    place.flip('persistence.bin', -50);
    return place.refused('persistence-tampered');
  },
  'persistence-rolled-back': async (place) => {
    await place.made();
    const before = place.snapshot();
    await place.visit((store) => store.changePassword(password, bytes('another password')));
    place.keepWhole();
    place.restore(before, (name) => name === 'store/persistence.bin');
    return place.refused('persistence-rolled-back');
  },
  'tamper-file-tampered': async (place) => {
    await place.made();
    place.flip('tmtmp.bin', 250);
    return place.refused('tamper-file-tampered');
  },
  'partial-restore': async (place) => {
    await place.made();
    for (const file of storeFiles) place.remove(file);
    return place.refused('partial-restore');
  },
  'witness-missing': async (place) => {
    await place.made();
    place.remove('secrets/test.VaultHash');
    return place.refused('witness-missing');
  },
  'witness-replaced': async (place) => {
    await place.made();
    const other = new Place();
    await other.made();
    place.restore(other.snapshot(), (name) => name === 'secrets/test.VaultHash');
    return place.refused('witness-replaced');
  },
  'clock-rolled-back': async (place) => {
    await place.made();
    place.clock.advanceWall(-hour);
    return place.refused('clock-rolled-back');
  },
  'state-stale': async (place) => {
    await place.made();
    place.clock.reboot(8 * day);
    return place.refused('state-stale');
  },
  'time-tamper-invalid': async (place) => {
    await place.made();
    place.forge().appendCommit([['strongroom/time-tamper', undefined]]);
    return place.refused('time-tamper-invalid');
  },
  // PERS_8004: the state of the store
  closed: async (place) => {
    const store = await place.open();
    await store.close();
    return rejection(store.vault.set('key', bytes('value')));
  },
  'not-open': (place) => rejection((async () => place.service().opened)()),
  'already-open': async (place) => {
    const service = place.service();
    await service.initialize();
    return rejection(service.initialize());
  },
  'read-only': async (place) => {
    await place.made();
    const store = await place.open({ readOnly: true });
    return rejection(store.vault.set('key', bytes('value')));
  },
  poisoned: (place) =>
    inChild(
      place,
      `const store = await strongroom.open(options);
       await store.vault.set('key', Buffer.from('1'));
       const changes = async () => {
         for (let i = 0; i < 100; ++i) await store.vault.set('key', Buffer.from(String(i)));
       };
       await changes().catch(() => {});
       await refusal(store.vault.set('key', Buffer.from('after')));
       process.exit(0);`,
      failing('fdatasync:error=EIO:when=40+'),
    ),
  'witness-not-moved': async (place) => {
    const store = await place.open();
    // In the way of the file that would replace the item.
    mkdirSync(place.path('secrets/test.VaultHash.new'));
    const error = await rejection(store.vault.set('key', bytes('value'), { durability: 'witnessed' }));
    assert.equal(error.committed, true);
    assert.equal(store.vault.get('key')?.toString(), 'value');
    return error;
  },
  'witness-unavailable': async (place) => {
    const store = await place.open({ windowMaxMs: 60_000 });
    await store.vault.set('key', bytes('value'), { durability: 'witnessed' });
    mkdirSync(place.path('secrets/test.VaultHash.new'));
    await store.vault.set('key', bytes('newer'));
    assert.equal((await rejection(store.vault.anchor())).reason, 'witness-not-moved');
    place.clock.advance(61_000);
    const error = await rejection(store.vault.set('key', bytes('newest')));
    assert.deepEqual([error.committed, error.outcomeUnknown], [undefined, undefined]);
    // It moves again, and writes are accepted again.
    rmSync(place.path('secrets/test.VaultHash.new'), { recursive: true });
    await store.vault.anchor();
    await store.vault.set('key', bytes('newest'));
    return error;
  },
  'queue-full': (place) =>
    inChild(
      place,
      `const { vault } = await strongroom.open(options);
       const value = Buffer.alloc(16 << 20);
       const all = [];
       for (let i = 0; i < 40; ++i) all.push(vault.set('key', value));
       await refusal(Promise.all(all));
       die();`,
      // The disk takes ten seconds to sync what the application writes.
      failing('fdatasync:delay_enter=10000000:when=20+'),
    ),
  aborted: (place) => {
    const controller = new AbortController();
    const trace = (step: string): void => {
      if (step === 'SetupPersistenceFiles') controller.abort();
    };
    return rejection(place.open({ signal: controller.signal, trace }));
  },
  // PERS_8005: the environment
  'io-error': async (place) => {
    await runChild(place, openAndClose);
    // Of this file alone: Node.js too reads by pread64, how often differs between its versions.
    const wrapper = [...failing('pread64:error=EIO').wrapper!, '-P', join(place.directory, 'vault.bin')];
    return inChild(place, openInChild, { wrapper });
  },
  'no-space': async (place) => {
    await runChild(place, openAndClose);
    return inChild(
      place,
      `const store = await strongroom.open(options).catch((error) => refusal(Promise.reject(error)));
       process.exit(0);`,
      failing('pwrite64:error=ENOSPC:when=1+', 'fallocate:error=ENOSPC'),
    );
  },
  'permission-denied': async (place) => {
    await runChild(place, openAndClose);
    const options = failing('openat:error=EACCES:when=1+');
    const wrapper = [...options.wrapper!, '-P', place.directory];
    return inChild(place, openInChild, { wrapper });
  },
  'unsafe-path': (place) => rejection(open({ ...place.options(), directory: '/dev/null' })),
  'not-found': (place) => rejection(place.open({ directory: join(place.root, 'missing/store') })),
  'no-store': async (place) => {
    // A file system that is not mounted.
    await place.made();
    renameSync(place.directory, `${place.directory}-away`);
    mkdirSync(place.directory, { mode: 0o700 });
    const error = await rejection(place.open({ create: 'never' }));
    assert.deepEqual(
      await rejection(place.open({ readOnly: true })).then(({ reason }) => reason),
      'no-store',
    );
    return error;
  },
  'store-exists': async (place) => {
    await place.made();
    return place.refused('store-exists', () => place.open({ create: 'always' }));
  },
  locked: async (place) => {
    await place.open();
    return rejection(place.service().initialize());
  },
  version: async (place) => {
    await place.made();
    place.write('secrets/test.RootKey', secretOfVersion(place.read('secrets/test.RootKey'), 2));
    return place.refused('version');
  },
  'persistence-corrupt': async (place) => {
    await place.made();
    place.forge().renameVault('../vault.bin');
    return place.refused('persistence-corrupt');
  },
  'root-unavailable': async (place) => {
    await place.made();
    place.remove('secrets/test.RootKey');
    return place.refused('root-unavailable');
  },
  'secret-store-unavailable': (place) =>
    inChild(
      place,
      `await refusal(strongroom.open({ ...options, secretStore: { type: 'secret-service' } }));
       process.exit(0);`,
      { env: { DBUS_SESSION_BUS_ADDRESS: `unix:path=${place.root}/no-bus` } },
    ),
  'library-missing': (place) =>
    inChild(
      place,
      `await refusal(strongroom.open({ ...options, secretStore: { type: 'secret-service' } }));
       process.exit(0);`,
      {
        wrapper: [
          ...failing('openat:error=ENOENT').wrapper!,
          ...[
            '/lib',
            '/usr/lib',
            '/lib/x86_64-linux-gnu',
            '/usr/lib/x86_64-linux-gnu',
            '/lib/aarch64-linux-gnu',
            '/usr/lib/aarch64-linux-gnu',
          ]
            .map((directory) => `${directory}/libsecret-1.so.0`)
            .filter((path) => existsSync(path))
            .flatMap((path) => ['-P', path]),
        ],
      },
    ),
  'password-wrong': async (place) => {
    await place.made();
    return place.refused('password-wrong', () => place.decommission({ password: bytes('no') }));
  },
  'password-missing': async (place) => {
    const store = await place.open();
    return rejection(store.verifyPassword(password));
  },
  'authority-refused': async (place) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    place.kept = Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const stranger = generateKeyPairSync('ed25519').privateKey;
    const store = await place.open({ vendorPublicKey: publicKey });
    await store.close();
    const { storageId } = store.status();
    const permit = signPermit({
      privateKey: stranger,
      purpose: 'decommission',
      storageId,
      generation: 0,
      head: '00'.repeat(32),
    });
    return place.refused('authority-refused', () => place.decommission({ permit }));
  },
  'items-missing': async (place) => {
    await place.made();
    renameSync(place.secrets, `${place.secrets}-away`);
    return place.refused('items-missing', () => place.decommission({ password }));
  },
  'already-accepted': async (place) => {
    await place.made();
    place.backup = place.whole;
    const ofFiles = (name: string): boolean => name.startsWith('store/');
    await place.visit();
    place.restore(place.backup, ofFiles);
    await (await place.perform('reanchor', { password })).close();
    place.keepWhole();
    place.restore(place.backup, ofFiles);
    return place.refused('already-accepted', () => place.perform('reanchor', { password }));
  },
  'nothing-to-do': async (place) => {
    await place.made();
    return place.refused('nothing-to-do', () => place.perform('reanchor', { password }));
  },
  unsupported: async (place) => {
    const store = await place.open();
    return rejection(store.keys.generate({ id: 'k', algorithm: 'EC-P256', location: 'hsm' }));
  },
  'initialization-failed': (place) =>
    rejection(
      place.open({
        trace: () => {
          throw new Error('the hook fails');
        },
      }),
    ),
};
