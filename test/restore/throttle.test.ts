import assert from 'node:assert/strict';

import { PersistenceError } from '../../lib/errors.js';
import { PasswordThrottle } from '../../lib/restore/throttle.js';
import { rejectsReason } from '../support/errors.js';

const wrong = (): Promise<never> => Promise.reject(new PersistenceError('password-wrong', 'wrong'));

describe('restore: the throttle of passwords', () => {
  let now = 0;
  let throttle: PasswordThrottle;
  beforeEach(() => {
    now = 1000;
    throttle = new PasswordThrottle(() => now);
  });

  it('lets two wrong passwords pass, then doubles the wait up to five minutes', async () => {
    const waits: number[] = [];
    for (let n = 0; n < 14; n += 1) {
      await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
      // A second look would not count, and one that may try would be wrong, too.
      const refused =
        n < 2 ? undefined : await rejectsReason(throttle.attempt('/a', wrong), 'password-throttled');
      if (refused === undefined) continue;
      assert.equal(refused.retryable, true);
      assert.match(refused.message, /in (\d+ min)?( ?\d+ s)?$/);
      waits.push(refused.retryAfterMs ?? 0);
      now += refused.retryAfterMs ?? 0;
    }
    assert.deepEqual(
      waits,
      [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000, 300_000],
    );
  });

  it('knows stores apart, forgets after a success and after an hour', async () => {
    for (let n = 0; n < 4; n += 1) {
      await throttle.attempt('/a', wrong).catch(() => undefined);
    }
    await rejectsReason(throttle.attempt('/a', wrong), 'password-throttled');
    assert.equal(await throttle.attempt('/b', () => Promise.resolve('b')), 'b');
    now += 3_600_001;
    assert.equal(await throttle.attempt('/a', () => Promise.resolve('a')), 'a');
    await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
    await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
  });

  it('begins to count anew after a success, and says nothing of tries that are forgotten', async () => {
    for (let n = 0; n < 2; n += 1) await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
    assert.deepEqual(throttle.peek('/a'), { wrong: 2, waitMs: 0 });
    await throttle.attempt('/a', () => Promise.resolve());
    assert.deepEqual(throttle.peek('/a'), { wrong: 0, waitMs: 0 });
    for (let n = 0; n < 3; n += 1) await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
    assert.deepEqual(throttle.peek('/a'), { wrong: 3, waitMs: 1000 });
    now += 3_600_001;
    assert.deepEqual(throttle.peek('/a'), { wrong: 0, waitMs: 0 });
  });

  it('one that waited for its turn is not tried if the one before it was the third wrong one', async () => {
    for (let n = 0; n < 2; n += 1) await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
    let tried = 0;
    const count = (): Promise<never> => {
      tried += 1;
      return wrong();
    };
    const [first, ...others] = Array.from({ length: 4 }, () => throttle.attempt('/a', count));
    await Promise.all([
      rejectsReason(first!, 'password-wrong'),
      ...others.map((other) => rejectsReason(other, 'password-throttled')),
    ]);
    assert.equal(tried, 1);
  });

  it('of more than 1,024 stores the one whose last try is the oldest is forgotten', async () => {
    for (let n = 0; n < 3; n += 1) await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
    for (let n = 0; n < 1023; n += 1) await throttle.attempt(`/${n}`, wrong).catch(() => undefined);
    now += 1000;
    await rejectsReason(throttle.attempt('/a', wrong), 'password-wrong');
    await throttle.attempt('/another', wrong).catch(() => undefined);
    assert.equal(throttle.peek('/0').wrong, 0);
    assert.equal(throttle.peek('/1').wrong, 1);
    assert.equal(throttle.peek('/a').wrong, 4);
  });

  it('counts only wrong passwords', async () => {
    for (let n = 0; n < 10; n += 1) {
      await rejectsReason(
        throttle.attempt('/a', () => Promise.reject(new PersistenceError('hsm-unreachable', 'away'))),
        'hsm-unreachable',
      );
    }
    assert.equal(await throttle.attempt('/a', () => Promise.resolve('a')), 'a');
  });

  it('runs one at a time and turns away what would queue without end', async () => {
    let running = 0;
    let most = 0;
    const attempts = Array.from({ length: 1000 }, (_, n) =>
      throttle.attempt(`/${n}`, async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
      }),
    );
    const outcomes = await Promise.allSettled(attempts);
    assert.equal(most, 1);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.equal(refused.length, 991);
    for (const { reason } of refused) assert.equal((reason as PersistenceError).reason, 'password-throttled');
  });
});
