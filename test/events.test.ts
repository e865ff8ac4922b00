import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { runInNewContext } from 'node:vm';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { EventHub, type Notice, type SubscriberError, type VaultEvent } from '../lib/vault/events.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { World } from './support/stores.js';

const value = Buffer.from('x');

describe('events', () => {
  let world: World;
  let store: OpenStore;
  let events: VaultEvent[];
  const record = (event: VaultEvent): void => {
    events.push(event);
  };

  beforeEach(async () => {
    world = new World();
    store = await world.open();
    events = [];
  });
  afterEach(() => world.closeAll());

  /** Two turns: a delivery of events begins in the first one. */
  const settle = async (): Promise<void> => {
    await nextTurn();
    await nextTurn();
  };

  it('come after durability, in order of commits, with op, key and generation', async () => {
    store.on('vault', record);
    const { generation } = store.status();
    await store.vault.set('a', value);
    await store.vault.delete(Buffer.from([0xff]));
    await store.vault.increment('n', 1n);
    store.vault.setSync('s', value);
    store.vault.deleteSync('s');
    await store.vault.batch([
      { type: 'set', key: 'b', value },
      { type: 'delete', key: 'a' },
    ]);
    assert.equal(await store.vault.compareAndSet('b', Buffer.from('other'), undefined), false);
    assert.equal(await store.vault.compareAndSet('b', value, undefined), true);
    await settle();
    assert.deepEqual(events, [
      { op: 'write', key: 'a', generation: generation + 1 },
      { op: 'delete', key: Buffer.from([0xff]), generation: generation + 2 },
      { op: 'write', key: 'n', generation: generation + 3 },
      { op: 'write', key: 's', generation: generation + 4 },
      { op: 'delete', key: 's', generation: generation + 5 },
      { op: 'write', key: 'b', generation: generation + 6 },
      { op: 'delete', key: 'a', generation: generation + 6 },
      { op: 'delete', key: 'b', generation: generation + 7 },
    ]);
  });

  it('the promise settles first, and the value can be read by then', async () => {
    const order: string[] = [];
    store.on('vault', ({ op }) => {
      if (op === 'write') order.push(`event ${store.vault.get('key')?.toString()}`);
    });
    await store.vault.set('key', value).then(() => order.push('promise'));
    await settle();
    assert.deepEqual(order, ['promise', 'event x']);
  });

  it('come in a turn of their own, never from inside a call or with a promise', async () => {
    store.on('vault', record);
    store.vault.setSync('a', value);
    store.vault.get('a');
    for (let i = 0; i < 100; ++i) await Promise.resolve();
    assert.deepEqual(events, []);
    await settle();
    assert.deepEqual(
      events.map(({ op }) => op),
      ['write', 'read'],
    );
  });

  it('keep the bytes of a key as they were at the call', async () => {
    store.on('vault', record);
    const key = Buffer.from('before');
    const promise = store.vault.set(key, value);
    key.fill(0);
    await promise;
    await settle();
    assert.deepEqual(
      events.map((event) => event.key?.toString()),
      ['before'],
    );
  });

  it('a compare-and-set that did not take place makes none, beside others of the same commit', async () => {
    store.on('vault', record);
    await Promise.all([
      store.vault.set('a', value),
      store.vault.compareAndSet('a', undefined, value),
      store.vault.compareAndSet('a', Buffer.from('y'), undefined),
      store.vault.set('b', value),
    ]);
    await settle();
    assert.deepEqual(
      events.map(({ key }) => key),
      ['a', 'b'],
    );
  });

  it('of reads no more than 65,536 wait; whatever is durable is told all the same', async () => {
    store.vault.setSync('key', value);
    store.on('vault', record);
    for (let i = 0; i < 65_540; ++i) store.vault.get('key');
    store.vault.setSync('other', value);
    await settle();
    assert.equal(events.length, 65_537);
    assert.equal(events.at(-1)?.op, 'write');
  });

  it('a subscriber that comes during a delivery gets what comes later', async () => {
    store.on('vault', () => {
      store.on('vault', record);
    });
    store.vault.setSync('a', value);
    await settle();
    assert.deepEqual(events, []);
    store.vault.setSync('b', value);
    await settle();
    assert.deepEqual(
      events.map(({ key }) => key),
      ['b'],
    );
  });

  it('a read names the newest generation: of the opening, of a synchronous write, of another one', async () => {
    await store.vault.set('key', value);
    await store.close();
    store = await world.open();
    store.on('vault', record);
    const { generation } = store.status();
    store.vault.get('key');
    store.off('vault', record);
    store.vault.setSync('key', value);
    store.on('vault', record);
    store.vault.get('key');
    await settle();
    store.off('vault', record);
    await store.vault.set('key', value);
    store.on('vault', record);
    store.vault.get('key');
    await settle();
    assert.deepEqual(
      events.map((event) => event.generation),
      [generation, generation + 1, generation + 2],
    );
  });

  it('what onProgress throws stops no start, and is reported', async () => {
    await store.close();
    const reports: SubscriberError[] = [];
    const collect = (message: unknown): void => {
      reports.push(message as SubscriberError);
    };
    subscribe('strongroom:subscriber-error', collect);
    const error = new Error('thrown');
    store = await world.open({
      onProgress: () => {
        throw error;
      },
    });
    unsubscribe('strongroom:subscriber-error', collect);
    assert.notEqual(reports.length, 0);
    for (const report of reports) assert.deepEqual(report, { event: 'progress', error });
  });

  it('a refused or failed operation makes none', async () => {
    store.on('vault', record);
    await rejectsReason(store.vault.set('strongroom/x', value), 'reserved-key');
    await rejectsReason(store.vault.increment('n', -1n, { min: 0n }), 'below-minimum');
    await settle();
    assert.deepEqual(events, []);
  });

  it('an operation submitted along with a synchronous one comes before it', async () => {
    store.on('vault', record);
    const first = store.vault.set('first', value);
    store.vault.setSync('second', value);
    await first;
    await settle();
    assert.deepEqual(
      events.map(({ key }) => key),
      ['first', 'second'],
    );
  });

  it('reads are reported to listeners only, and 1,000 reads change no byte on disk', async () => {
    await store.vault.set('key', value, { durability: 'witnessed' });
    const files = (): Buffer[] =>
      readdirSync(world.root, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
    const before = files();
    for (let i = 0; i < 500; ++i) store.vault.get('key');
    store.on('vault', record);
    for (let i = 0; i < 500; ++i) store.vault.get('key');
    store.vault.get('absent');
    await settle();
    assert.equal(events.length, 500);
    assert.ok(events.every(({ op, key }) => op === 'read' && key === 'key'));
    assert.deepEqual(files(), before);
    store.off('vault', record);
    store.vault.get('key');
    await settle();
    assert.equal(events.length, 500);
  });

  it('a refresh of TIME_TAMPER is `time`', async () => {
    store.on('vault', record);
    world.clock.advance(3_600_000);
    await world.newestService().opened.timeRefresh.refresh();
    await settle();
    assert.deepEqual(events, [{ op: 'time', generation: store.status().generation }]);
  });

  it('a subscriber that throws, or rejects, harms nothing and is reported', async () => {
    const reports: SubscriberError[] = [];
    const collect = (message: unknown): void => {
      reports.push(message as SubscriberError);
    };
    subscribe('strongroom:subscriber-error', collect);
    const [thrown, rejected] = [new Error('thrown'), new Error('rejected')];
    store.on('vault', () => {
      throw thrown;
    });
    store.on('vault', () => Promise.reject(rejected));
    store.on('vault', record);
    await store.vault.set('key', value);
    await settle();
    assert.equal(events.length, 1);
    assert.deepEqual(reports, [
      { event: 'vault', error: thrown },
      { event: 'vault', error: rejected },
    ]);
    await store.vault.set('key', value);
    assert.equal(store.vault.get('key')?.toString(), 'x');
    await settle();
    unsubscribe('strongroom:subscriber-error', collect);
  });

  it('without a diagnostics subscriber it becomes a process warning', async () => {
    store.on('vault', () => {
      throw new Error('thrown on purpose');
    });
    const warned = once(process, 'warning');
    await store.vault.set('key', value);
    const [warning] = (await warned) as [Error];
    assert.equal(warning.name, 'StrongroomWarning');
    assert.match(warning.message, /thrown on purpose/);
  });

  it('hears of the errors and promises of another realm', async () => {
    const foreign = (code: string): (() => void) => runInNewContext(code) as () => void;
    for (const code of [
      "() => { throw new Error('thrown there') }",
      "() => Promise.reject(new Error('rejected there'))",
    ]) {
      const listener = foreign(code);
      store.on('vault', listener);
      const warned = once(process, 'warning');
      await store.vault.set('key', value);
      const [warning] = (await warned) as [Error];
      assert.match(warning.message, /(thrown|rejected) there/);
      store.off('vault', listener);
    }
  });

  it('a subscriber may use the store: read, write, subscribe, close', async () => {
    let writes = 0;
    store.on('vault', (event) => {
      store.vault.get('key');
      if (event.op !== 'write' || ++writes > 3) return;
      store.vault.setSync('sync', value);
      void store.vault.set('async', value);
      store.on('vault', record);
    });
    await store.vault.set('key', value);
    for (let i = 0; i < 10; ++i) await store.vault.set('key', value);
    await settle();
    assert.ok(store.vault.has('sync') && store.vault.has('async'));
    assert.ok(events.every(({ op }) => op !== 'read'));

    store.on('vault', () => store.close());
    await store.vault.set('key', value);
    await settle();
    throwsReason(() => store.vault.get('key'), 'closed');
    await store.close();
  });

  it('those that wait at a close come before it resolves', async () => {
    store.on('vault', record);
    const promise = store.vault.set('key', value);
    await store.close();
    await promise;
    assert.equal(events.length, 1);
  });

  it('notices of the start reach the first subscriber', async () => {
    await store.close();
    rmSync(join(world.directory, 'tmtmp.bin'));
    store = await world.open();
    assert.equal(store.status().repaired.tamperFile, true);
    const notices: Notice[] = [];
    store.on('notice', (notice) => notices.push(notice));
    await settle();
    assert.deepEqual(
      notices.map(({ kind }) => kind),
      ['tamper-file-anew'],
    );
  });

  it('a notice is told once, at once to who listens, and 64 wait for who will', async () => {
    const hub = new EventHub();
    const notice = (message: string): Notice => ({ kind: 'time-refresh-failed', message });
    for (let i = 0; i < 70; ++i) hub.notify(notice(i.toString()));
    const told: string[] = [];
    hub.add('notice', ({ message }) => told.push(message));
    await settle();
    assert.deepEqual(
      told,
      Array.from({ length: 64 }, (_, i) => i.toString()),
    );
    hub.notify(notice('later'));
    await settle();
    assert.equal(told.length, 65);
    hub.add('vault', record);
    hub.publish({ op: 'time', generation: 1 });
    await settle();
    assert.deepEqual([told.length, events.length], [65, 1]);
  });

  it('wrong names and listeners are refused', () => {
    throwsReason(() => store.on('data' as never, record), 'invalid-argument');
    throwsReason(() => store.on('vault', 'x' as never), 'invalid-argument');
    throwsReason(() => store.off('vault', undefined as never), 'invalid-argument');
  });
});
