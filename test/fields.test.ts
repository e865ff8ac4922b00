// Sealed fields: what opens, what does not and what is said of it, limits, and other stores.
import assert from 'node:assert/strict';

import fc from 'fast-check';

import { fieldOverheadBytes, type Fields } from '../lib/keys/fields.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { World } from './support/stores.js';

describe('fields', () => {
  let world: World;
  let store: OpenStore;
  let fields: Fields;

  beforeEach(async () => {
    world = new World();
    store = await world.open();
    ({ fields } = store);
  });
  afterEach(() => world.closeAll());

  const context = 'users/4711/iban';
  const text = Buffer.from('DE02 1203 0000 0000 2020 51');

  it('opens what it sealed, also after a restart, a compaction and in a store opened for reading', async () => {
    const sealed = fields.seal(text, { context });
    assert.equal(sealed.length, text.length + fieldOverheadBytes);
    assert.ok(!sealed.includes(text.subarray(0, 8)));
    assert.deepEqual(fields.open(sealed, { context }), text);
    await store.vault.set('k', Buffer.from('v'));
    await store.compact();
    await store.close();
    store = await world.open();
    assert.deepEqual(store.fields.open(sealed, { context }), text);
    const reader = await world.open({ readOnly: true });
    assert.deepEqual(reader.fields.open(sealed, { context }), text);
    const other = reader.fields.seal(text, { context });
    assert.deepEqual(store.fields.open(other, { context }), text);
  });

  it('takes any bytes and any context', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 5000 }),
        fc.oneof(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.uint8Array({ maxLength: 1024 })),
        (plaintext, where) => {
          const sealed = fields.seal(plaintext, { context: where });
          assert.equal(sealed.length, plaintext.length + 41);
          assert.deepEqual(new Uint8Array(fields.open(sealed, { context: where })), plaintext);
          if (typeof where === 'string') {
            assert.deepEqual(new Uint8Array(fields.open(sealed, { context: Buffer.from(where) })), plaintext);
          }
        },
      ),
    );
  });

  it('goes up to 1 MiB and 1,024 bytes of context, and names the limit', () => {
    const large = Buffer.alloc(1_048_576, 7);
    const where = Buffer.alloc(1024, 1);
    assert.deepEqual(fields.open(fields.seal(large, { context: where }), { context: where }), large);
    assert.match(
      throwsReason(() => fields.seal(Buffer.alloc(1_048_577), { context }), 'invalid-argument').message,
      /1,048,576/,
    );
    for (const long of [Buffer.alloc(1025), 'x'.repeat(1025), 'é'.repeat(513), '😀'.repeat(100_000)]) {
      const sealed = fields.seal(text, { context });
      for (const call of [
        () => fields.seal(text, { context: long }),
        () => fields.open(sealed, { context: long }),
      ]) {
        assert.match(throwsReason(call, 'invalid-argument').message, /1,024/);
      }
    }
    assert.equal(fields.open(fields.seal(Buffer.alloc(0), { context: '' }), { context: '' }).length, 0);
  });

  it('says one thing of another context, of every flipped bit and of every cut', () => {
    const sealed = fields.seal(text, { context });
    const messages = new Set<string>();
    const refused = (bytes: Uint8Array, where: string | Uint8Array): void => {
      messages.add(throwsReason(() => fields.open(bytes, { context: where }), 'field-not-authentic').message);
    };
    for (const where of ['', 'users/4711/ibaN', 'users/4711/iban\0', 'users/4712/iban'])
      refused(sealed, where);
    for (let bit = 0; bit < sealed.length * 8; ++bit) {
      const byte = bit >> 3;
      const changed = Buffer.from(sealed);
      changed[byte]! ^= 1 << (bit & 7);
      // The key id stands in the open: another one names a key that the store does not have.
      if (byte >= 1 && byte < 5) throwsReason(() => fields.open(changed, { context }), 'field-key-unknown');
      else refused(changed, context);
    }
    for (let size = 0; size < sealed.length; ++size) refused(sealed.subarray(0, size), context);
    refused(Buffer.concat([sealed, Buffer.alloc(1)]), context);
    refused(Buffer.alloc(2_000_000, 1), context);
    assert.equal(messages.size, 1);
    const { code, retryable } = throwsReason(
      () => fields.open(sealed, { context: '' }),
      'field-not-authentic',
    );
    assert.deepEqual([code, retryable], ['PERS_8002', false]);
  });

  it('does not open the fields of another store', async () => {
    const sealed = fields.seal(text, { context });
    const elsewhere = new World();
    try {
      const other = await elsewhere.open();
      throwsReason(() => other.fields.open(sealed, { context }), 'field-not-authentic');
    } finally {
      await elsewhere.closeAll();
    }
  });

  it('tells the key id without opening, and whether the field should be sealed anew', () => {
    const sealed = fields.seal(text, { context });
    assert.equal(fields.keyId(sealed), 1);
    assert.equal(fields.needsRotation(sealed), false);
    const foreign = Buffer.from(sealed);
    foreign.writeUInt32LE(7, 1);
    assert.equal(fields.keyId(foreign), 7);
    throwsReason(() => fields.needsRotation(foreign), 'field-key-unknown');
    for (const call of [() => fields.keyId(Buffer.alloc(40)), () => fields.needsRotation(Buffer.alloc(0))]) {
      throwsReason(call, 'field-not-authentic');
    }
  });

  it('seals the same bytes differently each time, in every opening', async () => {
    const seen = new Set<string>();
    for (let opening = 0; opening < 3; ++opening) {
      for (let i = 0; i < 200; ++i)
        seen.add(store.fields.seal(text, { context }).subarray(5, 25).toString('hex'));
      await store.close();
      store = await world.open();
    }
    assert.equal(seen.size, 600);
  });

  it('copies: neither argument nor result is shared', () => {
    const plaintext = Buffer.from('before');
    const sealed = fields.seal(plaintext, { context });
    plaintext.fill(0);
    const opened = fields.open(sealed, { context });
    assert.equal(opened.toString(), 'before');
    opened.fill(0);
    assert.equal(fields.open(sealed, { context }).toString(), 'before');
  });

  it('refuses wrong types, whatever they pretend', () => {
    class Liar extends Uint8Array {
      override get length(): number {
        return 3;
      }
    }
    const shared = new Uint8Array(new SharedArrayBuffer(8));
    for (const wrong of [
      undefined,
      null,
      'text',
      7,
      {},
      [1],
      new ArrayBuffer(8),
      new Uint16Array(4),
      shared,
    ]) {
      throwsReason(() => fields.seal(wrong as never, { context }), 'invalid-argument');
      throwsReason(() => fields.open(wrong as never, { context }), 'invalid-argument');
      throwsReason(() => fields.keyId(wrong as never), 'invalid-argument');
    }
    throwsReason(() => fields.seal(new Liar(100), { context }), 'invalid-argument');
    throwsReason(() => fields.open(new Liar(100), { context }), 'field-not-authentic');
    for (const wrong of [undefined, null, 7, {}, [], new ArrayBuffer(8), shared, '\ud800']) {
      throwsReason(() => fields.seal(text, { context: wrong as never }), 'invalid-argument');
    }
    for (const options of [undefined, null, 'context']) {
      throwsReason(() => fields.seal(text, options as never), 'invalid-argument');
    }
    throwsReason(() => fields.seal(text, { context, keyId: 2 } as never), 'invalid-option');
  });

  it('answers closed after close and not-open before', async () => {
    const sealed = fields.seal(text, { context });
    const service = world.service();
    throwsReason(() => service.opened, 'not-open');
    const closing = store.close();
    throwsReason(() => fields.seal(text, { context }), 'closed');
    await closing;
    throwsReason(() => fields.open(sealed, { context }), 'closed');
    throwsReason(() => fields.keyId(sealed), 'closed');
    await rejectsReason(store.anchor(), 'closed');
  });
});
