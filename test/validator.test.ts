import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { PersistenceValidator } from '../lib/vault/validator.js';
import { makeCertificates } from './support/certificates.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { World } from './support/stores.js';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const value = Buffer.from('x');

describe('ValidateBeforeWrite', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  it('validates once for 10,000 writes within 60 s', async () => {
    const store = await world.open();
    for (let i = 0; i < 100; ++i) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => store.vault.set(`k${j}`, value)));
      world.clock.advance(599);
    }
    assert.equal(store.status().validations, 1);
  });

  it('validates again at 60 s of CLOCK_BOOTTIME, not before', async () => {
    const store = await world.open();
    await store.vault.set('key', value);
    world.clock.advance(minute - 1);
    await store.vault.set('key', value);
    assert.equal(store.validator.validations, 1);
    world.clock.advance(1);
    await store.vault.set('key', value);
    assert.equal(store.validator.validations, 2);
    world.clock.suspend(minute);
    await store.vault.set('key', value);
    assert.equal(store.validator.validations, 3);
  });

  it('moving the wall clock neither extends nor freezes the cache', async () => {
    const store = await world.open();
    await store.vault.set('key', value);
    world.clock.advanceWall(10 * minute);
    await store.vault.set('key', value);
    world.clock.advanceWall(-5 * minute);
    world.clock.advance(minute - 1);
    await store.vault.set('key', value);
    assert.equal(store.validator.validations, 1);
    world.clock.advance(1);
    await store.vault.set('key', value);
    assert.equal(store.validator.validations, 2);
  });

  it('guards every way to write, and a blocked write changes nothing', async () => {
    const store = await world.open();
    const { vault } = store;
    await vault.set('key', value);
    const { generation, head } = store.status();
    world.clock.advance(minute);
    world.clock.advanceWall(-hour);
    const blocked: [string, () => unknown][] = [
      ['set', () => vault.set('key', Buffer.from('y'))],
      ['delete', () => vault.delete('key')],
      ['increment', () => vault.increment('counter', 1n)],
      ['compareAndSet', () => vault.compareAndSet('key', value, undefined)],
      ['batch', () => vault.batch([{ type: 'delete', key: 'key' }])],
    ];
    for (const [, call] of blocked) {
      const error = await rejectsReason(call() as Promise<unknown>, 'clock-rolled-back');
      assert.equal(error.code, 'PERS_8003');
      assert.equal(error.retryable, true);
    }
    throwsReason(() => {
      vault.setSync('key', value);
    }, 'clock-rolled-back');
    throwsReason(() => {
      vault.deleteSync('key');
    }, 'clock-rolled-back');
    assert.equal(vault.get('key')?.toString(), 'x');
    assert.deepEqual([store.status().generation, store.status().head], [generation, head]);
    // Failures are not cached: each was validated; and it heals when the clock is right.
    assert.equal(store.validator.validations, 1 + blocked.length + 2);
    world.clock.advanceWall(hour);
    await vault.set('key', Buffer.from('y'));
  });

  it('guards the changes of keys and of the TLS credential', async () => {
    const one = makeCertificates();
    const store = await world.open();
    await store.tls.set(one);
    await store.keys.generate({ id: 'ca', algorithm: 'Ed25519', location: 'vault' });
    const { generation } = store.status();
    world.clock.advance(minute);
    world.clock.advanceWall(-hour);
    for (const call of [
      () => store.tls.set(makeCertificates()),
      () => store.tls.remove(),
      () => store.keys.generate({ id: 'other', algorithm: 'Ed25519', location: 'vault' }),
      () => store.keys.deactivate('ca', 'lost'),
      () => store.keys.remove('ca'),
    ]) {
      await rejectsReason(call(), 'clock-rolled-back');
    }
    assert.equal((await store.tls.certificate())?.certificate, one.certificate);
    assert.equal(store.status().generation, generation);
    world.clock.advanceWall(hour);
    await store.tls.remove();
  });

  it('a failure drops the cached success', () => {
    let nowMs = 0;
    let failing = false;
    const validator = new PersistenceValidator(
      {
        bootTimeMs: () => nowMs,
        validateBeforeWrite: () => {
          if (failing)
            throw Object.assign(new Error('blocked'), { reason: 'clock-rolled-back', systemError: 0 });
        },
      },
      'WARMSTART',
    );
    validator.validateBeforeWrite();
    nowMs = minute;
    failing = true;
    throwsReason(() => {
      validator.validateBeforeWrite();
    }, 'clock-rolled-back');
    nowMs = minute - 1;
    throwsReason(() => {
      validator.validateBeforeWrite();
    }, 'clock-rolled-back');
    failing = false;
    validator.validateBeforeWrite();
    validator.validateBeforeWrite();
    assert.equal(validator.validations, 4);
  });

  it('an alarm drops the cached success, refuses what follows, and leaves what waited with an unknown outcome', async () => {
    await (await world.open()).close();
    const store = await world.open();
    const file = join(
      world.secrets,
      readdirSync(world.secrets).find((name) => name.endsWith('.VaultHash'))!,
    );
    const older = readFileSync(file);
    await store.vault.set('key', value, { durability: 'witnessed' });
    const newest = readFileSync(file);
    assert.equal(store.validator.validations, 1);
    writeFileSync(file, older);
    const waiting = await rejectsReason(
      store.vault.set('key', value, { durability: 'witnessed' }),
      'witness-replaced',
    );
    assert.deepEqual([waiting.outcomeUnknown, waiting.committed], [true, undefined]);
    throwsReason(() => store.validator.validateBeforeWrite(), 'witness-replaced');
    const refused = await rejectsReason(store.vault.set('key', value), 'witness-replaced');
    assert.deepEqual([refused.outcomeUnknown, refused.committed], [undefined, undefined]);
    // What was put right counts again.
    writeFileSync(file, newest);
    await store.vault.anchor();
    await store.vault.set('key', value);
  });

  it('the bypass of a COLDSTART ends with the first commit, within the same process', async () => {
    let asked = 0;
    const source = { bootTimeMs: () => 0, validateBeforeWrite: () => ++asked };
    const validator = new PersistenceValidator(source, 'COLDSTART');
    validator.validateBeforeWrite();
    assert.equal(asked, 0);
    validator.endColdstart();
    validator.validateBeforeWrite();
    assert.equal(asked, 1);

    const store = await world.open();
    assert.equal(store.startup, 'COLDSTART');
    world.clock.advanceWall(-hour);
    await rejectsReason(store.vault.set('key', value), 'clock-rolled-back');
  });

  it('30 days in steps of an hour: every write passes', async () => {
    const store = await world.open();
    for (let elapsed = 0; elapsed < 30 * day; elapsed += hour) {
      world.clock.advance(hour);
      await store.vault.set('key', value);
    }
    await store.close();
    await (await world.open()).close();
  });

  it('8 days suspended, and 30 days idle but for the timer: the write passes', async () => {
    const store = await world.open();
    await store.vault.set('key', value);
    world.clock.suspend(8 * day);
    await store.vault.set('key', value);
    for (let elapsed = 0; elapsed < 30 * day; elapsed += hour) {
      world.clock.advance(hour);
      await world.newestService().opened.timeRefresh.refresh();
    }
    assert.equal(store.status().time.stampMs, world.clock.wallMs());
    await store.vault.set('key', value);
    await store.close();
    // 6 d 23 h 59 min later it opens, with a stamp of then.
    world.clock.advance(7 * day - minute);
    await (await world.open()).close();
  });

  it('a store that was closed for more than 7 days is stale', async () => {
    await (await world.open()).close();
    world.clock.advance(7 * day + 1000);
    const error = await rejectsReason(world.open(), 'state-stale');
    assert.equal(error.code, 'PERS_8003');
  });
});
