// The rows of time, with a clock that the test moves: age, rollback, refresh, and the cache of validation.
import assert from 'node:assert/strict';

import { rejectsReason, throwsReason } from '../support/errors.js';
import { day, hour, minute, password, Place, text, trace } from './support.js';

describe('acceptance: time', () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.closeAll());

  describe('`ValidateTimeTamperAge()`', () => {
    it('`ValidateTimeTamperAge()`: 6 d 23 h 59 min passes; 7 d + 1 s is PERS_8003 state-stale, cured by reanchor', async () => {
      await place.made();
      place.clock.reboot(6 * day + 23 * hour + 59 * minute);
      await place.visit();
      place.clock.reboot(7 * day + 1000);
      const error = await place.refused('state-stale');
      assert.deepEqual([error.code, error.retryable], ['PERS_8003', true]);
      const store = await place.perform('reanchor', { password });
      assert.equal(text(store.vault.get('seats/1')), 'value 1');
      await store.close();
      await place.visit();
    });

    it("`ValidateTimeTamperAge()`: the age is a policy fixed at COLDSTART; 'off' is shown and lasts", async () => {
      const options = { maxAge: 'off' } as const;
      const store = await place.open(options);
      assert.equal(store.status().time.maxAgeMs, 'off');
      await store.close();
      place.clock.reboot(3000 * day);
      await place.visit((again) => assert.equal(again.status().time.maxAgeMs, 'off'));
      await place.refused('invalid-option', () => place.open({ maxAgeMs: day }));

      const strict = new Place();
      await (await strict.open({ maxAgeMs: hour })).close();
      await strict.refused('invalid-option', () => strict.open({ maxAge: 'off' }));
      strict.clock.reboot(hour + 1000);
      await strict.refused('state-stale');
    });

    it('`ValidateTimeTamperAge()`: a malformed stamp is PERS_8003, in the vault and in the SecretStore', async () => {
      await place.made();
      const whole = place.snapshot();
      const good = place.forge().readVault().records.get('strongroom/time-tamper')!;
      const changes: ((stamp: Buffer) => unknown)[] = [
        (stamp) => (stamp[0] = 2),
        (stamp) => (stamp[3] = 1),
        (stamp) => stamp.writeBigInt64LE(-1n, 8),
        (stamp) => stamp.writeBigInt64LE(300_000_000_000_000n, 8),
        (stamp) => stamp.writeBigUInt64LE(2n ** 63n, 40),
      ];
      for (const change of changes) {
        place.restore(whole);
        const stamp = Buffer.from(good);
        change(stamp);
        place.forge().appendCommit([['strongroom/time-tamper', stamp]]);
        assert.equal((await place.refused('time-tamper-invalid')).code, 'PERS_8003');
        place.restore(whole);
        place.forge().rewriteWitnessedStamp(change);
        assert.equal((await place.refused('time-tamper-invalid')).code, 'PERS_8003');
      }
      place.restore(whole);
      place.forge().appendCommit([['strongroom/time-tamper', good.subarray(0, 40)]]);
      await place.refused('time-tamper-invalid');
    });

    it('`ValidateTimeTamperAge()`: a stamp in the future is PERS_8003 clock-rolled-back, retryable; the store opens once the clock is right', async () => {
      await place.made();
      const right = place.clock.wallMs();
      for (const back of [121_000, hour, 400 * day]) {
        place.clock.setWall(right - back);
        const error = await place.refused('clock-rolled-back');
        assert.deepEqual([error.code, error.retryable], ['PERS_8003', true]);
      }
      place.clock.setWall(right);
      await place.visit();
    });

    it('`ValidateTimeTamperAge()`: TIME_TAMPER absent after the first commit is PERS_8003', async () => {
      await place.made();
      place.forge().appendCommit([['strongroom/time-tamper', undefined]]);
      assert.equal((await place.refused('time-tamper-invalid')).code, 'PERS_8003');
    });

    it('`ValidateTimeTamperAge()`: one boot in 2099 does no lasting harm', async () => {
      await place.made();
      const right = place.clock.wallMs();
      place.clock.reboot(0);
      place.clock.setWall(Date.UTC(2099, 0, 1));
      const outcome = await place.open().then(
        (store) => store.close().then(() => 'ignored'),
        () => 'refused',
      );
      assert.equal(outcome, 'refused', 'it looks as if the machine had been off for decades');
      place.clock.reboot(0);
      place.clock.setWall(right + minute);
      await place.visit();

      // A store without a limit of age opens in 2099, and is not poisoned by it either.
      const ageless = new Place();
      await (await ageless.open({ maxAge: 'off' })).close();
      ageless.clock.reboot(0);
      ageless.clock.setWall(Date.UTC(2099, 0, 1));
      await ageless.visit(({ vault }) => vault.set('key', Buffer.from('2099'), { durability: 'witnessed' }));
      ageless.clock.reboot(0);
      ageless.clock.setWall(right + minute);
      await ageless.visit(async (store) => {
        assert.equal(text(store.vault.get('key')), '2099');
        await store.vault.set('key', Buffer.from('now'));
      });
    });
  });

  describe('SecretStore rollback check', () => {
    it('SecretStore rollback check: OS time earlier than the stored time by more than the tolerance is PERS_8003', async () => {
      await place.made();
      const right = place.clock.wallMs();
      place.clock.setWall(right - 119_000);
      await place.visit();
      place.clock.setWall(right - 121_000);
      await place.refused('clock-rolled-back');
      // The witness alone knows the later time: the vault is of before.
      place.clock.setWall(right);
      await place.visit();
      place.forge().rewriteWitnessedStamp((stamp) => stamp.writeBigInt64LE(BigInt(right + hour), 8));
      await place.refused('clock-rolled-back');
      place.clock.advanceWall(hour);
      await place.visit();
    });

    it('SecretStore rollback check: the tolerance is an option, fixed at COLDSTART', async () => {
      const store = await place.open({ clockToleranceMs: 10 * minute });
      assert.equal(store.status().time.clockToleranceMs, 10 * minute);
      await store.close();
      place.clock.advanceWall(-9 * minute);
      await place.visit();
      place.clock.advanceWall(-3 * minute);
      await place.refused('clock-rolled-back');
      await place.refused('invalid-option', () => place.open({ clockToleranceMs: day }));
    });

    it('SecretStore rollback check: a SecretStore that is expected is never done without', async () => {
      await place.made();
      const secrets = place.snapshot();
      for (const gone of ['VaultHash', 'TimeTamper']) {
        place.restore(secrets);
        place.remove(`secrets/test.${gone}`);
        assert.equal((await place.refused('witness-missing')).code, 'PERS_8003');
      }
      place.restore(secrets);
      place.restore(new Map(), (name) => name.startsWith('secrets/'));
      await place.refused('root-unavailable');
      // Pointing it elsewhere does not help.
      const elsewhere = new Place();
      await place.refused('root-unavailable', () =>
        place.open({ secretStore: { type: 'file', directory: elsewhere.secrets } }),
      );
    });
  });

  describe('`UpdateTimeTamper()`', () => {
    it('`UpdateTimeTamper()`: the stamp is now after a success, never goes backwards, and is mirrored to the SecretStore', async () => {
      await place.made();
      place.clock.advance(5 * hour);
      let store = await place.open();
      assert.equal(store.status().time.stampMs, place.clock.wallMs());
      assert.equal(place.forge().witnessedStamp().wallMs, place.clock.wallMs());
      const newest = place.clock.wallMs();
      place.clock.advanceWall(-100_000);
      await store.close();
      assert.ok(place.forge().witnessedStamp().wallMs >= newest);
      store = await place.open();
      assert.ok(store.status().time.stampMs >= newest);
      await store.close();
    });

    it('`UpdateTimeTamper()`: 30 days in steps of 1 h, and 8 days suspended: every write passes', async () => {
      await place.made();
      const store = await place.open();
      for (let step = 0; step < 30 * 24; ++step) {
        place.clock.advance(hour);
        await store.vault.set('key', Buffer.from(String(step)));
      }
      place.clock.suspend(8 * day);
      await store.vault.set('key', Buffer.from('after the suspend'), { durability: 'witnessed' });
      // Nothing was written for 8 days but by the timer, which is called here in its place.
      for (let step = 0; step < 8 * 24; ++step) {
        place.clock.advance(hour);
        await place.newestService().opened.timeRefresh.refresh();
      }
      assert.equal(store.status().time.ageMs, 0);
      await store.close();
      await place.visit();
    });
  });

  describe('60 s cache', () => {
    it('60 s cache: exactly one validation for 10,000 writes within 60 s, and again at 60 s of CLOCK_BOOTTIME', async () => {
      await place.made();
      const store = await place.open();
      for (let i = 0; i < 10_000; i += 100) {
        await Promise.all(
          Array.from({ length: 100 }, (_, j) => store.vault.set(`key/${i + j}`, Buffer.from('value'))),
        );
        place.clock.advance(500);
      }
      assert.equal(store.validator.validations, 1);
      assert.equal(store.status().validations, 1);
      place.clock.advance(9_999);
      await store.vault.set('key', Buffer.from('at 59.999 s'));
      assert.equal(store.validator.validations, 1);
      place.clock.advance(1);
      await store.vault.set('key', Buffer.from('at 60 s'));
      assert.equal(store.validator.validations, 2);
      await store.close();
    });

    it('60 s cache: moving the wall clock neither extends nor freezes it', async () => {
      await place.made();
      const store = await place.open();
      const write = (): Promise<void> => store.vault.set('key', Buffer.from('value'));
      await write();
      place.clock.advanceWall(10 * hour);
      await write();
      assert.equal(store.validator.validations, 1, 'not ended by the wall clock');
      place.clock.advanceWall(-10 * hour);
      place.clock.advance(minute);
      await write();
      assert.equal(store.validator.validations, 2, 'not frozen by it');
      place.clock.advanceWall(-hour);
      place.clock.suspend(minute);
      await rejectsReason(write(), 'clock-rolled-back');
      place.clock.advanceWall(hour);
      await write();
      await store.close();
    });

    it('60 s cache: failures are not cached', async () => {
      await place.made();
      const store = await place.open();
      await store.vault.set('key', Buffer.from('value'));
      const before = store.validator.validations;
      place.clock.advance(minute);
      place.clock.advanceWall(-hour);
      for (let i = 1; i <= 3; ++i) {
        await rejectsReason(store.vault.set('key', Buffer.from('no')), 'clock-rolled-back');
        assert.equal(store.validator.validations, before + i);
      }
      place.clock.advanceWall(hour);
      await store.vault.set('key', Buffer.from('yes'));
      assert.equal(store.validator.validations, before + 4);
      await store.close();
    });
  });

  describe('TIME_TAMPER read', () => {
    it("TIME_TAMPER read: straight from the vault's data: no recursion, no READ event", async () => {
      await place.made();
      const store = await place.open();
      const ops: string[] = [];
      store.on('vault', ({ op }) => ops.push(op));
      for (let i = 0; i < 100; ++i) {
        store.validator.invalidate();
        store.validator.validateBeforeWrite();
      }
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(ops, []);
      throwsReason(() => store.vault.get('strongroom/time-tamper'), 'reserved-key');
      await store.close();
    });

    it('TIME_TAMPER read: no input or output, as strace shows', async () => {
      const real = new Place();
      const { calls, outcome } = await trace(
        real,
        `const { existsSync } = await import('node:fs');
         const store = await strongroom.open(options);
         const more = await store.close().then(() => strongroom.open({ ...options, witnessIntervalMs: 60000 }));
         more.validator.validateBeforeWrite();
         existsSync('/mark-begin');
         for (let i = 0; i < 1000; ++i) { more.validator.invalidate(); more.validator.validateBeforeWrite(); }
         existsSync('/mark-end');
         tell(String(more.validator.validations));
         await more.close();`,
        'file,desc',
      );
      assert.equal(outcome.end, 0, outcome.stderr);
      const begin = calls.findIndex(({ arguments: text }) => text.includes('/mark-begin'));
      const end = calls.findIndex(({ arguments: text }) => text.includes('/mark-end'));
      assert.ok(begin > 0 && end > begin);
      const between = calls.slice(begin + 1, end).filter(({ arguments: text }) => text.includes(real.root));
      assert.deepEqual(between, []);
      assert.ok(Number(outcome.lines[0]) >= 1000);
    });
  });
});
