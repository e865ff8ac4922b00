// open() with `waitForLockMs`, while another process has the store.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { OpenOptions } from '../lib/store/open-options.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { rejectsReason } from './support/errors.js';
import { Holder } from './support/holding.js';
import { quickKdf, World } from './support/stores.js';

const longMs = 60_000;

describe('waiting for the lock', function () {
  this.timeout(60_000);
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  /** An opening, and what resolves once it was refused as locked for the second time. */
  function waiting(changes: Partial<OpenOptions> = {}): {
    opening: Promise<OpenStore>;
    refusedTwice: Promise<void>;
    tries: () => number;
  } {
    let tries = 0;
    let reached: () => void;
    const refusedTwice = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const trace = (step: string): void => {
      if (step === 'DetermineStartupState' && ++tries === 3) reached();
    };
    // The other process uses the real clock.
    const opening = world.open({ waitForLockMs: longMs, trace, ...changes }, { clock: undefined });
    opening.catch(() => undefined); // met later
    return { opening, refusedTwice, tries: () => tries };
  }

  it('opens the store when the other process has closed it', async () => {
    const holder = await Holder.opened(world.options());
    await holder.set('before');
    const { opening, refusedTwice } = waiting({ create: 'never' });
    await refusedTwice;
    await holder.set('meanwhile');
    await holder.close();
    const store = await opening;
    assert.ok(store.vault.has('before') && store.vault.has('meanwhile'));
    assert.equal(store.startup, 'WARMSTART');
    await store.vault.set('after', Buffer.from('x'));
  });

  it('opens the store when the other process was killed', async () => {
    const holder = await Holder.opened(world.options());
    const { opening, refusedTwice } = waiting();
    await refusedTwice;
    await holder.kill();
    await (await opening).vault.set('after', Buffer.from('x'));
  });

  it('answers `locked` when the time is over, and has changed nothing', async () => {
    const holder = await Holder.opened(world.options());
    const begun = performance.now();
    const { opening, tries } = waiting({ waitForLockMs: 300 });
    const error = await rejectsReason(opening, 'locked');
    assert.ok(performance.now() - begun >= 300);
    assert.ok(tries() > 2);
    assert.equal(error.retryable, true);
    assert.match(error.message, new RegExp(`\\bprocess ${holder.pid}\\b`));
    await holder.set('after');
    await holder.anchor();
    await holder.close();
  });

  it('without the option the answer comes at the first try', async () => {
    const holder = await Holder.opened(world.options());
    const { opening, tries } = waiting({ waitForLockMs: undefined } as object);
    await rejectsReason(opening, 'locked');
    assert.equal(tries(), 1);
    await holder.kill();
  });

  it('is cancelled by a signal, between two tries too', async () => {
    const holder = await Holder.opened(world.options());
    const controller = new AbortController();
    const { opening, refusedTwice } = waiting({ signal: controller.signal });
    await refusedTwice;
    const begun = performance.now();
    controller.abort(new Error('enough'));
    const error = await rejectsReason(opening, 'aborted');
    assert.equal((error.cause as Error).message, 'enough');
    assert.ok(performance.now() - begun < longMs / 2);
    await holder.set('after');
    await holder.close();
  });

  it('makes a store when what had the directory made none, with a password that can be read once', async () => {
    mkdirSync(world.directory, { mode: 0o700 });
    const other = spawn('flock', [world.directory, 'sh', '-c', 'echo; cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(other.stdout, 'data');
    const file = join(world.root, 'password');
    writeFileSync(file, 'correct horse battery staple\n', { mode: 0o600 });
    const fd = openSync(file, 'r');
    const { opening, refusedTwice } = waiting({ recovery: { password: { fd }, kdf: quickKdf } });
    await refusedTwice;
    other.stdin.end();
    const store = await opening;
    closeSync(fd);
    assert.equal(store.startup, 'COLDSTART');
    assert.ok((await store.verifyPassword({ file })) > 0);
  });

  it('finds the store that the other process made', async () => {
    const holder = await Holder.opened(world.options());
    const recovery = { password: Buffer.from('correct horse battery staple'), kdf: quickKdf };
    const { opening, refusedTwice } = waiting({ recovery });
    await refusedTwice;
    await holder.close();
    const store = await opening;
    assert.equal(store.startup, 'WARMSTART');
    assert.equal(store.status().recoverable, false);
  });

  it('waits for a copy that is open, and then says what this one is', async () => {
    const holder = await Holder.opened(world.options());
    const copy = join(world.root, 'copy');
    execFileSync('cp', ['-a', world.directory, copy]);
    const { opening, refusedTwice } = waiting({ directory: copy });
    await refusedTwice;
    await holder.set('beyond');
    await holder.close();
    await rejectsReason(opening, 'vault-rolled-back');
  });

  it('is refused together with `readOnly`, which takes no lock', async () => {
    await (await world.open()).close();
    assert.throws(() => world.service({ readOnly: true, waitForLockMs: 1 }), { reason: 'invalid-option' });
    assert.throws(() => world.service({ waitForLockMs: -1 }), { reason: 'invalid-option' });
    await (await world.open({ readOnly: true, waitForLockMs: 0 })).close();
  });
});
