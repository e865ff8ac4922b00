// Hostile input to the public face: a typed error each, no crash, and the store goes on.
import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';

import { deliveryBytes } from '../lib/native-border.js';
import type { Reason } from '../lib/errors.js';
import { OpenStore } from '../lib/store/open-store.js';
import { PersistenceValidator } from '../lib/vault/validator.js';
import { signPermit } from '../lib/options/permit.js';
import { Vault } from '../lib/vault/vault.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { detached, growable, outOfBounds, outOfBoundsView, resizable, throwing } from './support/hostile.js';
import { binding, World } from './support/stores.js';

const value = Buffer.from('x');

describe('hostile input', () => {
  let world: World;
  let store: OpenStore;
  let vault: Vault;

  beforeEach(async () => {
    world = new World();
    store = await world.open();
    ({ vault } = store);
    await vault.set('good', value);
  });
  afterEach(async () => {
    await world.closeAll();
  });
  /** Whatever was thrown at it, the store still works. */
  const stillGood = async (): Promise<void> => {
    await vault.set('after', value);
    assert.equal(vault.get('good')?.toString(), 'x');
    assert.equal(vault.get('after')?.toString(), 'x');
  };

  const nothings: [string, unknown][] = [
    ['undefined', undefined],
    ['null', null],
    ['a number', 7],
    ['NaN', NaN],
    ['a bigint', 7n],
    ['a boolean', true],
    ['a symbol', Symbol('key')],
    ['a function', () => 'key'],
    ['an object', {}],
    ['an array', ['key']],
    ['a String object', new String('key')],
    ['an object with toString', { toString: () => 'key' }],
    ['a Float64Array', new Float64Array(4)],
    ['an Int8Array', new Int8Array(4)],
    ['a Uint8ClampedArray', new Uint8ClampedArray(4)],
    ['something with the prototype of a Uint8Array', Object.create(Uint8Array.prototype)],
    ['something with the prototype of a Buffer', Object.create(Buffer.prototype)],
    ['a Proxy of a Uint8Array', new Proxy(new Uint8Array(4), {})],
    ['a Proxy that throws', throwing],
    ['shared memory', new Uint8Array(new SharedArrayBuffer(4))],
    ['a detached Uint8Array', detached()],
    ['a detached ArrayBuffer', detached().buffer],
    ['a view behind the end of its buffer', outOfBounds()],
    ['a view from the beginning, behind the end of its buffer', outOfBounds(0)],
    ['a DataView behind the end of its buffer', outOfBoundsView()],
    ['growable shared memory', new Uint8Array(growable)],
    ['a SharedArrayBuffer', new SharedArrayBuffer(4)],
  ];
  const notKeys: [string, unknown, Reason][] = [
    ...nothings.map(([name, key]): [string, unknown, Reason] => [name, key, 'invalid-argument']),
    ['a DataView', new DataView(new ArrayBuffer(4)), 'invalid-argument'],
    ['an ArrayBuffer', new ArrayBuffer(4), 'invalid-argument'],
    ['an empty string', '', 'invalid-key'],
    ['no bytes', new Uint8Array(), 'invalid-key'],
    ['a lone high surrogate', 'a\ud800', 'invalid-key'],
    ['a lone low surrogate', '\udc00b', 'invalid-key'],
    ['surrogates in the wrong order', '\udc00\ud800', 'invalid-key'],
    ['a million characters', 'x'.repeat(1_000_000), 'invalid-key'],
    ['a million lone surrogates', '\ud800'.repeat(1_000_000), 'invalid-key'],
    ['64 MiB', new Uint8Array(67_108_864), 'invalid-key'],
  ];

  for (const [name, key, reason] of notKeys) {
    it(`a key that is ${name}`, async () => {
      const k = key as string;
      throwsReason(() => vault.get(k), reason);
      throwsReason(() => vault.has(k), reason);
      throwsReason(() => {
        vault.setSync(k, value);
      }, reason);
      throwsReason(() => {
        vault.deleteSync(k);
      }, reason);
      await rejectsReason(vault.set(k, value), reason);
      await rejectsReason(vault.delete(k), reason);
      await rejectsReason(vault.increment(k, 1n), reason);
      await rejectsReason(vault.compareAndSet(k, undefined, value), reason);
      await rejectsReason(vault.batch([{ type: 'set', key: k, value }]), reason);
      await stillGood();
    });
  }

  for (const [name, wrong] of [...nothings, ['a string', 'text'] as [string, unknown]]) {
    it(`a value that is ${name}`, async () => {
      const v = wrong as Buffer;
      throwsReason(() => {
        vault.setSync('key', v);
      }, 'invalid-argument');
      await rejectsReason(vault.set('key', v), 'invalid-argument');
      await rejectsReason(vault.batch([{ type: 'set', key: 'key', value: v }]), 'invalid-argument');
      if (wrong !== undefined) {
        await rejectsReason(vault.compareAndSet('key', v, value), 'invalid-argument');
        await rejectsReason(vault.compareAndSet('key', undefined, v), 'invalid-argument');
      }
      if (typeof wrong !== 'bigint')
        await rejectsReason(vault.increment('c', wrong as bigint), 'invalid-argument');
      assert.equal(vault.has('key'), false);
      await stillGood();
    });
  }

  it('memory that can be resized is taken as it is at the call', async () => {
    const buffer = resizable(8);
    const whole = new Uint8Array(buffer).fill(1);
    const waiting = [
      vault.set('view', whole),
      vault.set('buffer', buffer),
      vault.set('data', new DataView(buffer)),
    ];
    buffer.resize(64);
    whole.fill(2);
    await Promise.all(waiting);
    for (const key of ['view', 'buffer', 'data']) assert.deepEqual(vault.get(key), Buffer.alloc(8, 1), key);
    buffer.resize(0);
    await vault.set('nothing', whole);
    assert.equal(vault.get('nothing')?.length, 0);
  });

  it('options of methods that are wrong', async () => {
    const cases: [unknown, Reason][] = [
      [null, 'invalid-argument'],
      [5, 'invalid-argument'],
      ['journal', 'invalid-argument'],
      [{ durability: 'memory' }, 'invalid-option'],
      [{ durability: 1 }, 'invalid-option'],
      [{ fast: true }, 'invalid-option'],
      [{ durability: 'journal', sync: true }, 'invalid-option'],
      [throwing, 'invalid-argument'],
    ];
    for (const [wrong, reason] of cases) {
      const options = wrong as { durability: 'journal' };
      await rejectsReason(vault.set('k', value, options), reason);
      await rejectsReason(vault.delete('k', options), reason);
      await rejectsReason(vault.increment('k', 1n, options), reason);
      await rejectsReason(vault.compareAndSet('k', undefined, value, options), reason);
      await rejectsReason(vault.batch([], options), reason);
      throwsReason(() => {
        vault.setSync('k', value, options);
      }, reason);
    }
    await rejectsReason(vault.set('k', value, { min: 1n } as never), 'invalid-option');
    await rejectsReason(vault.increment('k', 1n, { min: 1 } as never), 'invalid-argument');
    await rejectsReason(vault.increment('k', 1n, { max: '1' } as never), 'invalid-argument');
    await stillGood();
  });

  it('ranges that are wrong', async () => {
    const cases: [unknown, Reason][] = [
      [null, 'invalid-argument'],
      ['prefix', 'invalid-argument'],
      [{ from: 'a' }, 'invalid-option'],
      [{ prefix: 5 }, 'invalid-option'],
      [{ gte: null }, 'invalid-option'],
      [{ gt: 'x'.repeat(1025) }, 'invalid-key'],
      [{ lt: '\ud800' }, 'invalid-key'],
      [{ limit: -1 }, 'invalid-option'],
      [{ limit: 1.5 }, 'invalid-option'],
      [{ limit: '5' }, 'invalid-option'],
      [{ reverse: 1 }, 'invalid-option'],
      [{ keyEncoding: 'hex' }, 'invalid-option'],
      [throwing, 'invalid-argument'],
    ];
    for (const [wrong, reason] of cases) {
      throwsReason(() => vault.entries(wrong as object), reason);
      throwsReason(() => vault.keys(wrong as object), reason);
    }
    await stillGood();
  });

  it('batches that are wrong', async () => {
    for (const wrong of [
      undefined,
      null,
      5,
      'x',
      {},
      new Set(),
      { length: 2 },
      [undefined],
      [5],
      [[]],
      [throwing],
    ]) {
      await rejectsReason(vault.batch(wrong as never), 'invalid-argument');
    }
    const endless = new Array(2 ** 31);
    await rejectsReason(vault.batch(endless as never), 'batch-too-large');
    await stillGood();
  });

  it('methods on something that is no vault', async () => {
    const others = [
      undefined,
      null,
      {},
      [],
      5,
      Object.create(Vault.prototype),
      Object.create(vault),
      new Proxy(vault, {}),
    ];
    for (const other of others as Vault[]) {
      throwsReason(() => Vault.prototype.get.call(other, 'key'), 'invalid-argument');
      throwsReason(() => Vault.prototype.has.call(other, 'key'), 'invalid-argument');
      throwsReason(() => {
        Vault.prototype.setSync.call(other, 'key', value);
      }, 'invalid-argument');
      throwsReason(() => [...Vault.prototype.entries.call(other)], 'invalid-argument');
      await rejectsReason(Vault.prototype.set.call(other, 'key', value), 'invalid-argument');
      await rejectsReason(Vault.prototype.batch.call(other, []), 'invalid-argument');
    }
    await stillGood();
  });

  it('methods of the service and the validator on something that is neither', async () => {
    const { prototype } = OpenStore;
    const others: unknown[] = [undefined, null, {}, Object.create(prototype), new Proxy(store, {})];
    for (const other of others as OpenStore[]) {
      throwsReason(() => prototype.status.call(other), 'invalid-argument');
      throwsReason(() => prototype.on.call(other, 'vault', () => undefined), 'invalid-argument');
      throwsReason(() => prototype.off.call(other, 'vault', () => undefined), 'invalid-argument');
      await rejectsReason(prototype.anchor.call(other), 'invalid-argument');
      await rejectsReason(prototype.compact.call(other), 'invalid-argument');
      await rejectsReason(prototype.verify.call(other), 'invalid-argument');
      await rejectsReason(prototype.auditLog.call(other), 'invalid-argument');
      await rejectsReason(prototype.changePassword.call(other, value, value), 'invalid-argument');
      await rejectsReason(prototype.addPassword.call(other, value, value), 'invalid-argument');
      await rejectsReason(prototype.removePassword.call(other, value, 2), 'invalid-argument');
      await rejectsReason(prototype.verifyPassword.call(other, value), 'invalid-argument');
      await rejectsReason(prototype.close.call(other), 'invalid-argument');
    }
    const validators: unknown[] = [{}, Object.create(PersistenceValidator.prototype)];
    for (const other of validators as PersistenceValidator[]) {
      throwsReason(() => {
        PersistenceValidator.prototype.validateBeforeWrite.call(other);
      }, 'invalid-argument');
    }
    await stillGood();
  });

  it('methods of the core on something that is no store', async () => {
    const place = { directory: '/var/lib/none', instance: 'test' };
    const made = new binding.Store(place, () => undefined, new ArrayBuffer(deliveryBytes));
    const names = ['start', 'operations', 'maintenance', 'passwords', 'keys', 'tls'] as const;
    const parts = names.map((name) => made[name]);
    let count = 0;
    for (const owner of [made, ...parts]) {
      const prototype = Object.getPrototypeOf(owner) as object;
      const others = [undefined, {}, Object.create(prototype), binding, new Proxy(owner, {}), made, ...parts];
      for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
        if (name === 'constructor') continue;
        const call = (property.value ?? Reflect.get(property, 'get')) as (
          this: unknown,
          ...given: unknown[]
        ) => unknown;
        count += 1;
        for (const receiver of others.filter((other) => other !== owner)) {
          assert.throws(() => call.call(receiver, 'key', value, 0), name);
        }
      }
    }
    assert.ok(count > 50, String(count));
    for (const part of parts) {
      const Part = Reflect.get(part, 'constructor') as new (store: unknown) => object;
      for (const wrong of [undefined, {}, part]) assert.throws(() => new Part(wrong));
      assert.throws(() => Reflect.apply(Part, undefined, [made]) as unknown);
      assert.doesNotThrow(() => new Part(made));
    }
    await made.abandon();
    assert.throws(() => (binding.Store as unknown as () => void)());
    for (const wrong of [undefined, null, 5, {}, { directory: 5 }, { directory: '/x', secretStore: 5 }]) {
      assert.throws(() => new binding.Store(wrong as never, () => undefined, new ArrayBuffer(3)));
      assert.throws(() => new binding.Store(wrong as never, undefined as never, undefined as never));
    }
  });

  it('getters that throw become the cause of a typed error', async () => {
    const cause = new Error('thrown by a getter');
    const options = {
      get durability(): 'journal' {
        throw cause;
      },
    };
    assert.equal((await rejectsReason(vault.set('key', value, options), 'invalid-argument')).cause, cause);
    const operation = {
      type: 'set' as const,
      key: 'key',
      get value(): Buffer {
        throw cause;
      },
    };
    assert.equal((await rejectsReason(vault.batch([operation]), 'invalid-argument')).cause, cause);
    throwsReason(
      () =>
        vault.keys({
          get prefix(): string {
            throw cause;
          },
        }),
      'invalid-argument',
    );
    await stillGood();
  });

  it('getters that close the store, write, or detach what comes next', async () => {
    const bytes = new Uint8Array(1000).fill(1);
    const detaching = {
      type: 'set' as const,
      get key(): string {
        structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
        vault.setSync('within', value);
        return 'key';
      },
      value: bytes,
    };
    await rejectsReason(vault.batch([detaching]), 'invalid-argument');
    assert.ok(vault.has('within'));

    let closing: Promise<void> | undefined;
    const options = {
      get durability(): 'journal' {
        closing = store.close();
        return 'journal';
      },
    };
    await rejectsReason(vault.set('key', value, options), 'closed');
    await closing;
  });

  it('a returned Buffer whose memory is transferred away', async () => {
    const held = vault.get('good')!;
    structuredClone(held.buffer, { transfer: [held.buffer as ArrayBuffer] });
    await stillGood();
    throwsReason(() => {
      for (const [, entry] of vault.entries()) {
        structuredClone(entry.buffer, { transfer: [entry.buffer as ArrayBuffer] });
      }
    }, 'invalid-argument');
    await stillGood();
  });

  it('calls after close: `closed`, from everything', async () => {
    const iterator = vault.entries();
    const { validator } = store;
    await store.close();
    throwsReason(() => vault.get('good'), 'closed');
    throwsReason(() => vault.has('good'), 'closed');
    throwsReason(() => vault.size, 'closed');
    throwsReason(() => iterator.next(), 'closed');
    throwsReason(() => [...vault.keys()], 'closed');
    throwsReason(() => {
      vault.setSync('k', value);
    }, 'closed');
    throwsReason(() => {
      vault.deleteSync('k');
    }, 'closed');
    throwsReason(() => {
      validator.validateBeforeWrite();
    }, 'closed');
    await rejectsReason(vault.set('k', value), 'closed');
    await rejectsReason(vault.delete('k'), 'closed');
    await rejectsReason(vault.increment('k', 1n), 'closed');
    await rejectsReason(vault.compareAndSet('k', undefined, value), 'closed');
    await rejectsReason(vault.batch([]), 'closed');
    await rejectsReason(store.anchor(), 'closed');
    await rejectsReason(store.verify(), 'closed');
    await rejectsReason(store.auditLog(), 'closed');
    await rejectsReason(store.compact(), 'closed');
    await rejectsReason(store.changePassword(value, value), 'closed');
    await rejectsReason(store.verifyPassword(value), 'closed');
    await store.close();
    assert.equal(store.status().state, 'closed');
  });

  it('arguments of the service that are wrong', async () => {
    for (const wrong of [-1, 1.5, '5', null, NaN] as number[]) {
      await rejectsReason(store.auditLog(wrong), 'invalid-argument');
    }
    await rejectsReason(store.verify({ fast: true } as never), 'invalid-option');
    await rejectsReason(store.verify(5 as never), 'invalid-argument');
    await rejectsReason(store.verify({ signal: AbortSignal.abort() }), 'aborted');
    await rejectsReason(store.verify({ signal: {} } as never), 'invalid-option');
    await rejectsReason(store.verify({ onProgress: 5 } as never), 'invalid-option');
    await rejectsReason(store.changePassword(undefined as never, value), 'invalid-argument');
    await rejectsReason(store.verifyPassword(undefined as never), 'invalid-argument');
    for (const wrong of [undefined, null, {}, { purpose: 'all' }]) {
      throwsReason(() => signPermit(wrong as never), 'invalid-argument');
    }
    await stillGood();
  });

  it('a vault cannot be had without a validator', () => {
    assert.ok(store.validator instanceof PersistenceValidator);
    assert.equal(Object.getOwnPropertyNames(vault).length, 0);
    assert.throws(() => new Vault(undefined as never));
  });

  it('a store cannot be handed to a worker', () => {
    assert.throws(
      () => new Worker('', { eval: true, workerData: { get: vault.get.bind(vault) } }),
      /DataCloneError|could not be cloned/,
    );
    const copy: unknown = structuredClone({ vault });
    assert.throws(() => (copy as { vault: Vault }).vault.get('good'));
  });

  it('a hundred thousand writes in one turn', async () => {
    const promises = Array.from({ length: 100_000 }, (_, i) => vault.set(`k${i % 1000}`, value));
    await Promise.all(promises);
    assert.equal(vault.size, 1001);
  });

  it('more than the queue holds: queue-full for the rest, in order', async () => {
    const big = Buffer.alloc(16_777_216);
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => vault.set(`big${i}`, big)));
    const refused = results.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as { reason: string }] : [],
    );
    assert.ok(refused.length >= 1 && refused.length <= 5, `${refused.length} refused`);
    assert.ok(refused.every(({ reason }) => reason === 'queue-full'));
    assert.equal(vault.size, 1 + 20 - refused.length);
    await stillGood();
  });
});
