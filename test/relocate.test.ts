// relocate(): the SecretStore was moved, and persistence.bin is to name its new place.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { OpenOptions } from '../lib/store/open-options.js';
import { rejectsReason } from './support/errors.js';
import { HsmWorld } from './support/softhsm.js';
import { quickKdf, World } from './support/stores.js';

const password = Buffer.from('correct horse battery staple');

describe('relocate', function () {
  this.timeout(60_000);
  let world: World;
  let moved: string;
  let there: Partial<OpenOptions>;
  beforeEach(async () => {
    world = new World();
    moved = join(world.root, 'moved secrets');
    there = { secretStore: { type: 'file', directory: moved } };
    const store = await world.open({ recovery: { password, kdf: quickKdf } });
    await store.vault.set('key', Buffer.from('value'));
    await store.close();
  });
  afterEach(() => world.closeAll());
  /** As a caller that leaves the place to persistence.bin. */
  const asNamed = { secretStore: undefined } as object;

  it('without it a moved SecretStore is named at each start, and with it no more', async () => {
    renameSync(world.secrets, moved);
    const lost = await rejectsReason(world.open(asNamed), 'root-unavailable');
    assert.match(lost.remedy, /--secret-store/);
    await (await world.open(there)).close();
    await rejectsReason(world.open(asNamed), 'root-unavailable');
    const store = await world.open(there);
    await store.relocate();
    await store.vault.set('after', Buffer.from('x'));
    await store.close();
    const next = await world.open(asNamed);
    assert.equal(next.vault.get('key')?.toString(), 'value');
    assert.deepEqual(next.status().secretStore, { type: 'file', directory: moved });
    await next.verify();
    await next.rotateDek({ password });
    await next.close();
    await (await world.open(asNamed)).close();
  });

  it('recover says what opens the store, and that relocate writes it down', async () => {
    renameSync(world.secrets, moved);
    const error = await rejectsReason(world.perform('recover', { password }, there), 'nothing-to-do');
    assert.match(error.message, /relocate/);
    // A root that is lost is still recovered.
    rmSync(moved, { recursive: true });
    await (await world.perform('recover', { password }, there)).close();
  });

  it('is refused while the named place still holds the items, and then changes nothing', async () => {
    cpSync(world.secrets, moved, { recursive: true });
    const store = await world.open(there);
    const before = readFileSync(join(world.directory, 'persistence.bin'));
    const error = await rejectsReason(store.relocate(), 'invalid-option');
    assert.ok(
      error.message.includes(`file:${world.secrets}, which persistence.bin names, still holds items`),
    );
    assert.deepEqual(readFileSync(join(world.directory, 'persistence.bin')), before);
    // One witness is enough.
    rmSync(join(world.secrets, 'test.RootKey'));
    rmSync(join(world.secrets, 'test.TimeTamper'));
    await rejectsReason(store.relocate(), 'invalid-option');
    rmSync(world.secrets, { recursive: true });
    await store.relocate();
    await store.close();
    await (await world.open(asNamed)).close();
  });

  it('the file that names the former place is not accepted afterwards', async () => {
    const file = join(world.directory, 'persistence.bin');
    renameSync(world.secrets, moved);
    const before = readFileSync(file);
    const store = await world.open(there);
    await store.relocate();
    await store.close();
    const after = readFileSync(file);
    writeFileSync(file, before);
    await rejectsReason(world.open(there), 'persistence-rolled-back');
    writeFileSync(file, after);
    await (await world.open(asNamed)).close();
  });

  it('is the same for a store in a token', async () => {
    const hsm = new HsmWorld();
    try {
      await hsm.make();
      await hsm.makeStore();
      const elsewhere = join(hsm.root, 'moved secrets');
      renameSync(hsm.secrets, elsewhere);
      const store = await hsm.open({ secretStore: { type: 'file', directory: elsewhere } });
      await store.relocate();
      await store.vault.set('after', Buffer.from('x'));
      await store.close();
      const next = await hsm.open(asNamed);
      assert.ok(next.vault.has('after'));
      await next.verify();
      await next.rotateKek();
      await next.close();
      assert.deepEqual((await hsm.open(asNamed)).status().secretStore, {
        type: 'file',
        directory: elsewhere,
      });
    } finally {
      await hsm.closeAll();
    }
  });

  it('there is nothing to do where the place is named already, and a reader may not', async () => {
    const store = await world.open();
    await rejectsReason(store.relocate(), 'nothing-to-do');
    await store.close();
    const reader = await world.open({ readOnly: true });
    await rejectsReason(reader.relocate(), 'read-only');
  });
});
