import assert from 'node:assert/strict';

import { PasswordThrottle } from '../../lib/restore/throttle.js';
import { Sessions } from '../../lib/wizard/session.js';
import { rejectsReason } from '../support/errors.js';

describe("the wizard's sessions", () => {
  const make = (limits = { idleMs: 60_000, wholeMs: 60_000 }, isBusy = () => false, nowMs = { value: 0 }) => {
    const codes: string[] = [];
    const sessions = new Sessions(
      (code) => codes.push(code),
      isBusy,
      limits,
      new PasswordThrottle(() => nowMs.value),
    );
    sessions.renew();
    return { sessions, codes, nowMs };
  };

  it('a code has 100 bits, is never the same, and may be typed in any way', async () => {
    const seen = new Set<string>();
    const { sessions, codes } = make();
    for (let i = 0; i < 1000; ++i) sessions.renew();
    for (const code of codes) {
      assert.match(code, /^([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}$/);
      seen.add(code);
    }
    assert.equal(seen.size, codes.length);
    assert.equal(new Set(codes.join('').replaceAll('-', '')).size, 32);
    const typed = codes.at(-1)!.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l');
    assert.ok(sessions.knows(await sessions.begin(` ${typed} `, 'a')));
    sessions.close();
  });

  it('a code opens one session; the one before a renewal opens none', async () => {
    const { sessions, codes } = make();
    const [first = ''] = codes;
    sessions.renew();
    await rejectsReason(sessions.begin(first, 'a'), 'authority-refused');
    const id = await sessions.begin(codes[1]!, 'a');
    await rejectsReason(sessions.begin(codes[1]!, 'b'), 'authority-refused');
    assert.match(id, /^[\w-]{43}$/, '256 bits');
    assert.ok(sessions.knows(id));
    assert.ok(!sessions.knows(`${id}x`) && !sessions.knows('') && !sessions.knows(undefined));
    sessions.close();
    assert.ok(!sessions.knows(id));
    await rejectsReason(sessions.begin(codes[1]!, 'b'), 'authority-refused');
    sessions.renew();
    sessions.close();
    await rejectsReason(sessions.begin(codes[2]!, 'b'), 'authority-refused');
  });

  it('wrong codes make one address wait with the next wrong one, and no other; the right one never waits', async () => {
    const { sessions, codes, nowMs } = make();
    for (let i = 0; i < 3; ++i) await rejectsReason(sessions.begin('wrong', 'a'), 'authority-refused');
    const error = await rejectsReason(sessions.begin('wrong', 'a'), 'password-throttled');
    assert.equal(error.retryAfterMs, 1000);
    nowMs.value = 1000;
    await rejectsReason(sessions.begin('wrong', 'a'), 'authority-refused');
    assert.equal(
      (await rejectsReason(sessions.begin('wrong', 'a'), 'password-throttled')).retryAfterMs,
      2000,
    );
    await rejectsReason(sessions.begin('wrong', 'b'), 'authority-refused');
    assert.ok(sessions.knows(await sessions.begin(codes[0]!, 'a')));
    sessions.close();
  });

  it('a session ends when nobody uses it, not while something is under way, and another code is told', async () => {
    const state = { busy: true };
    const { sessions, codes } = make({ idleMs: 20, wholeMs: 60_000 }, () => state.busy);
    const id = await sessions.begin(codes[0]!, 'a');
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(codes.length, 1);
    state.busy = false;
    while (codes.length === 1) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.ok(!sessions.knows(id));
    sessions.close();
  });

  it('a session goes on while it is used', async () => {
    const now = performance.now.bind(performance);
    const clock = { ms: 0, looks: 0 };
    performance.now = () => {
      clock.looks += 1;
      return clock.ms;
    };
    try {
      const { sessions, codes } = make({ idleMs: 20, wholeMs: 60_000 });
      const id = await sessions.begin(codes[0]!, 'a');
      clock.ms = 15;
      assert.ok(sessions.knows(id));
      clock.ms = 30;
      const { looks } = clock;
      while (clock.looks === looks) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(codes.length, 1);
      assert.ok(sessions.knows(id));
      sessions.close();
    } finally {
      performance.now = now;
    }
  });

  it('a session that is used ends all the same, at its time', async () => {
    const now = performance.now.bind(performance);
    const clock = { ms: 0 };
    performance.now = () => clock.ms;
    try {
      const { sessions, codes } = make({ idleMs: 20, wholeMs: 60 });
      const id = await sessions.begin(codes[0]!, 'a');
      for (clock.ms = 15; clock.ms < 60; clock.ms += 15) assert.ok(sessions.knows(id));
      while (codes.length === 1) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(!sessions.knows(id));
      sessions.close();
    } finally {
      performance.now = now;
    }
  });

  it('the token of a form belongs to one id; a visitor keeps the id that was drawn for him, and only that', () => {
    const { sessions } = make();
    const id = sessions.visitorId();
    assert.equal(sessions.visitorId(id), id);
    for (const other of [
      'x',
      '',
      '.',
      `${id}x`,
      `${id}.`,
      `${id}.x`,
      id.replace(/^./, (c) => (c === 'A' ? 'B' : 'A')),
    ])
      assert.notEqual(sessions.visitorId(other), other);
    assert.ok(!sessions.knows(id));
    const made = `chosen.${sessions.csrfOf('chosen')}`;
    assert.notEqual(sessions.visitorId(made), made);
    assert.ok(sessions.isCsrf(id, sessions.csrfOf(id)));
    assert.ok(!sessions.isCsrf(sessions.visitorId(), sessions.csrfOf(id)));
    assert.ok(!sessions.isCsrf(id, undefined) && !sessions.isCsrf(undefined, sessions.csrfOf(id)));
    assert.ok(!make().sessions.isCsrf(id, sessions.csrfOf(id)));
    sessions.close();
  });
});
