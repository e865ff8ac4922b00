// The rows of writing: durability, the guard of every write, events, the persisted hash, the audit log.
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as turn } from 'node:timers/promises';

import type { Notice, VaultEvent } from '../../lib/vault/events.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import type { Vault } from '../../lib/vault/vault.js';
import { rejectsReason, throwsReason } from '../support/errors.js';
import { assertSame, hour, minute, Place, runChild, text } from './support.js';

const bytes = (value: string): Buffer => Buffer.from(value);

/** Every way to change the vault. */
const writePaths: Record<string, (vault: Vault) => unknown> = {
  set: (vault) => vault.set('seats/1', bytes('changed')),
  'set witnessed': (vault) => vault.set('seats/1', bytes('changed'), { durability: 'witnessed' }),
  setSync: (vault) => vault.setSync('seats/1', bytes('changed')),
  delete: (vault) => vault.delete('seats/1'),
  deleteSync: (vault) => vault.deleteSync('seats/1'),
  increment: (vault) => vault.increment('tokens', 1n),
  compareAndSet: (vault) => vault.compareAndSet('seats/1', bytes('value 1'), bytes('changed')),
  batch: (vault) => vault.batch([{ type: 'delete', key: 'seats/1' }]),
  'empty batch': (vault) => vault.batch([]),
};

describe('acceptance: writes', function () {
  // Some start many processes one after the other.
  this.timeout(120_000);
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.closeAll());

  const opened = async (): Promise<OpenStore> => {
    await place.made();
    return place.open();
  };

  describe('`Set()` / `Delete()` / batch', () => {
    it('`Set()` / `Delete()` / batch: a failed sync leaves the outcome unknown, and the next start shows it', async () => {
      const real = new Place();
      const child = await runChild(
        real,
        `const store = await strongroom.open(options);
         let acknowledged = 0n;
         let error;
         while (error === undefined && acknowledged < 60n) {
           await store.vault.increment('n', 1n).then((n) => { acknowledged = n; }, (thrown) => { error = thrown; });
         }
         const { reason, retryable, committed, outcomeUnknown, message } = error;
         tell(JSON.stringify({ reason, retryable, committed, outcomeUnknown, message, acknowledged: String(acknowledged) }));
         process.exit(0);`,
        {
          wrapper: [
            'strace',
            '-f',
            '-qq',
            '-o',
            '/dev/null',
            '-e',
            'trace=fdatasync',
            '-e',
            'inject=fdatasync:error=EIO:when=40',
          ],
        },
      );
      assert.equal(child.lines.length, 1, `${child.end} ${child.stderr}`);
      const { message, acknowledged, ...error } = JSON.parse(child.lines[0]!) as Record<string, unknown>;
      assert.deepEqual(error, { reason: 'poisoned', retryable: false, outcomeUnknown: true });
      assert.match(String(message), /fdatasync.*is not known: open the store again and read/);
      const next = await runChild(
        real,
        `const store = await strongroom.open(options);
         tell(String(await store.vault.increment('n', 0n)));
         await store.close();`,
      );
      // strace fails the call after the write: here the increment is there.
      assert.deepEqual(next.lines, [String(BigInt(String(acknowledged)) + 1n)]);
    });

    it('`Set()` / `Delete()` / batch: durable when resolved: kill -9 right after, and it is there', async () => {
      const real = new Place();
      const expected = new Map<string, string | undefined>();
      const steps: [script: string, changes: Record<string, string | undefined>][] = [
        [`await vault.set('a', Buffer.from('1'))`, { a: '1' }],
        [`vault.setSync('b', Buffer.from('2'))`, { b: '2' }],
        [
          `await vault.batch([{ type: 'set', key: 'c', value: Buffer.from('3') }, { type: 'delete', key: 'a' }])`,
          { c: '3', a: undefined },
        ],
        [`await vault.set('d', Buffer.from('4'), { durability: 'witnessed' })`, { d: '4' }],
        [`await vault.compareAndSet('d', Buffer.from('4'), Buffer.from('5'))`, { d: '5' }],
        [`await vault.delete('c')`, { c: undefined }],
        [`vault.deleteSync('b')`, { b: undefined }],
        [`await vault.increment('n', 0x3132333435363738n)`, { n: '12345678' }],
      ];
      for (const [script, changes] of steps) {
        const killed = await runChild(
          real,
          `const { vault } = await strongroom.open(options);
           ${script};
           die();`,
        );
        assert.equal(killed.end, 'SIGKILL', killed.stderr);
        for (const [key, value] of Object.entries(changes)) expected.set(key, value);
        const found = await runChild(
          real,
          `const store = await strongroom.open(options);
           tell(JSON.stringify([store.startup, [...store.vault.entries()].map(([key, value]) => [key, String(value)])]));
           await store.close();`,
        );
        const there = [...expected].filter(([, value]) => value !== undefined).sort();
        assert.deepEqual(JSON.parse(found.lines[0]!), ['WARMSTART', there], `${script} ${found.stderr}`);
      }
    });

    it('`Set()` / `Delete()` / batch: a batch is all or nothing', async () => {
      const { vault } = await opened();
      const before = [...vault.entries()].map(([key, value]) => [key, text(value)]);
      for (const bad of [
        { type: 'set', key: '', value: bytes('x') },
        { type: 'set', key: 'strongroom/x', value: bytes('x') },
        { type: 'set', key: 'x', value: 'a string' },
        { type: 'move', key: 'x' },
        null,
      ]) {
        const batch = [
          { type: 'set', key: 'seats/1', value: bytes('half') },
          { type: 'delete', key: 'seats/2' },
          bad,
        ];
        await assert.rejects(vault.batch(batch as any));
        assert.deepEqual(
          [...vault.entries()].map(([key, value]) => [key, text(value)]),
          before,
        );
      }
    });

    it('`Set()` / `Delete()` / batch: reserved keys are refused, deleting a missing key is no error', async () => {
      const { vault } = await opened();
      for (const key of [
        'strongroom/storage-id',
        'strongroom/time-tamper',
        'strongroom/',
        'strongroom/anything',
      ]) {
        await rejectsReason(vault.set(key, bytes('x')), 'reserved-key');
        await rejectsReason(vault.delete(key), 'reserved-key');
        await rejectsReason(vault.increment(key, 1n), 'reserved-key');
        await rejectsReason(vault.compareAndSet(key, undefined, bytes('x')), 'reserved-key');
        await rejectsReason(vault.batch([{ type: 'delete', key }]), 'reserved-key');
        throwsReason(() => vault.setSync(key, bytes('x')), 'reserved-key');
        throwsReason(() => vault.deleteSync(key), 'reserved-key');
        throwsReason(() => vault.get(key), 'reserved-key');
        throwsReason(() => vault.has(key), 'reserved-key');
      }
      assert.ok([...vault.keys()].every((key) => !key.startsWith('strongroom/')));
      await vault.delete('never there');
      vault.deleteSync('never there');
      await vault.batch([{ type: 'delete', key: 'never there' }]);
    });
  });

  describe('`ValidateBeforeWrite()`', () => {
    it('`ValidateBeforeWrite()`: on every write path; a blocked write is PERS_8003, memory and disk unchanged, the cache dropped', async () => {
      const store = await opened();
      const { vault, validator } = store;
      await vault.increment('tokens', 5n);
      await store.anchor();
      const before = place.snapshot();
      const entries = [...vault.entries()].map(([key, value]) => [key, text(value)]);
      const { generation } = store.status();
      place.clock.advance(minute);
      place.clock.advanceWall(-hour);
      for (const [name, write] of Object.entries(writePaths)) {
        const validations = validator.validations;
        const error = await rejectsReason((async () => write(vault))(), 'clock-rolled-back');
        assert.equal(error.code, 'PERS_8003', name);
        assert.equal(
          validator.validations,
          validations + 1,
          `${name} went through the validator, past no cache`,
        );
      }
      assert.deepEqual(
        [...vault.entries()].map(([key, value]) => [key, text(value)]),
        entries,
      );
      assert.equal(store.status().generation, generation);
      assertSame(before, place.snapshot());
      place.clock.advanceWall(hour);
      for (const write of Object.values(writePaths)) await write(vault);
      await store.close();
    });

    it('`ValidateBeforeWrite()`: a witness that was put back while the store is open stops writing', async () => {
      await place.made();
      const before = place.snapshot();
      const store = await place.open();
      await store.vault.set('seats/1', bytes('newer'), { durability: 'witnessed' });
      place.restore(before, (name) => name.endsWith('VaultHash'));
      const error = await rejectsReason(
        store.vault.set('seats/2', bytes('unseen'), { durability: 'witnessed' }),
        'witness-replaced',
      );
      assert.deepEqual([error.outcomeUnknown, error.committed], [true, undefined]);
      throwsReason(() => store.vault.setSync('seats/1', bytes('newest')), 'witness-replaced');
      assert.equal(text(store.vault.get('seats/1')), 'newer');
      await store.close().catch(() => undefined);
    });
  });

  describe('COLDSTART bypass', () => {
    it('COLDSTART bypass: ends with the first commit, within the same process', async () => {
      const store = await place.open();
      assert.equal(store.startup, 'COLDSTART');
      place.clock.advanceWall(-hour);
      for (const [name, write] of Object.entries(writePaths)) {
        const error = await rejectsReason((async () => write(store.vault))(), 'clock-rolled-back');
        assert.equal(error.code, 'PERS_8003', name);
      }
      place.clock.advanceWall(hour);
      await store.vault.set('key', bytes('value'));
      assert.equal(store.validator.validations, Object.keys(writePaths).length + 1);
      await store.close();
    });
  });

  describe('`HandleVaultEvent()` and the READ guard', () => {
    it('`HandleVaultEvent()` and the READ guard: a tampered vault is refused, and the hash in tmtmp.bin and SecretStore stays', async () => {
      await place.made();
      const hashes = place.forge().witnessedPoint();
      place.flip('vault.bin', -20);
      const damaged = place.snapshot();
      for (let i = 0; i < 3; ++i) await place.refused('vault-tampered');
      // Nor does looking at it, with the subscriber that a read would call.
      const { verdict } = await place.inspect();
      assert.equal(verdict, 'vault-tampered');
      await place.refused('vault-tampered', () => place.open({ readOnly: true }));
      assertSame(damaged, place.snapshot());
      assert.deepEqual(place.forge().witnessedPoint(), hashes);
    });

    it('`HandleVaultEvent()` and the READ guard: 1,000 reads change no byte on disk', async () => {
      const store = await opened();
      const events: VaultEvent[] = [];
      store.on('vault', (event) => events.push(event));
      await store.anchor();
      const before = place.snapshot();
      for (let i = 0; i < 1000; ++i) {
        assert.equal(text(store.vault.get(`seats/${i % 5}`)), `value ${i % 5}`);
        store.vault.has('seats/1');
      }
      assert.equal([...store.vault.entries()].length, 5);
      await turn();
      assert.equal(events.filter(({ op }) => op === 'read').length, 1000);
      await store.anchor();
      assertSame(before, place.snapshot());
      await store.close();
    });

    it('`HandleVaultEvent()` and the READ guard: a subscriber that throws harms nothing', async () => {
      const store = await opened();
      const failures: unknown[] = [];
      const onFailure = (message: unknown): number => failures.push(message);
      subscribe('strongroom:subscriber-error', onFailure);
      let seen = 0;
      store.on('vault', () => {
        throw new Error('a subscriber');
      });
      store.on('vault', () => Promise.reject(new Error('a rejecting subscriber')));
      store.on('vault', () => ++seen);
      for (let i = 0; i < 10; ++i) await store.vault.set(`key/${i}`, bytes('value'));
      assert.equal(text(store.vault.get('key/9')), 'value');
      while (seen < 11) await turn();
      await turn();
      unsubscribe('strongroom:subscriber-error', onFailure);
      assert.equal(failures.length, 22, 'two for each of ten writes and a read');
      await store.close();
      await place.visit(({ vault }) => assert.equal(text(vault.get('key/9')), 'value'));
    });

    it('`HandleVaultEvent()` and the READ guard: events come after durability, op in {write, delete, time, read}', async () => {
      const store = await opened();
      const { timeRefresh } = place.newestService().opened; // before readers are opened
      const events: VaultEvent[] = [];
      const durable: Promise<void>[] = [];
      store.on('vault', (event) => {
        events.push(event);
        // Somebody else, who knows only what is on disk, finds it.
        durable.push(
          (async () => {
            if (event.op !== 'write') return;
            const reader = await place.open({ readOnly: true });
            assert.ok(reader.status().generation >= event.generation);
            assert.ok(reader.vault.has(String(event.key)));
            await reader.close();
          })(),
        );
      });
      let resolved = false;
      const promise = store.vault.set('a', bytes('1')).then(() => {
        assert.equal(events.length, 0, 'the promise resolves first');
        resolved = true;
      });
      await promise;
      await store.vault.increment('n', 1n);
      await store.vault.batch([
        { type: 'set', key: 'b', value: bytes('2') },
        { type: 'delete', key: 'seats/1' },
      ]);
      assert.equal(await store.vault.compareAndSet('b', bytes('no'), bytes('3')), false);
      store.vault.get('a');
      await timeRefresh.refresh();
      await turn();
      await turn();
      assert.ok(resolved);
      assert.deepEqual(
        events.map(({ op, key }) => [op, key]),
        [
          ['write', 'a'],
          ['write', 'n'],
          ['write', 'b'],
          ['delete', 'seats/1'],
          ['read', 'a'],
          ['time', undefined],
        ],
      );
      await Promise.all(durable);
      await store.close();
    });
  });

  describe('hash persistence', () => {
    it('hash persistence: after a close, tamper file and SecretStore hold the newest checkpoint', async () => {
      const store = await opened();
      for (let i = 0; i < 20; ++i) await store.vault.set('key', bytes(String(i)));
      await store.close();
      const vault = place.forge().readVault();
      assert.deepEqual(place.forge().witnessedPoint(), {
        generation: vault.generation,
        head: vault.head.toString('hex'),
      });
      const { status } = await place.inspect();
      assert.deepEqual(
        status?.witnesses.map(({ name, generation, head }) => [name, generation, head]),
        ['tamper-file', 'secret-store'].map((name) => [name, vault.generation, vault.head.toString('hex')]),
      );
    });

    it('hash persistence: kill -9 between vault, tamper file and witness: the next start is a WARMSTART', async () => {
      // Each file in place as a kill between two of them leaves it: the later ones are older.
      await place.made();
      const before = place.snapshot();
      await place.visit(({ vault }) => vault.set('seats/1', bytes('newer')));
      const after = place.snapshot();
      const order = [
        'store/vault.bin',
        'store/tmtmp.bin',
        'secrets/test.VaultHash',
        'secrets/test.TimeTamper',
      ];
      for (let moved = 1; moved <= order.length; ++moved) {
        place.restore(after);
        place.restore(before, (name) => order.slice(moved).includes(name));
        await place.visit(({ vault }) =>
          assert.equal(text(vault.get('seats/1')), 'newer', `${moved} had moved`),
        );
      }
    });
  });

  describe('audit log', () => {
    it('audit log: sequence, operation, time and chain for each entry', async () => {
      const store = await opened();
      const first = store.status().generation;
      place.clock.advance(5000);
      await store.vault.set('a', bytes('1'));
      await store.vault.batch([
        { type: 'set', key: 'b', value: bytes('2') },
        { type: 'set', key: 'c', value: bytes('3') },
      ]);
      await place.newestService().opened.timeRefresh.refresh();
      await store.close();
      const again = await place.open();
      const log = await again.auditLog();
      const entries = log.filter(({ generation }) => generation > first);
      assert.deepEqual(
        entries.map(({ operation }) => operation),
        ['data', 'data', 'time', 'close', 'open'],
      );
      assert.deepEqual(entries.map(({ operations }) => operations).slice(0, 2), [1, 2]);
      for (const [index, entry] of log.entries()) {
        assert.equal(entry.generation, (log[0]?.generation ?? 0) + index, 'without a gap');
        assert.match(entry.head, /^[0-9a-f]{64}$/);
      }
      assert.equal(entries[0]?.timeMs, place.clock.wallMs());
      assert.equal(log.at(-1)?.head, again.status().head);
      assert.equal(new Set(log.map(({ head }) => head)).size, log.length);
      await again.close();
    });

    it('audit log: a gap, a swap or an edit is PERS_8003', async () => {
      await place.made(12);
      const whole = place.snapshot();
      const file = whole.get('store/tmtmp.bin')!.bytes;
      const slot = (log: Buffer, index: number): Buffer =>
        log.subarray(192 + index * 88, 192 + (index + 1) * 88);
      const edits: Record<string, (log: Buffer) => void> = {
        'a gap': (log) => void slot(log, 3).fill(0),
        'a missing entry': (log) => {
          for (let i = 3; i < 20; ++i) slot(file, i + 1).copy(slot(log, i));
        },
        'a swap': (log) => {
          slot(file, 2).copy(slot(log, 3));
          slot(file, 3).copy(slot(log, 2));
        },
        'a repetition': (log) => void slot(file, 2).copy(slot(log, 3)),
        'an edited time': (log) => log.writeBigInt64LE(1n, 192 + 4 * 88 + 8),
        'an edited operation': (log) => log.writeUInt8(3, 192 + 4 * 88 + 16),
        'an edited number': (log) => log.writeUInt32LE(9, 192 + 4 * 88 + 20),
        'an edited head': (log) => log.writeUInt8(log.readUInt8(192 + 4 * 88 + 30) ^ 1, 192 + 4 * 88 + 30),
        'an edited chain': (log) => log.writeUInt8(log.readUInt8(192 + 4 * 88 + 60) ^ 1, 192 + 4 * 88 + 60),
        'an edited checkpoint': (log) => log.writeUInt8(7, 40),
      };
      for (const [name, edit] of Object.entries(edits)) {
        place.restore(whole);
        const log = Buffer.from(file);
        edit(log);
        place.write('tmtmp.bin', log);
        const error = await place.refused('tamper-file-tampered');
        assert.equal(error.code, 'PERS_8003', name);
      }
    });

    it('audit log: bounded in size, whatever is written', async () => {
      const capacity = 32;
      const store = await place.open({}, { tamperCapacity: capacity, witnessIntervalMs: 0 });
      for (let i = 0; i < 500; ++i) await store.vault.set('key', bytes(String(i)));
      await store.anchor();
      assert.equal(place.read('tmtmp.bin').length, 192 + capacity * 88);
      const log = await store.auditLog();
      assert.ok(log.length <= capacity);
      assert.equal(log.at(-1)?.generation, store.status().generation);
      assert.equal((await store.auditLog(3)).length, 3);
      await store.close();
      assert.equal(place.read('tmtmp.bin').length, 192 + capacity * 88);
      const notices: Notice[] = [];
      await place.visit((again) => again.on('notice', (notice) => notices.push(notice)));
      assert.deepEqual(notices, []);
    });
  });
});
