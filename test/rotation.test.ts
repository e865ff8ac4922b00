// The rotation of the data encryption key through the library. What a crash or an older file does is shown in
// test/native/store/operations/dek_rotation_test.cc.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Forge } from './acceptance/forge.js';
import { rejectsReason } from './support/errors.js';
import { quickKdf, World } from './support/stores.js';

const password = Buffer.from('correct horse');
const recovery = { password, kdf: quickKdf };

function files(directory: string): Map<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return new Map(entries.map((e) => [e.name, readFileSync(join(e.parentPath, e.name), 'hex')]));
}

describe('rotateDek', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  it('seals everything anew while the store is in use, and tells how far it is', async () => {
    let store = await world.open({ recovery });
    for (let i = 0; i < 300; ++i) await store.vault.set(`key ${i.toString()}`, Buffer.from(i.toString()));
    assert.deepEqual(store.status().dek, { keyId: 1, rotation: 'complete', formerFieldKeys: 0 });
    const reports: [number, number][] = [];
    const rotating = store.rotateDek({ password, onProgress: (done, all) => reports.push([done, all]) });
    const writes = Array.from({ length: 50 }, (_, i) =>
      store.vault.set(`beside ${i.toString()}`, Buffer.from('x')),
    );
    assert.equal(store.vault.get('key 7')?.toString(), '7');
    await Promise.all([rotating, ...writes]);
    assert.deepEqual(store.status().dek, { keyId: 2, rotation: 'complete', formerFieldKeys: 1 });
    const [done, all] = reports.at(-1) ?? [0, 1];
    assert.equal(done, all);
    await store.verify();
    await store.close();

    store = await world.open();
    assert.equal(store.vault.get('key 299')?.toString(), '299');
    assert.equal(store.vault.get('beside 49')?.toString(), 'x');
    assert.equal(store.status().dek.keyId, 2);
    const log = await store.auditLog();
    assert.equal(log.filter(({ operation }) => operation === 'rotation').length, 4);
    await store.close();
  });

  it('changes nothing with a wrong, a missing or a badly given password', async () => {
    const store = await world.open({ recovery });
    const before = files(world.root);
    await rejectsReason(store.rotateDek({ password: Buffer.from('wrong') }), 'password-wrong');
    await rejectsReason(store.rotateDek(), 'password-missing');
    await rejectsReason(store.rotateDek({ password: 'text' as never }), 'invalid-argument');
    await rejectsReason(store.rotateDek({ unknown: 1 } as never), 'invalid-option');
    await rejectsReason(store.rotateDek({ forgetFieldKeys: 1 } as never), 'invalid-option');
    assert.deepEqual(files(world.root), before);
    await store.close();
    await rejectsReason(store.rotateDek({ password }), 'closed');
  });

  it('needs no password where there is none', async () => {
    const store = await world.open();
    await store.rotateDek();
    assert.equal(store.status().dek.keyId, 2);
    await store.close();
  });

  // By another implementation of the formats, in the hands of somebody who has the root key and every file.
  it('leaves nothing that the DEK of an old persistence.bin opens', async () => {
    const persistence = join(world.directory, 'persistence.bin');
    const store = await world.open({ recovery });
    await store.vault.set('seats', Buffer.from('12'));
    const old = readFileSync(persistence);
    const former = new Forge(world.directory, world.secrets).dek;
    await store.rotateDek({ password });
    await store.close();

    const now = new Forge(world.directory, world.secrets);
    assert.notDeepEqual(now.dek, former);
    assert.equal(now.readVault().records.get('seats')?.toString(), '12');
    assert.equal(now.witnessedPoint().generation, now.readVault().generation);
    const present = readFileSync(persistence);
    writeFileSync(persistence, old);
    const before = new Forge(world.directory, world.secrets);
    assert.deepEqual(before.dek, former);
    assert.throws(() => before.readVault(), /authenticate/);
    assert.throws(() => before.witnessedPoint(), /authenticate/);
    assert.throws(() => before.witnessedStamp(), /authenticate/);
    await rejectsReason(world.open(), 'persistence-rolled-back');
    writeFileSync(persistence, present);
    await (await world.open()).close();
  });

  it('keeps sealed fields readable, seals new ones under the new key, and lets go of keys when told to', async () => {
    const store = await world.open({ recovery });
    const options = { context: Buffer.from('table/column/row') };
    const sealed = store.fields.seal(Buffer.from('value'), options);
    assert.equal(store.fields.needsRotation(sealed), false);
    await store.rotateDek({ password });
    assert.equal(store.fields.needsRotation(sealed), true);
    const anew = store.fields.seal(store.fields.open(sealed, options), options);
    assert.equal(store.fields.needsRotation(anew), false);
    await store.rotateDek({ password, forgetFieldKeys: true });
    assert.equal(store.fields.open(anew, options).toString(), 'value');
    assert.throws(() => store.fields.open(sealed, options), { reason: 'field-key-unknown' });
    assert.equal(store.status().dek.formerFieldKeys, 1);
    await store.close();
  });
});
