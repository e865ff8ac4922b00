import assert from 'node:assert/strict';

import fc from 'fast-check';

import type { OpenStore } from '../lib/store/open-store.js';
import type { KeyRange, Vault } from '../lib/vault/vault.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { World } from './support/stores.js';

describe('vault', () => {
  let world: World;
  let store: OpenStore;
  let vault: Vault;

  beforeEach(async () => {
    world = new World();
    store = await world.open();
    ({ vault } = store);
  });
  afterEach(() => world.closeAll());

  const reopen = async (): Promise<void> => {
    await store.close();
    store = await world.open();
    ({ vault } = store);
  };
  const text = (key: string): string | undefined => vault.get(key)?.toString();

  describe('get, set, delete', () => {
    it('gives back what was set, also after a warm start', async () => {
      assert.equal(vault.get('seats/cad'), undefined);
      await vault.set('seats/cad', Buffer.from('7'));
      assert.equal(text('seats/cad'), '7');
      assert.equal(vault.has('seats/cad'), true);
      assert.equal(vault.size, 1);
      await reopen();
      assert.equal(store.startup, 'WARMSTART');
      assert.equal(text('seats/cad'), '7');
      await vault.delete('seats/cad');
      assert.equal(vault.get('seats/cad'), undefined);
      assert.equal(vault.has('seats/cad'), false);
      assert.equal(vault.size, 0);
      await reopen();
      assert.equal(vault.get('seats/cad'), undefined);
    });

    it('deleting a key that is not there is no error', async () => {
      await vault.delete('absent');
      vault.deleteSync('absent');
    });

    it('setSync and deleteSync act at once and follow what was submitted before', async () => {
      const first = vault.set('key', Buffer.from('first'));
      vault.setSync('key', Buffer.from('second'));
      assert.equal(text('key'), 'second');
      await first;
      assert.equal(text('key'), 'second');
      const third = vault.set('key', Buffer.from('third'), { durability: 'witnessed' });
      vault.deleteSync('key', { durability: 'witnessed' });
      assert.equal(vault.has('key'), false);
      await third;
      assert.equal(vault.has('key'), false);
    });

    it('a value is shown only when it is durable', async () => {
      const promise = vault.set('key', Buffer.from('x'));
      assert.equal(vault.get('key'), undefined);
      await promise;
      assert.equal(text('key'), 'x');
    });

    it('takes values of every size from nothing to 16 MiB and refuses one byte more', async () => {
      const sizes = [0, 1, 7, 8, 9, 255, 4095, 4096, 4097, 32_768, 65_536, 1_000_001, 16_777_216];
      for (const size of sizes) {
        const value = Buffer.alloc(size, size % 251);
        await vault.set(`size/${size}`, value);
      }
      await reopen();
      for (const size of sizes) {
        const value = vault.get(`size/${size}`);
        assert.ok(value?.equals(Buffer.alloc(size, size % 251)), `${size} bytes`);
      }
      await rejectsReason(vault.set('key', Buffer.alloc(16_777_217)), 'value-too-large');
      throwsReason(() => {
        vault.setSync('key', Buffer.alloc(16_777_217));
      }, 'value-too-large');
    });

    it('takes DataView, ArrayBuffer and parts of them as values', async () => {
      const bytes = Uint8Array.from([1, 2, 3, 4, 5]);
      await vault.set('view', new DataView(bytes.buffer, 1, 3));
      assert.deepEqual([...(vault.get('view') ?? [])], [2, 3, 4]);
      await vault.set('buffer', bytes.buffer);
      assert.deepEqual([...(vault.get('buffer') ?? [])], [1, 2, 3, 4, 5]);
      await vault.set('part', bytes.subarray(3));
      assert.deepEqual([...(vault.get('part') ?? [])], [4, 5]);
    });

    it('copies the value when the call is made', async () => {
      const value = Buffer.from('before');
      const promise = vault.set('key', value);
      value.fill(0);
      await promise;
      assert.equal(text('key'), 'before');
    });

    it('a returned Buffer belongs to the caller', async () => {
      await vault.set('key', Buffer.from('value'));
      const first = vault.get('key')!;
      first.fill(0);
      assert.equal(text('key'), 'value');
    });

    it('returned values stay what they were, however many are read', async () => {
      const count = 500;
      await Promise.all(
        Array.from({ length: count }, (_, i) => vault.set(`k${i}`, Buffer.alloc(1 + (i % 300), i % 256))),
      );
      const values = Array.from({ length: count }, (_, i) => vault.get(`k${i}`)!);
      values.forEach((value, i) => {
        assert.ok(value.equals(Buffer.alloc(1 + (i % 300), i % 256)), `value ${i}`);
      });
    });

    it('a string key is its UTF-8 bytes', async () => {
      await vault.set('schlüssel-é-😀', Buffer.from('x'));
      assert.equal(vault.get(Buffer.from('schlüssel-é-😀'))?.toString(), 'x');
      await vault.set(Buffer.from([0, 255, 128]), Buffer.from('binary'));
      assert.equal(vault.get(Uint8Array.from([0, 255, 128]))?.toString(), 'binary');
      await vault.set('\u{fffd}', Buffer.from('replacement'));
      assert.equal(text('\u{fffd}'), 'replacement');
    });

    it('takes keys of 1 to 1,024 bytes', async () => {
      for (const key of ['a', 'x'.repeat(1024), 'é'.repeat(512), '\0', '😀'.repeat(256)]) {
        await vault.set(key, Buffer.from('v'));
        assert.equal(text(key), 'v');
      }
      for (const key of ['', 'x'.repeat(1025), 'é'.repeat(513), '😀'.repeat(100_000), Buffer.alloc(1025)]) {
        throwsReason(() => vault.get(key), 'invalid-key');
        await rejectsReason(vault.set(key, Buffer.from('v')), 'invalid-key');
      }
    });

    it('behaves like a Map under any sequence of operations, over restarts too', async () => {
      const key = fc.constantFrom('a', 'b', 'ab', 'c/1', 'c/2');
      const value = fc.uint8Array({ maxLength: 40 });
      const operation = fc.oneof(
        fc.record({ type: fc.constant('set' as const), key, value }),
        fc.record({ type: fc.constant('setSync' as const), key, value }),
        fc.record({ type: fc.constant('delete' as const), key }),
        fc.record({ type: fc.constant('batch' as const), keys: fc.array(key, { maxLength: 5 }), value }),
        fc.record({ type: fc.constant('reopen' as const) }),
      );
      const model = new Map<string, Buffer>();
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
          const pending: Promise<void>[] = [];
          for (const step of operations) {
            if (step.type === 'set') pending.push(vault.set(step.key, step.value));
            else if (step.type === 'setSync') vault.setSync(step.key, step.value);
            else if (step.type === 'delete') pending.push(vault.delete(step.key));
            else if (step.type === 'batch')
              pending.push(vault.batch(step.keys.map((k) => ({ type: 'set', key: k, value: step.value }))));
            else await reopen();
            if (step.type === 'set' || step.type === 'setSync') model.set(step.key, Buffer.from(step.value));
            else if (step.type === 'delete') model.delete(step.key);
            else if (step.type === 'batch') for (const k of step.keys) model.set(k, Buffer.from(step.value));
          }
          await Promise.all(pending);
          const expected = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
          assert.deepEqual([...vault.entries()], expected);
          assert.equal(vault.size, model.size);
        }),
        { numRuns: 30 },
      );
    });
  });

  describe('increment', () => {
    it('begins at 0, gives the number after, and survives', async () => {
      assert.equal(await vault.increment('tokens', 12n), 12n);
      assert.equal(await vault.increment('tokens', -5n, { min: 0n }), 7n);
      await reopen();
      assert.equal(await vault.increment('tokens', 0n), 7n);
      assert.deepEqual([...(vault.get('tokens') ?? [])], [0, 0, 0, 0, 0, 0, 0, 7]);
    });

    it('is refused below min and above max and then unchanged', async () => {
      await vault.increment('tokens', 3n);
      await rejectsReason(vault.increment('tokens', -4n, { min: 0n }), 'below-minimum');
      await rejectsReason(vault.increment('tokens', 3n, { max: 5n }), 'above-maximum');
      assert.equal(await vault.increment('tokens', 2n, { min: 0n, max: 5n }), 5n);
    });

    it('never passes a bound, however many are in flight', async () => {
      const results = await Promise.allSettled(
        Array.from({ length: 100 }, () => vault.increment('pool', 1n, { max: 40n })),
      );
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 40);
      assert.equal(await vault.increment('pool', 0n), 40n);
    });

    it('keeps 64 bits with sign, and refuses what leaves them', async () => {
      const most = 2n ** 63n - 1n;
      assert.equal(await vault.increment('c', most), most);
      await rejectsReason(vault.increment('c', 1n), 'counter-overflow');
      assert.equal(await vault.increment('d', -(2n ** 63n)), -(2n ** 63n));
      await rejectsReason(vault.increment('e', 2n ** 63n), 'invalid-argument');
      await rejectsReason(vault.increment('e', 1n, { min: -(2n ** 64n) }), 'invalid-argument');
    });

    it('refuses a value that is no counter', async () => {
      await vault.set('text', Buffer.from('hello'));
      await rejectsReason(vault.increment('text', 1n), 'not-a-counter');
      assert.equal(text('text'), 'hello');
    });
  });

  describe('compareAndSet', () => {
    it('stores only over the expected value', async () => {
      const [a, b] = [Buffer.from('a'), Buffer.from('b')];
      assert.equal(await vault.compareAndSet('key', a, b), false);
      assert.equal(await vault.compareAndSet('key', undefined, a), true);
      assert.equal(await vault.compareAndSet('key', undefined, b), false);
      assert.equal(await vault.compareAndSet('key', a, b), true);
      assert.equal(text('key'), 'b');
      assert.equal(await vault.compareAndSet('key', a, undefined), false);
      assert.equal(await vault.compareAndSet('key', b, undefined), true);
      assert.equal(vault.has('key'), false);
    });

    it('one of many in flight wins', async () => {
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, i) => vault.compareAndSet('key', undefined, Buffer.from([i]))),
      );
      assert.deepEqual(
        results,
        results.map((_, i) => i === 0),
      );
    });

    it('an empty value is not an absent one', async () => {
      assert.equal(await vault.compareAndSet('key', Buffer.alloc(0), Buffer.from('x')), false);
      await vault.set('key', Buffer.alloc(0));
      assert.equal(await vault.compareAndSet('key', undefined, Buffer.from('x')), false);
      assert.equal(await vault.compareAndSet('key', Buffer.alloc(0), Buffer.from('x')), true);
    });
  });

  describe('batch', () => {
    it('does all of it in one commit, the last operation on a key counting', async () => {
      const before = store.status().generation;
      await vault.batch(
        [
          { type: 'set', key: 'a', value: Buffer.from('1') },
          { type: 'set', key: 'b', value: Buffer.from('2') },
          { type: 'delete', key: 'a' },
          { type: 'set', key: 'b', value: Buffer.from('3') },
        ],
        { durability: 'witnessed' },
      );
      assert.equal(store.status().generation, before + 1);
      assert.equal(vault.has('a'), false);
      assert.equal(text('b'), '3');
    });

    it('does nothing of it when one operation is wrong', async () => {
      const good = { type: 'set', key: 'good', value: Buffer.from('1') } as const;
      await rejectsReason(vault.batch([good, { type: 'delete', key: 'strongroom/x' }]), 'reserved-key');
      await rejectsReason(vault.batch([good, { type: 'delete', key: '' }]), 'invalid-key');
      await rejectsReason(vault.batch([good, { type: 'other' } as never]), 'invalid-argument');
      await rejectsReason(vault.batch([good, { type: 'set', key: 'x' } as never]), 'invalid-argument');
      await rejectsReason(vault.batch([good, null as never]), 'invalid-argument');
      assert.equal(vault.size, 0);
    });

    it('keeps to its limits', async () => {
      await vault.batch([]);
      const many = Array.from({ length: 65_536 }, (_, i) => ({ type: 'delete', key: `k${i}` }) as const);
      await vault.batch(many);
      await rejectsReason(vault.batch([...many, { type: 'delete', key: 'one more' }]), 'batch-too-large');
      const big = Buffer.alloc(16_777_216);
      const operations = ['a', 'b', 'c', 'd'].map((key) => ({ type: 'set', key, value: big }) as const);
      await rejectsReason(vault.batch(operations), 'batch-too-large');
    });
  });

  describe('entries and keys', () => {
    const keysOf = (range: Omit<KeyRange, 'keyEncoding'> = {}): string[] => [...vault.keys(range)];

    it('are ordered by bytes', async () => {
      // In UTF-16 the emoji would come before U+FF5E.
      const keys = ['a', 'a/1', 'aa', 'b', 'Z', '～', '😀', 'é'];
      await Promise.all(keys.map((key) => vault.set(key, Buffer.from(key))));
      const expected = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(keysOf(), expected);
      assert.deepEqual(keysOf({ reverse: true }), [...expected].reverse());
      for (const [key, value] of vault.entries()) assert.equal(value.toString(), key);
    });

    it('keep to prefix, bounds, limit and direction', async () => {
      const keys = Array.from({ length: 30 }, (_, i) => `k${String(i).padStart(2, '0')}`);
      await Promise.all([...keys, 'a', 'z'].map((key) => vault.set(key, Buffer.alloc(1))));
      assert.deepEqual(keysOf({ prefix: 'k' }), keys);
      assert.deepEqual(keysOf({ prefix: 'k1', limit: 3 }), ['k10', 'k11', 'k12']);
      assert.deepEqual(keysOf({ prefix: 'k1', reverse: true, limit: 2 }), ['k19', 'k18']);
      assert.deepEqual(keysOf({ gte: 'k05', lt: 'k08' }), ['k05', 'k06', 'k07']);
      assert.deepEqual(keysOf({ gt: 'k05', lte: 'k08' }), ['k06', 'k07', 'k08']);
      assert.deepEqual(keysOf({ gt: 'k05', gte: 'k05', lt: 'k07' }), ['k06']);
      assert.deepEqual(keysOf({ lte: 'k07', lt: 'k07', gte: 'k06' }), ['k06']);
      assert.deepEqual(keysOf({ prefix: 'k', gte: 'k28' }), ['k28', 'k29']);
      assert.deepEqual(keysOf({ prefix: Buffer.from('k2'), lt: 'k22' }), ['k20', 'k21']);
      assert.deepEqual(keysOf({ gte: 'k08', lt: 'k05' }), []);
      assert.deepEqual(keysOf({ gt: 'k05', lt: 'k05' }), []);
      assert.deepEqual(keysOf({ limit: 0 }), []);
      assert.equal(keysOf({ prefix: '' }).length, 32);
    });

    it('answer closed at the next step after close()', async () => {
      await vault.batch(['a', 'b', 'c'].map((key) => ({ type: 'set', key, value: Buffer.from(key) })));
      const begun = [vault.entries(), vault.keys(), vault.entries({ prefix: 'b', reverse: true })];
      for (const iterator of begun) assert.equal(iterator.next().done, false);
      const untouched = vault.keys();
      const closing = store.close();
      for (const iterator of [...begun, untouched]) {
        throwsReason(() => iterator.next(), 'closed');
        assert.equal(iterator.next().done, true);
      }
      await closing;
    });

    it('agree with a sorted list under any range', async () => {
      const bytes = fc.uint8Array({ minLength: 1, maxLength: 3, max: 255 });
      const all = fc.sample(bytes, 300).map((key) => Buffer.from(key));
      all.push(Buffer.from([255]), Buffer.from([255, 255]), Buffer.from([255, 0]));
      await vault.batch(all.map((key) => ({ type: 'set', key, value: key })));
      const sorted = [...new Map(all.map((key) => [key.toString('hex'), key])).values()].sort((a, b) =>
        Buffer.compare(a, b),
      );
      const bound = fc.option(bytes, { nil: undefined });
      fc.assert(
        fc.property(
          fc.record({ prefix: bound, gte: bound, gt: bound, lte: bound, lt: bound }),
          fc.boolean(),
          fc.option(fc.nat(20), { nil: undefined }),
          (bounds, reverse, limit) => {
            const holds = (key: Buffer): boolean =>
              (!bounds.prefix || key.subarray(0, bounds.prefix.length).equals(bounds.prefix)) &&
              (!bounds.gte || Buffer.compare(key, bounds.gte) >= 0) &&
              (!bounds.gt || Buffer.compare(key, bounds.gt) > 0) &&
              (!bounds.lte || Buffer.compare(key, bounds.lte) <= 0) &&
              (!bounds.lt || Buffer.compare(key, bounds.lt) < 0);
            const expected = sorted.filter(holds);
            if (reverse) expected.reverse();
            const given = Object.fromEntries(Object.entries(bounds).filter(([, value]) => value));
            const range = { ...given, reverse, ...(limit === undefined ? {} : { limit }) };
            const found = [...vault.entries({ ...range, keyEncoding: 'buffer' })];
            assert.deepEqual(
              found.map(([key]) => key.toString('hex')),
              expected.slice(0, limit).map((key) => key.toString('hex')),
            );
            for (const [key, value] of found) assert.ok(key.equals(value));
          },
        ),
        { numRuns: 300 },
      );
    });

    it('go on over chunks, in both directions, with values that are larger than a chunk', async () => {
      const keys = Array.from({ length: 2000 }, (_, i) => `k${String(i).padStart(6, '0')}`);
      await vault.batch(keys.map((key) => ({ type: 'set', key, value: Buffer.from(key.repeat(9)) })));
      await vault.set('k000500', Buffer.alloc(300_000, 5));
      assert.deepEqual(keysOf(), keys);
      assert.deepEqual(keysOf({ reverse: true }), [...keys].reverse());
      let count = 0;
      for (const [key, value] of vault.entries()) {
        assert.equal(key, keys[count++]);
        if (key === 'k000500') assert.equal(value.length, 300_000);
        else assert.equal(value.toString(), key.repeat(9));
      }
      assert.equal(count, keys.length);
    });

    it('may be changed under way: no key comes twice', async () => {
      const keys = Array.from({ length: 1000 }, (_, i) => `k${String(i).padStart(4, '0')}`);
      await vault.batch(keys.map((key) => ({ type: 'set', key, value: Buffer.alloc(100) })));
      const seen: string[] = [];
      for (const key of vault.keys()) {
        seen.push(key);
        if (seen.length % 100 === 0) vault.deleteSync(key);
      }
      assert.deepEqual(seen, keys);
      assert.equal(vault.size, 990);
    });

    it('give binary keys as bytes, and refuse to give them as text', async () => {
      await vault.set(Buffer.from([0xff, 0x00]), Buffer.from('x'));
      assert.deepEqual([...vault.keys({ keyEncoding: 'buffer' })], [Buffer.from([0xff, 0x00])]);
      throwsReason(() => [...vault.keys()], 'invalid-key');
    });

    it('never show the vault’s own records', async () => {
      await vault.set('strongroom', Buffer.from('not reserved'));
      await vault.set('strongroom0', Buffer.from('not reserved'));
      assert.deepEqual(keysOf(), ['strongroom', 'strongroom0']);
      assert.deepEqual(keysOf({ gte: 'strongroom/', reverse: true }), ['strongroom0']);
      assert.equal(vault.size, 2);
      throwsReason(() => keysOf({ prefix: 'strongroom/' }), 'reserved-key');
    });
  });

  it('reserved keys are refused by every method', async () => {
    const key = 'strongroom/storage-id';
    const value = Buffer.from('x');
    for (const reserved of [key, Buffer.from(key), 'strongroom/']) {
      throwsReason(() => vault.get(reserved), 'reserved-key');
      throwsReason(() => vault.has(reserved), 'reserved-key');
      throwsReason(() => {
        vault.setSync(reserved, value);
      }, 'reserved-key');
      throwsReason(() => {
        vault.deleteSync(reserved);
      }, 'reserved-key');
      await rejectsReason(vault.set(reserved, value), 'reserved-key');
      await rejectsReason(vault.delete(reserved), 'reserved-key');
      await rejectsReason(vault.increment(reserved, 1n), 'reserved-key');
      await rejectsReason(vault.compareAndSet(reserved, undefined, value), 'reserved-key');
      await rejectsReason(vault.batch([{ type: 'set', key: reserved, value }]), 'reserved-key');
    }
  });

  it('journal and witnessed operations in flight settle in the order of submission', async () => {
    const settled: number[] = [];
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        await vault.set('key', Buffer.from([i]), { durability: i % 3 === 0 ? 'witnessed' : 'journal' });
        settled.push(i);
      }),
    );
    for (const rest of [settled.filter((i) => i % 3 === 0), settled.filter((i) => i % 3 !== 0)]) {
      assert.deepEqual(
        rest,
        [...rest].sort((a, b) => a - b),
      );
    }
    assert.deepEqual([...vault.get('key')!], [199]);
  });

  it('a witnessed operation leaves no witness behind', async () => {
    await vault.set('key', Buffer.from('x'), { durability: 'witnessed' });
    const { witnesses, window, generation } = store.status();
    assert.deepEqual(
      witnesses.map((witness) => [witness.name, witness.generation]),
      [
        ['tamper-file', generation],
        ['secret-store', generation],
      ],
    );
    assert.deepEqual(window, { generations: 0, seconds: 0, waitingMs: 0, maxMs: 86_400_000 });
  });
});
