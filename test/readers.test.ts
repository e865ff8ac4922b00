// A store that stays open for reading while another process rotates, compacts and changes passwords.
import assert from 'node:assert/strict';

import type { OpenStore } from '../lib/store/open-store.js';
import { rejectsReason } from './support/errors.js';
import { quickKdf, World } from './support/stores.js';

const password = Buffer.from('correct horse');
const next = Buffer.from('battery staple');
const recovery = { password, kdf: quickKdf };

describe('a store that is open for reading', () => {
  let world: World;
  let writer: OpenStore;
  let reader: OpenStore;
  beforeEach(async () => {
    world = new World();
    writer = await world.open({ recovery });
    await writer.vault.set('key', Buffer.from('1'), { durability: 'witnessed' });
    reader = await world.open({ readOnly: true });
  });
  afterEach(() => world.closeAll());

  /** Everything that a reader can ask for, but the audit log. */
  async function readsOn(): Promise<void> {
    assert.equal(reader.vault.get('key')?.toString(), '1');
    assert.deepEqual([...reader.vault.keys()], ['key']);
    assert.equal(reader.status().dek.keyId, 1);
    assert.ok((await reader.verify()).records > 0);
  }

  it('answers locked for the audit log after a rotation, each time, until it is opened again', async () => {
    await writer.rotateDek({ password });
    for (let i = 0; i < 3; ++i) {
      const error = await rejectsReason(reader.auditLog(5), 'locked');
      assert.match(error.message, /replaced persistence\.bin .*; open it again/);
    }
    await readsOn();
    await writer.rotateDek({ password });
    await rejectsReason(reader.auditLog(5), 'locked');
    await reader.close();
    reader = await world.open({ readOnly: true });
    assert.equal((await reader.auditLog(1))[0]?.generation, writer.status().generation);
  });

  it('reads the audit log on beside compactions, password changes and days of commits', async () => {
    await writer.compact();
    await writer.changePassword(password, next);
    for (let i = 0; i < 5; ++i) {
      world.clock.advance(86_400_000);
      await writer.vault.set('key', Buffer.from('2'), { durability: 'witnessed' });
    }
    await writer.compact();
    assert.equal((await reader.auditLog(1))[0]?.generation, writer.status().generation);
    await readsOn();
  });

  it('proves the passwords that the store has now', async () => {
    const slot = await writer.changePassword(password, next);
    assert.equal(await reader.verifyPassword(next), slot);
    await rejectsReason(reader.verifyPassword(password), 'password-wrong');
  });
});
