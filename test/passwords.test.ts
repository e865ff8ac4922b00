// Several backup passwords through the library. What a crash or an older file does is shown in
// test/native/store/operations/passwords_test.cc and store/crash_test.cc.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Persistence } from '../lib/index.js';
import { rejectsReason } from './support/errors.js';
import { quickKdf, World } from './support/stores.js';

const alice = Buffer.from('correct horse');
const bob = Buffer.from('battery staple');
const recovery = { password: alice, kdf: quickKdf };

const passwords = (store: Persistence): (readonly [number, string | undefined])[] =>
  store
    .status()
    .keySlots.flatMap(({ id, type, label }) => (type === 'password' ? [[id, label] as const] : []));

describe('backup passwords', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  it('are added with a label, tell their slot, and stand in status() and inspect()', async () => {
    const store = await world.open({ recovery });
    assert.deepEqual(store.status().keySlots, [
      { id: 1, type: 'software', label: undefined },
      { id: 2, type: 'password', label: undefined },
    ]);
    assert.equal(await store.addPassword(alice, bob, { label: 'Bob’s safe' }), 3);
    assert.deepEqual(passwords(store), [
      [2, undefined],
      [3, 'Bob’s safe'],
    ]);
    assert.equal(await store.verifyPassword(alice), 2);
    assert.equal(await store.verifyPassword(() => Promise.resolve(bob)), 3);
    await store.close();
    assert.deepEqual(passwords(store), [
      [2, undefined],
      [3, 'Bob’s safe'],
    ]);
    const { keySlots } = await world.inspect();
    assert.deepEqual(keySlots[2], { id: 3, type: 'password', label: 'Bob’s safe' });
  });

  it('are changed one by one; the label stays unless another is given', async () => {
    const store = await world.open({ recovery });
    await store.addPassword(alice, bob, { label: 'bob' });
    const next = Buffer.from('another horse');
    assert.equal(await store.changePassword(bob, next), 4);
    assert.deepEqual(passwords(store)[1], [4, 'bob']);
    assert.equal(await store.changePassword(next, next, { label: 'second safe' }), 5);
    assert.deepEqual(passwords(store)[1], [5, 'second safe']);
    await rejectsReason(store.changePassword(next, alice), 'invalid-argument');
    assert.equal(await store.verifyPassword(alice), 2);
  });

  it('whose change could not be written to the end are of unknown outcome, and the next start shows them', async () => {
    let store = await world.open({ recovery });
    const inTheWay = join(world.directory, 'persistence.bin.new');
    mkdirSync(inTheWay);
    const error = await rejectsReason(store.changePassword(alice, bob), 'unsafe-path');
    assert.deepEqual([error.outcomeUnknown, error.committed, error.retryable], [true, undefined, false]);
    assert.match(error.message, /the change may still take effect: open the store again/);
    rmdirSync(inTheWay);
    await store.close();
    store = await world.open();
    const works = await Promise.all(
      [alice, bob].map((each) =>
        store.verifyPassword(each).then(
          () => true,
          () => false,
        ),
      ),
    );
    assert.equal(works.filter(Boolean).length, 1);
  });

  it('are removed by another one; the last one stays, and an older persistence.bin is refused', async () => {
    const store = await world.open({ recovery });
    await store.addPassword(alice, bob);
    const file = join(world.directory, 'persistence.bin');
    const before = readFileSync(file);
    await rejectsReason(store.removePassword(bob, 3), 'invalid-argument');
    await store.removePassword(bob, 2);
    await rejectsReason(store.verifyPassword(alice), 'password-wrong');
    await rejectsReason(store.removePassword(bob, 3), 'invalid-argument');
    assert.equal(await store.addPassword(bob, alice), 4);
    await store.removePassword(bob, 4);
    assert.equal(await store.addPassword(bob, alice), 5, 'no id comes back');
    await store.close();
    const now = readFileSync(file);
    writeFileSync(file, before);
    await rejectsReason(world.open(), 'persistence-rolled-back');
    writeFileSync(file, now);
    await (await world.open()).close();
  });

  it('have the authority of each other', async () => {
    const store = await world.open({ recovery });
    await store.vault.set('seats', Buffer.from('12'));
    await store.addPassword(alice, bob);
    await store.close();
    for (const name of readdirSync(world.secrets)) rmSync(join(world.secrets, name));
    await rejectsReason(world.open(), 'root-unavailable');
    const recovered = await world.perform('recover', { password: bob });
    assert.equal(recovered.vault.get('seats')?.toString(), '12');
    assert.equal(await recovered.verifyPassword(alice), 2);
    await recovered.close();
    await world.decommission({ password: alice });
    assert.equal((await world.open()).startup, 'COLDSTART');
  });

  it('of a rotation only the given one stays, and only when that was said', async () => {
    const store = await world.open({ recovery });
    await store.addPassword(alice, bob);
    const { message } = await rejectsReason(store.rotateDek({ password: bob }), 'invalid-option');
    assert.match(message, /removeOtherPasswords/);
    await rejectsReason(store.rotateDek({ removeOtherPasswords: 1 } as never), 'invalid-option');
    assert.equal(store.status().dek.keyId, 1);
    await store.rotateDek({ password: bob, removeOtherPasswords: true });
    assert.equal(store.status().dek.keyId, 2);
    assert.equal(passwords(store).length, 1);
    await rejectsReason(store.verifyPassword(alice), 'password-wrong');
    await store.addPassword(bob, alice);
  });

  it('cannot be got by a store that was made without one', async () => {
    const store = await world.open();
    await rejectsReason(store.addPassword(alice, bob), 'password-missing');
    assert.equal(store.status().rewindableBy, 'no-one');
  });

  it('what is wrong is named, and changes nothing', async () => {
    const store = await world.open({ recovery });
    const { generation } = store.status();
    await rejectsReason(store.addPassword(bob, bob), 'password-wrong');
    await rejectsReason(store.addPassword(alice, alice), 'invalid-argument');
    await rejectsReason(store.addPassword(alice, new Uint8Array()), 'invalid-argument');
    await rejectsReason(store.addPassword(alice, undefined as never), 'invalid-argument');
    await rejectsReason(store.addPassword('text' as never, bob), 'invalid-argument');
    for (const label of ['x'.repeat(65), 'a\nb', '\ud800', 5] as string[]) {
      await rejectsReason(store.addPassword(alice, bob, { label }), 'invalid-option');
      await rejectsReason(store.changePassword(alice, bob, { label }), 'invalid-option');
    }
    await rejectsReason(store.addPassword(alice, bob, { name: 'bob' } as never), 'invalid-option');
    for (const slot of [0, -1, 1.5, 2 ** 32, Number.NaN, '2', undefined] as number[]) {
      await rejectsReason(store.removePassword(alice, slot), 'invalid-argument');
    }
    for (const slot of [1, 2, 7]) await rejectsReason(store.removePassword(alice, slot), 'invalid-argument');
    await rejectsReason(store.removePassword(undefined as never, 2), 'invalid-argument');
    assert.equal(store.status().generation, generation);
    await store.close();
    await rejectsReason(store.addPassword(alice, bob), 'closed');
    await rejectsReason(store.removePassword(alice, 2), 'closed');
  });
});
