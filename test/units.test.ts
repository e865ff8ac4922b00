// Sizes and durations for people, and what an error without a repetition says.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { workAndClose } from '../lib/cli/store.js';
import { isPersistenceError, PersistenceError } from '../lib/errors.js';
import { durationText, limitText, sizeText, waitText } from '../lib/base/units.js';
import { rejectsReason } from './support/errors.js';
import { World } from './support/stores.js';

describe('units', () => {
  it('durations have their two largest units', () => {
    assert.deepEqual([0, 999, 1000, 61_000, 3_600_000, 90_061_000, 604_800_000].map(durationText), [
      '0 ms',
      '999 ms',
      '1 s',
      '1 min 1 s',
      '1 h',
      '1 d 1 h',
      '7 d',
    ]);
  });

  it('a limit loses nothing, and a wait is never told too short', () => {
    assert.deepEqual([0.5, 250, 1500, 90_000, 120_000, 3_661_500, 604_800_000].map(limitText), [
      '0.5 ms',
      '250 ms',
      '1 s 500 ms',
      '1 min 30 s',
      '2 min',
      '1 h 1 min 1 s 500 ms',
      '7 d',
    ]);
    assert.deepEqual([1, 1000, 90_001].map(waitText), ['1 s', '1 s', '1 min 31 s']);
  });

  it('sizes are in bytes, KiB and MiB', () => {
    assert.deepEqual([1023, 1536, 22 * 1024 * 1024].map(sizeText), ['1023 B', '1.5 KiB', '22 MiB']);
  });
});

describe('a witness that does not move', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());
  const obstruct = (): void => {
    mkdirSync(join(world.secrets, 'test.VaultHash.new'));
  };

  it('is told as nothing to repeat where nothing was done: at anchor() and at a close', async () => {
    const store = await world.open();
    await store.vault.set('key', Buffer.from('value'));
    obstruct();
    for (const call of [() => store.anchor(), () => store.close()]) {
      const error = await rejectsReason(call(), 'witness-not-moved');
      assert.equal(error.committed, undefined);
      assert.doesNotMatch(error.remedy, /Do not repeat/);
      assert.match(error.remedy, /nothing to repeat/);
    }
  });

  it('is told as done where something was', async () => {
    const store = await world.open();
    obstruct();
    const error = await rejectsReason(
      store.vault.set('key', Buffer.from('value'), { durability: 'witnessed' }),
      'witness-not-moved',
    );
    assert.equal(error.committed, true);
    assert.match(error.remedy, /^Do not repeat/);
  });

  it('at the close of a command that changed the store is committed, and of one that did not is not', async () => {
    for (const changes of [true, false]) {
      const other = new World();
      const store = await other.open();
      const act = async (): Promise<void> => {
        await store.vault.increment('tokens', 5n);
        mkdirSync(join(other.secrets, 'test.VaultHash.new'));
      };
      await assert.rejects(workAndClose(store, act, { changes }), (error) => {
        assert.ok(isPersistenceError(error));
        assert.equal(error.reason, 'witness-not-moved');
        assert.equal(error.committed, changes ? true : undefined);
        assert.equal(error.remedy.startsWith('Do not repeat'), changes);
        return true;
      });
      await other.closeAll();
    }
  });

  it('a remedy can be chosen by the place', () => {
    assert.equal(new PersistenceError('io-error', 'x', { remedy: 'Do this.' }).remedy, 'Do this.');
  });
});
