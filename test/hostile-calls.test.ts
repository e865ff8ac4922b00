// Arguments of a wrong kind for every public function, positional ones and the members of options: each is refused by a
// PersistenceError that names it, before anything is changed.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { types } from 'node:util';

import { isPersistenceError, PersistenceError, type Reason } from '../lib/errors.js';
import { findLeftovers } from '../lib/operations/leftovers.js';
import { decommissionStore, performOperation } from '../lib/operations/administrative.js';
import { inspectStore } from '../lib/operations/inspection.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { PersistenceService } from '../lib/store/persistence-service.js';
import { decideGate } from '../lib/restore/gate.js';
import { restoreStore } from '../lib/restore/restore.js';
import { findTokens, makeToken } from '../lib/restore/token-setup.js';
import { detectLoss } from '../lib/restore/world.js';
import { signPermit } from '../lib/options/permit.js';
import { makeWizard } from '../lib/wizard/index.js';
import { listen, listenerOf } from '../lib/wizard/server.js';
import { detached, hostileBytes, throwing } from './support/hostile.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { binding, World } from './support/stores.js';

const bytes = Buffer.from('a password');
const wrong = [...hostileBytes, ['a string', 'text'], ['an ArrayBuffer', new ArrayBuffer(8)]] as const;

/** Everything below a directory, with its content. */
function image(directory: string): Map<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true });
  return new Map(
    files
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name))
      .sort()
      .map((path) => [path, readFileSync(path, 'hex')]),
  );
}

/** A refusal of the arguments: what was thrown, in whichever way. */
async function refusal(call: () => unknown, what: string): Promise<PersistenceError> {
  try {
    await call();
  } catch (error) {
    assert.ok(isPersistenceError(error), `${what}: not a PersistenceError: ${String(error)}`);
    assert.equal(error.code, 'PERS_8001', `${what}: ${error.reason}: ${error.message}`);
    return error;
  }
  assert.fail(`${what}: accepted`);
}

describe('hostile arguments of every public function', () => {
  let world: World;
  let store: OpenStore;

  beforeEach(async () => {
    world = new World();
    store = await world.open();
    await store.vault.set('good', bytes);
    await store.anchor();
  });
  afterEach(async () => {
    await world.closeAll();
  });

  /** Functions of an open store that take bytes, and what their message calls them. */
  const takeBytesOpen = (): [string, RegExp, (value: Uint8Array) => unknown][] => {
    const { vault, fields, keys } = store;
    const sealed = fields.seal(bytes, { context: 'c' });
    return [
      ['vault.set', /a value/, (value) => vault.set('k', value)],
      ['vault.setSync', /a value/, (value) => vault.setSync('k', value)],
      ['vault.batch', /a value/, (value) => vault.batch([{ type: 'set', key: 'k', value }])],
      ['vault.compareAndSet, expected', /value/, (value) => vault.compareAndSet('good', value, bytes)],
      ['vault.compareAndSet, next', /value/, (value) => vault.compareAndSet('good', bytes, value)],
      ['fields.seal', /the plaintext/, (value) => fields.seal(value, { context: 'c' })],
      ['fields.open', /the sealed field/, (value) => fields.open(value, { context: 'c' })],
      ['fields.keyId', /the sealed field/, (value) => fields.keyId(value)],
      ['fields.needsRotation', /the sealed field/, (value) => fields.needsRotation(value)],
      ['keys.sign, message', /message/, (message) => keys.sign('key', { message })],
      ['keys.sign, digest', /digest/, (digest) => keys.sign('key', { digest })],
      ['changePassword, current', /current password/, (value) => store.changePassword(value, bytes)],
      ['changePassword, next', /new password/, (value) => store.changePassword(bytes, value)],
      ['addPassword, current', /current password/, (value) => store.addPassword(value, bytes)],
      ['addPassword, next', /new password/, (value) => store.addPassword(bytes, value)],
      ['removePassword', /password/, (value) => store.removePassword(value, 2)],
      ['verifyPassword', /password/, (value) => store.verifyPassword(value)],
      ['rotateDek', /password/, (password) => store.rotateDek({ password })],
      [
        'fields.open of another kind',
        /the sealed field/,
        (value) => fields.open(value === bytes ? sealed : value, { context: 'c' }),
      ],
    ];
  };

  /** The same for functions that take them as a member of their options. */
  const takeBytesInOptions = (): [string, RegExp, (value: Uint8Array) => unknown][] => {
    const directory = world.directory;
    const pkcs11 = { type: 'pkcs11', module: '/nowhere.so', token: 'x' } as const;
    return [
      ['open, recovery.password', /recovery\.password/, (password) => world.open({ recovery: { password } })],
      ['open, protector.pin', /protector\.pin/, (pin) => world.open({ protector: { type: 'tpm', pin } })],
      [
        'open, protector.pin of a token',
        /protector\.pin/,
        (pin) => world.open({ protector: { ...pkcs11, pin } }),
      ],
      [
        'reanchor, credential.password',
        /credential\.password/,
        (password) => world.perform('reanchor', { password }),
      ],
      [
        'recover, credential.password',
        /credential\.password/,
        (password) => world.perform('recover', { password }),
      ],
      [
        'reseal, credential.password',
        /credential\.password/,
        (password) => world.perform('reseal', { password }),
      ],
      [
        'decommission, credential.password',
        /credential\.password/,
        (password) => world.decommission({ password }),
      ],
      [
        'inspect, protector.pin',
        /protector\.pin/,
        (pin) => inspectStore(binding, directory, { protector: { type: 'tpm', pin } }),
      ],
      [
        'detectRestore, protector.pin',
        /protector\.pin/,
        (pin) => detectLoss(binding, { directory, protector: { ...pkcs11, pin } }),
      ],
      [
        'serveGate, protector.pin',
        /protector\.pin/,
        (pin) => decideGate(binding, { directory, protector: { ...pkcs11, pin } }),
      ],
    ];
  };

  /** The same for a restore, the set-up of a token and the wizard. */
  const takeBytesToRestore = (): [string, RegExp, (value: Uint8Array) => unknown][] => {
    const directory = world.directory;
    const place = { slotId: 0, label: 'x', module: '/nowhere.so' };
    const pkcs11 = { type: 'pkcs11', module: '/nowhere.so', token: 'x' } as const;
    return [
      [
        'restore, credential.password',
        /credential\.password/,
        (password) =>
          restoreStore(binding, { ...world.options(), protector: pkcs11, credential: { password } }),
      ],
      [
        'restore, protector.pin',
        /protector\.pin/,
        (pin) =>
          restoreStore(binding, {
            ...world.options(),
            protector: { ...pkcs11, pin },
            credential: { password: bytes },
          }),
      ],
      [
        'restore, setUp.soPin',
        /setUp\.soPin/,
        (soPin) =>
          restoreStore(binding, {
            ...world.options(),
            protector: pkcs11,
            credential: { password: bytes },
            setUp: { slotId: 0, label: 'x', soPin },
          }),
      ],
      ['setUpToken, soPin', /soPin/, (soPin) => makeToken(binding, { ...place, soPin, pin: bytes })],
      ['setUpToken, pin', /pin/, (pin) => makeToken(binding, { ...place, soPin: bytes, pin })],
      [
        'createWizard, soPin',
        /soPin/,
        (soPin) => makeWizard(binding, { directory, protector: pkcs11, soPin }),
      ],
      [
        'createWizard, protector.pin',
        /protector\.pin/,
        (pin) => makeWizard(binding, { directory, protector: { ...pkcs11, pin } }),
      ],
    ];
  };
  const takeBytes = (): [string, RegExp, (value: Uint8Array) => unknown][] => [
    ...takeBytesOpen(),
    ...takeBytesInOptions(),
    ...takeBytesToRestore(),
  ];

  /** Functions that take text or bytes. */
  const takeText = (): [string, RegExp, (value: Uint8Array) => unknown][] => {
    const { vault, fields, keys, tls } = store;
    const permit = {
      purpose: 'recover',
      storageId: '00'.repeat(16),
      generation: 1,
      head: '00'.repeat(32),
    } as const;
    const pkcs11 = { type: 'pkcs11', module: '/nowhere.so', token: 'x' } as const;
    return [
      ['vault.get', /key/, (key) => vault.get(key)],
      ['vault.has', /key/, (key) => vault.has(key)],
      ['vault.delete', /key/, (key) => vault.delete(key)],
      ['vault.deleteSync', /key/, (key) => vault.deleteSync(key)],
      ['vault.increment', /key/, (key) => vault.increment(key, 1n)],
      ['vault.keys, prefix', /prefix/, (prefix) => vault.keys({ prefix })],
      ['vault.entries, gte', /gte/, (gte) => vault.entries({ gte })],
      ['vault.entries, gt', /gt/, (gt) => vault.entries({ gt })],
      ['vault.entries, lte', /lte/, (lte) => vault.entries({ lte })],
      ['vault.entries, lt', /lt/, (lt) => vault.entries({ lt })],
      ['fields.seal, context', /context/, (context) => fields.seal(bytes, { context })],
      ['fields.open, context', /context/, (context) => fields.open(Buffer.alloc(50), { context })],
      ['keys.attachCertificateChain', /the chain/, (pem) => keys.attachCertificateChain('key', pem)],
      ['tls.set, key', /key/, (key) => tls.set({ key, certificate: 'x' })],
      ['tls.set, certificate', /certificate/, (certificate) => tls.set({ key: 'x', certificate })],
      ['tls.set, chain', /chain/, (chain) => tls.set({ key: 'x', certificate: 'x', chain })],
      ['open, vendorPublicKey', /vendorPublicKey/, (vendorPublicKey) => world.open({ vendorPublicKey })],
      [
        'reanchor, credential.permit',
        /credential\.permit/,
        (value) => world.perform('reanchor', { permit: value }),
      ],
      [
        'restore, credential.permit',
        /credential\.permit/,
        (value) =>
          restoreStore(binding, { ...world.options(), protector: pkcs11, credential: { permit: value } }),
      ],
      [
        'createWizard, permit',
        /permit/,
        (value) => makeWizard(binding, { directory: world.directory, protector: pkcs11, permit: value }),
      ],
      ['signPermit, privateKey', /privateKey/, (privateKey) => signPermit({ ...permit, privateKey })],
    ];
  };

  it('bytes that cannot be read are named, as `invalid-argument`, and nothing is changed', async () => {
    const before = image(world.root);
    for (const [name, said, call] of [...takeBytes(), ...takeText()]) {
      for (const [kind, value] of hostileBytes.filter(([, each]) => types.isUint8Array(each))) {
        const { reason, message } = await refusal(() => call(value as Uint8Array), `${name}: ${kind}`);
        assert.equal(reason, 'invalid-argument', `${name}: ${kind}: ${message}`);
        assert.match(message, said, `${name}: ${kind}`);
      }
    }
    assert.deepEqual(image(world.root), before);
    assert.equal(store.vault.get('good')?.toString(), 'a password');
  });

  it('what is no bytes at all is refused, and nothing is changed', async () => {
    const before = image(world.root);
    for (const [name, said, call] of takeBytes()) {
      for (const [kind, value] of wrong) {
        // Of a value these are taken, too.
        if (name.startsWith('vault.') && types.isArrayBuffer(value) && value.byteLength > 0) continue;
        const { message } = await refusal(() => call(value as Uint8Array), `${name}: ${kind}`);
        if (value !== throwing) assert.match(message, said, `${name}: ${kind}`);
      }
    }
    assert.deepEqual(image(world.root), before);
  });

  it('a source of a password that gives what is no bytes', async () => {
    for (const [kind, value] of wrong) {
      const source = (): Uint8Array => value as Uint8Array;
      const { reason } = await refusal(() => store.verifyPassword(source), kind);
      assert.equal(reason, 'invalid-argument', kind);
      const { message } = await refusal(() => world.perform('recover', { password: source }), kind);
      if (value !== throwing) assert.match(message, /credential\.password/);
    }
  });

  /** Functions whose argument is an object of options. */
  const takeOptions = (): [string, (options: never) => unknown][] => {
    const { vault, fields, keys, tls } = store;
    return [
      ['open', (options) => new PersistenceService(binding, options)],
      ['inspect', (options) => inspectStore(binding, world.directory, options)],
      ['reanchor', (options) => performOperation(binding, 'reanchor', options)],
      ['recover', (options) => performOperation(binding, 'recover', options)],
      ['reseal', (options) => performOperation(binding, 'reseal', options)],
      ['decommission', (options) => decommissionStore(binding, options)],
      ['findLeftovers', (options) => findLeftovers(binding, options)],
      ['restore', (options) => restoreStore(binding, options)],
      ['detectRestore', (options) => detectLoss(binding, options)],
      ['serveGate', (options) => decideGate(binding, options)],
      ['listTokens', (options) => findTokens(binding, options)],
      ['setUpToken', (options) => makeToken(binding, options)],
      ['createWizard', (options) => makeWizard(binding, options)],
      ['signPermit', (options) => signPermit(options)],
      ['verify', (options) => store.verify(options)],
      ['rotateDek', (options) => store.rotateDek(options)],
      ['changePassword', (options) => store.changePassword(bytes, bytes, options)],
      ['addPassword', (options) => store.addPassword(bytes, bytes, options)],
      ['vault.set', (options) => vault.set('k', bytes, options)],
      ['vault.setSync', (options) => vault.setSync('k', bytes, options)],
      ['vault.delete', (options) => vault.delete('k', options)],
      ['vault.deleteSync', (options) => vault.deleteSync('k', options)],
      ['vault.increment', (options) => vault.increment('k', 1n, options)],
      ['vault.compareAndSet', (options) => vault.compareAndSet('k', undefined, bytes, options)],
      ['vault.batch', (options) => vault.batch([], options)],
      ['vault.entries', (options) => vault.entries(options)],
      ['vault.keys', (options) => vault.keys(options)],
      ['fields.seal', (options) => fields.seal(bytes, options)],
      ['fields.open', (options) => fields.open(bytes, options)],
      ['keys.generate', (options) => keys.generate(options)],
      ['keys.sign', (options) => keys.sign('key', options)],
      ['tls.set', (options) => tls.set(options)],
      ['tls.extract', (options) => tls.extract(options)],
    ];
  };
  const noOptions: readonly [string, unknown][] = [
    ['null', null],
    ['a number', 5],
    ['a string', 'text'],
    ['a symbol', Symbol('options')],
    ['a function', () => undefined],
    ['a list', []],
    ['bytes', new Uint8Array(4)],
    ['no bytes', new Uint8Array()],
    ['detached bytes', detached()],
    ['an ArrayBuffer', new ArrayBuffer(4)],
    ['a DataView', new DataView(new ArrayBuffer(4))],
    ['a Proxy that throws', throwing],
  ];

  it('options that are no object: `invalid-argument`, and nothing is changed', async () => {
    const before = image(world.root);
    for (const [name, call] of takeOptions()) {
      for (const [kind, value] of noOptions) {
        const { reason, message } = await refusal(() => call(value as never), `${name}: ${kind}`);
        assert.equal(reason, 'invalid-argument', `${name}: ${kind}: ${message}`);
        if (value !== throwing) assert.match(message, /must be an object/, `${name}: ${kind}`);
      }
    }
    assert.deepEqual(image(world.root), before);
  });

  const openNames = [
    'directory',
    'instance',
    'protector',
    'secretStore',
    'manifests',
    'recovery',
    'readOnly',
    'clockToleranceMs',
    'maxAgeMs',
    'maxAge',
    'vendorPublicKey',
    'witnessIntervalMs',
    'trace',
    'onProgress',
    'signal',
  ];
  const wizardNames = [
    'directory',
    'protector',
    'secretStore',
    'tls',
    'hook',
    'hookTimeLimitMs',
    'soPin',
    'permit',
    'names',
    'origin',
    'onEvent',
    'sessionIdleMs',
    'detectEveryMs',
    'resultGraceMs',
    'resultLimitMs',
    'signal',
  ];
  /** Functions, options that they take, and the members to try in their place. */
  const takeMembers = (): [string, object, string[], (options: never) => unknown][] => {
    const base = { ...world.options(), credential: { password: bytes } };
    const pkcs11 = { type: 'pkcs11', module: '/nowhere.so', token: 'x' } as const;
    const place = { module: '/nowhere.so', slotId: 0, label: 'x', soPin: bytes, pin: bytes };
    const permitOptions = { purpose: 'recover', storageId: '', generation: 1, head: '', privateKey: 'x' };
    return [
      ['open', world.options(), openNames, (options) => new PersistenceService(binding, options)],
      [
        'recover',
        base,
        ['credential', 'protector'],
        (options) => performOperation(binding, 'recover', options),
      ],
      [
        'restore',
        { ...base, protector: pkcs11 },
        ['credential', 'setUp', 'tls', 'hook', 'hookTimeLimitMs', 'onStep', 'directory', 'signal'],
        (options) => restoreStore(binding, options),
      ],
      [
        'detectRestore',
        { directory: world.directory },
        ['directory', 'protector', 'secretStore'],
        (options) => detectLoss(binding, options),
      ],
      [
        'serveGate',
        { directory: world.directory },
        ['directory', 'protector', 'secretStore', 'timeLimitMs'],
        (options) => decideGate(binding, options),
      ],
      [
        'listTokens',
        { module: '/nowhere.so' },
        ['module', 'initArguments', 'timeLimitMs'],
        (options) => findTokens(binding, options),
      ],
      ['setUpToken', place, Object.keys(place), (options) => makeToken(binding, options)],
      [
        'createWizard',
        { directory: world.directory, protector: pkcs11 },
        wizardNames,
        (options) => makeWizard(binding, options),
      ],
      ['signPermit', permitOptions, Object.keys(permitOptions), (options) => signPermit(options)],
    ];
  };

  it('members of options: every one with every kind of thing is refused by its name, or taken', async () => {
    const before = image(world.root);
    const things: [string, unknown][] = [
      ...noOptions.filter(([kind]) => kind !== 'a string'),
      ['NaN', NaN],
      ['a bigint', 7n],
    ];
    for (const [name, options, members, call] of takeMembers()) {
      for (const member of members) {
        for (const [kind, value] of things) {
          const what = `${name}, ${member}: ${kind}`;
          // A callback, a source of a secret, and a Proxy without members are what may be given.
          if (typeof value === 'function' && /^(trace|on\w+|soPin|pin)$/.test(member)) continue;
          if (/^(no )?bytes$/.test(kind) && /^(soPin|pin)$/.test(member)) continue;
          if (Array.isArray(value) && member === 'names') continue;
          if (value === 5 && /Ms$|^slotId$|^generation$/.test(member)) continue;
          await refusal(() => call({ ...options, [member]: value } as never), what);
        }
      }
    }
    assert.deepEqual(image(world.root), before);
  });

  it('positional arguments', async () => {
    const { vault, keys } = store;
    const texts: [string, (value: never) => unknown][] = [
      ['keys.sign', (id) => keys.sign(id, { message: bytes })],
      ['keys.get', (id) => keys.get(id)],
      ['keys.publicKey', (id) => keys.publicKey(id)],
      ['keys.certificateChain', (id) => keys.certificateChain(id)],
      ['keys.attachCertificateChain', (id) => keys.attachCertificateChain(id, '')],
      ['keys.deactivate, id', (id) => keys.deactivate(id, 'x')],
      ['keys.deactivate, reason', (reason) => keys.deactivate('key', reason)],
      ['keys.reactivate', (id) => keys.reactivate(id)],
      ['keys.remove', (id) => keys.remove(id)],
      ['inspect', (directory) => inspectStore(binding, directory)],
      ['on', (event) => store.on(event, () => undefined)],
      ['off', (event) => store.off(event, () => undefined)],
      ['on, listener', (listener) => store.on('vault', listener)],
      ['off, listener', (listener) => store.off('notice', listener)],
      ['auditLog', (limit) => store.auditLog(limit)],
      ['removePassword, slotId', (slotId) => store.removePassword(bytes, slotId)],
      ['vault.batch', (operations) => vault.batch(operations)],
      ['vault.increment', (delta) => vault.increment('k', delta)],
    ];
    const values: [string, unknown][] = [
      ['null', null],
      ['NaN', NaN],
      ['a symbol', Symbol('x')],
      ['an object', {}],
      ['bytes', new Uint8Array(4)],
      ['detached bytes', detached()],
      ['a Proxy that throws', throwing],
    ];
    for (const [name, call] of texts)
      for (const [kind, value] of values) await refusal(() => call(value as never), `${name}: ${kind}`);
  });

  it('methods on something that they do not belong to', async () => {
    const parts = [store, store.vault, store.fields, store.keys, store.tls, store.validator] as object[];
    for (const part of parts) {
      const prototype = Object.getPrototypeOf(part) as object;
      for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
        // eslint-disable-next-line @typescript-eslint/unbound-method -- to be called on what it does not belong to
        const method: unknown = property.value ?? property.get;
        if (name === 'constructor' || typeof method !== 'function') continue;
        // Of the steps, and of what only the service itself calls.
        if (['endColdstart', 'invalidate', 'validations'].includes(name)) continue;
        for (const receiver of [undefined, {}, Object.create(part), new Proxy(part, {})]) {
          await refusal(
            () => Reflect.apply(method as (...values: unknown[]) => unknown, receiver, ['x', bytes, {}]),
            `${name} of ${prototype.constructor.name}`,
          );
        }
      }
    }
  });

  it('the server of the restore page', async () => {
    const call = (where: unknown): Promise<unknown> =>
      listen(binding, () => undefined, { names: [], origin: undefined }, where as never);
    for (const [kind, value] of noOptions) {
      assert.equal((await refusal(() => call(value), kind)).reason, 'invalid-argument');
      if (value !== 5)
        assert.match((await refusal(() => call({ port: value }), `port: ${kind}`)).message, /port/);
      if (value !== 'text')
        assert.match((await refusal(() => call({ port: 0, host: value }), `host: ${kind}`)).message, /host/);
    }
    for (const port of [undefined, -1, 65_536, 1.5, NaN]) await refusal(() => call({ port }), String(port));
    const listener = listenerOf(() => new Response());
    for (const [kind, value] of noOptions)
      await refusal(() => listener(value as never, value as never), kind);
  });

  it('PersistenceError and isPersistenceError', () => {
    for (const value of [
      throwing,
      new Proxy(
        {},
        {
          get: () => {
            throw new Error('x');
          },
        },
      ),
      undefined,
      Symbol('x'),
    ])
      assert.equal(isPersistenceError(value), false);
    for (const wrongReason of ['no-such-reason', 'toString', 5, undefined, Symbol('x')])
      throwsReason(() => new PersistenceError(wrongReason as Reason, 'x'), 'invalid-argument');
    throwsReason(() => new PersistenceError('closed', Symbol('x') as unknown as string), 'invalid-argument');
    throwsReason(() => new PersistenceError('closed', 'x', null as never), 'invalid-argument');
  });

  it('the manifests are checked before a COLDSTART makes its directory', async () => {
    const elsewhere = new World();
    for (const manifests of [
      5,
      {},
      { directory: '/x', trustedKeys: 5 },
      { directory: '/x', trustedKeys: throwing },
    ]) {
      await assert.rejects(() => elsewhere.open({ manifests: manifests as never }), isPersistenceError);
      assert.deepEqual(readdirSync(elsewhere.root), []);
    }
    await elsewhere.closeAll();
  });

  it('bytes of a credential are those of the call, whatever becomes of them while it waits', async () => {
    mkdirSync(join(world.root, 'tls'));
    const busy = store.compact();
    const key = Buffer.from('not a key');
    const set = store.tls.set({ key, certificate: 'x' });
    structuredClone(key.buffer, { transfer: [key.buffer] });
    await busy;
    const { message } = await rejectsReason(set, 'invalid-argument');
    assert.doesNotMatch(message, /detached/);
  });
});
