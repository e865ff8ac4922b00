import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { findLeftovers, removeLeftovers } from '../lib/operations/leftovers.js';
import { decommissionStore, type Decommissioned } from '../lib/operations/administrative.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { parsePermit, signPermit, type PermitPurpose } from '../lib/options/permit.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { binding, quickKdf, World } from './support/stores.js';

const value = Buffer.from('x');
const password = Buffer.from('correct horse');
const recovery = { password, kdf: quickKdf };
const day = 86_400_000;

function files(directory: string): Map<string, string> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return new Map(entries.map((e) => [e.name, readFileSync(join(e.parentPath, e.name), 'hex')]));
}

describe('maintenance', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  /** A store with a key, closed; then everything in its directory put back to what it was before the last commits. */
  async function rewound(options: Parameters<World['open']>[0] = { recovery }): Promise<void> {
    let store = await world.open(options);
    await store.vault.set('old', value);
    await store.close();
    const backup = join(world.root, 'backup');
    cpSync(world.directory, backup, { recursive: true });
    store = await world.open();
    await store.vault.set('new', value, { durability: 'witnessed' });
    await store.close();
    rmSync(world.directory, { recursive: true });
    cpSync(backup, world.directory, { recursive: true });
  }

  describe('inspect', () => {
    it('tells of a store what a start would say, and changes nothing', async () => {
      const store = await world.open({ recovery });
      await store.vault.set('key', value, { durability: 'witnessed' });
      const live = await world.inspect();
      assert.equal(live.verdict, 'ok');
      assert.equal(live.instance, 'test');
      assert.equal(live.provision, 'complete');
      assert.deepEqual(
        live.keySlots.map(({ type }) => type),
        ['software', 'password'],
      );
      assert.equal(live.status?.generation, store.status().generation);
      assert.equal(live.status.head, store.status().head);
      await store.close();
      const before = files(world.root);
      assert.equal((await world.inspect()).verdict, 'ok');
      assert.deepEqual(files(world.root), before);
      await world.open();
    });

    it('shows the checkpoint of a refused store, for the vendor’s permit', async () => {
      await rewound();
      const seen = await world.inspect();
      assert.equal(seen.verdict, 'vault-rolled-back');
      assert.equal(seen.error?.code, 'PERS_8003');
      assert.match(seen.status?.head ?? '', /^[0-9a-f]{64}$/);
    });

    it('tells what it can without the root', async () => {
      await (await world.open()).close();
      rmSync(world.secrets, { recursive: true });
      const seen = await world.inspect();
      assert.equal(seen.verdict, 'root-unavailable');
      assert.equal(seen.status, undefined);
      assert.deepEqual(seen.secretStore, { type: 'file', directory: world.secrets });
    });

    it('no-store where none is', async () => {
      await rejectsReason(world.inspect(), 'not-found');
    });

    it('no act makes a store', async () => {
      for (const kind of ['reanchor', 'recover', 'reseal', 'decommission'] as const) {
        const performed: Promise<unknown> =
          kind === 'decommission' ? world.decommission({ password }) : world.perform(kind, { password });
        await rejectsReason(performed, 'no-store');
        assert.ok(!existsSync(world.directory) && !existsSync(world.secrets), kind);
      }
    });
  });

  describe('reanchor', () => {
    it('accepts a legitimate restore by the backup password, once', async () => {
      await rewound();
      await rejectsReason(world.open(), 'vault-rolled-back');
      await rejectsReason(world.perform('reanchor', {}), 'password-missing');
      await rejectsReason(world.perform('reanchor', { password: Buffer.from('wrong') }), 'password-wrong');
      const store = await world.perform('reanchor', { password });
      assert.ok(store.vault.has('old') && !store.vault.has('new'));
      await store.vault.set('key', value);
      await store.close();
      const operations = (await (await world.open()).auditLog()).map(({ operation }) => operation);
      assert.ok(operations.includes('reanchor'));
    });

    it('has nothing to do when all is well', async () => {
      await (await world.open({ recovery })).close();
      await rejectsReason(world.perform('reanchor', { password }), 'nothing-to-do');
      await (await world.open()).close();
    });

    it('cures staleness', async () => {
      await (await world.open({ recovery })).close();
      world.clock.advance(30 * day);
      await rejectsReason(world.open(), 'state-stale');
      await (await world.perform('reanchor', { password: () => Promise.resolve(password) })).close();
      await (await world.open()).close();
    });

    it('nobody can, without a password and a vendor', async () => {
      await rewound({});
      await rejectsReason(world.perform('reanchor', { password }), 'password-missing');
    });
  });

  describe('a vendor’s permit', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const vendor = { vendorPublicKey: publicKey, recovery };
    const permitFor = async (purpose: PermitPurpose, key = privateKey): Promise<string> => {
      const status = (await world.inspect()).status;
      assert.ok(status);
      const { storageId, generation, head } = status;
      return signPermit({ privateKey: key, purpose, storageId, generation, head });
    };

    it('reanchors in place of the password', async () => {
      await rewound(vendor);
      await rejectsReason(world.perform('reanchor', { password }), 'authority-refused');
      await rejectsReason(
        world.perform('reanchor', { permit: await permitFor('recover') }),
        'authority-refused',
      );
      const other = generateKeyPairSync('ed25519').privateKey;
      await rejectsReason(
        world.perform('reanchor', { permit: await permitFor('reanchor', other) }),
        'authority-refused',
      );
      const permit = await permitFor('reanchor');
      await (await world.perform('reanchor', { permit })).close();
      await (await world.open()).close();
    });

    it('serves once, though the files are put back', async () => {
      await rewound(vendor);
      const backup = join(world.root, 'second backup');
      cpSync(world.directory, backup, { recursive: true });
      const permit = parsePermit(await permitFor('reanchor'));
      await (await world.perform('reanchor', { permit })).close();
      rmSync(world.directory, { recursive: true });
      cpSync(backup, world.directory, { recursive: true });
      await rejectsReason(world.perform('reanchor', { permit }), 'already-accepted');
    });

    it('is refused when it is none', async () => {
      await (await world.open(vendor)).close();
      for (const wrong of ['', 'x', 'a'.repeat(182), '*'.repeat(182), new Uint8Array(136), 5, {}]) {
        await rejectsReason(world.decommission({ permit: wrong as string }), 'invalid-argument');
      }
      await rejectsReason(world.decommission({ pin: 5 } as never), 'invalid-option');
      await rejectsReason(world.decommission(undefined as never), 'invalid-option');
    });

    it('is signed with an Ed25519 key over well-formed checkpoints only', () => {
      const good = {
        privateKey,
        purpose: 'reanchor',
        storageId: 'ab'.repeat(16),
        generation: 5,
        head: '00'.repeat(32),
      } as const;
      assert.equal(parsePermit(signPermit(good)).length, 136);
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
      assert.equal(signPermit({ ...good, privateKey: pem }), signPermit(good));
      assert.equal(signPermit({ ...good, privateKey: Buffer.from(pem) }), signPermit(good));
      const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
      const wrong = [
        { privateKey: rsa },
        { privateKey: publicKey },
        { privateKey: 'text' },
        { purpose: 'everything' },
        { purpose: 'constructor' },
        { storageId: 'ab' },
        { storageId: 'zz'.repeat(16) },
        { generation: -1 },
        { generation: 1.5 },
        { head: '' },
      ];
      for (const change of wrong) {
        throwsReason(() => signPermit({ ...good, ...change } as never), 'invalid-argument');
      }
    });
  });

  describe('recover', () => {
    it('opens by password when the root is lost; continuity is unproven until reanchor', async () => {
      let store: OpenStore = await world.open({ recovery });
      await store.vault.set('key', value);
      await store.close();
      await rejectsReason(world.perform('recover', { password }), 'nothing-to-do');
      rmSync(world.secrets, { recursive: true });
      await rejectsReason(world.open(), 'root-unavailable');
      await rejectsReason(world.perform('recover', {}), 'password-missing');
      await rejectsReason(world.perform('recover', { password: Buffer.from('wrong') }), 'password-wrong');
      store = await world.perform('recover', { password });
      assert.ok(store.vault.has('key'));
      assert.equal(store.status().continuity, 'unproven');
      await store.close();
      store = await world.open();
      assert.equal(store.status().continuity, 'unproven');
      await store.close();
      store = await world.perform('reanchor', { password });
      assert.equal(store.status().continuity, 'proven');
    });
  });

  describe('decommission', () => {
    it('leaves nothing of the store, and a clean cold start follows', async () => {
      await (await world.open({ recovery })).close();
      await rejectsReason(world.decommission({ password: Buffer.from('wrong') }), 'password-wrong');
      await world.decommission({ password });
      assert.deepEqual(
        [...files(world.root).keys()].filter((name) => name !== 'lock'),
        [],
      );
      await rejectsReason(world.decommission({ password }), 'no-store');
      assert.equal((await world.open()).startup, 'COLDSTART');
    });

    const act = (options: object): Promise<Decommissioned> =>
      decommissionStore(binding, { ...world.options(), recovery: undefined, ...options } as never, {
        clock: world.clock,
      });

    it('is refused where items would stay, and without the root needs the password', async () => {
      await (await world.open({ recovery })).close();
      rmSync(world.secrets, { recursive: true });
      const { message } = await rejectsReason(act({ credential: { password } }), 'items-missing');
      assert.match(message, /VaultHash, TimeTamper, RootKey of the instance 'test'/);
      await rejectsReason(act({ credential: {}, allowLeftovers: true }), 'password-missing');
      const { leftBehind, leftovers } = await act({ credential: { password }, allowLeftovers: true });
      assert.deepEqual([leftBehind.length, leftovers], [1, []]);
      assert.equal((await world.open()).startup, 'COLDSTART');
    });

    it('keeps items that no authority was asked for, and removes leftovers of the instance alone', async () => {
      await (await world.open({ recovery })).close();
      const other = { instance: 'other', directory: `${world.directory}-other` };
      await (await world.open({ ...other, recovery })).close();
      const place = {
        directory: world.directory,
        secretStore: world.options().secretStore,
        instance: 'test',
      };
      await rejectsReason(removeLeftovers(binding, place), 'store-exists');
      rmSync(world.directory, { recursive: true });
      const found = await findLeftovers(binding, place);
      assert.deepEqual(found.map(({ name }) => name).sort(), ['RootKey', 'TimeTamper', 'VaultHash']);
      const { leftovers } = await decommissionStore(binding, { ...place, leftovers: true } as never);
      assert.deepEqual(leftovers, found);
      await rejectsReason(removeLeftovers(binding, place), 'nothing-to-do');
      assert.equal((await world.open(other)).startup, 'WARMSTART');
    });
  });

  describe('verify, compact, anchor and the audit log', () => {
    it('say what there is', async () => {
      const store = await world.open();
      for (let i = 0; i < 20; ++i) await store.vault.set(`k${i % 5}`, Buffer.alloc(1000, i));
      await store.anchor();
      assert.equal(store.status().window.generations, 0);
      const progress: [number, number][] = [];
      const report = await store.verify({ onProgress: (done, all) => progress.push([done, all]) });
      assert.equal(report.newest.generation, store.status().generation);
      assert.equal(report.newest.head, store.status().head);
      assert.deepEqual(
        report.witnesses.map(({ lagGenerations }) => lagGenerations),
        [0, 0],
      );
      const log = await store.auditLog();
      assert.equal(log.length, report.newest.generation);
      log.forEach((entry, i) => {
        assert.equal(entry.generation, i + 1);
      });
      assert.deepEqual(
        (await store.auditLog(2)).map(({ generation }) => generation),
        log.slice(-2).map(({ generation }) => generation),
      );
      const { logBytes, head } = store.status();
      await store.compact();
      assert.ok(store.status().logBytes < logBytes);
      assert.equal(store.status().head, head);
      await store.verify();
      assert.deepEqual([...store.vault.keys()], ['k0', 'k1', 'k2', 'k3', 'k4']);
    });

    it('what a progress function throws goes no further', async () => {
      const store = await world.open();
      for (let i = 0; i < 3; ++i) await store.vault.set(`k${i}`, Buffer.alloc(8_000_000, i));
      const reports: unknown[] = [];
      const collect = (message: unknown): void => {
        reports.push(message);
      };
      subscribe('strongroom:subscriber-error', collect);
      const error = new Error('thrown on purpose');
      await store.verify({
        onProgress: () => {
          throw error;
        },
      });
      unsubscribe('strongroom:subscriber-error', collect);
      assert.ok(reports.length > 0);
      assert.deepEqual(reports[0], { event: 'progress', error });
    });

    it('run one at a time, whoever asks, and a close waits for them', async () => {
      const store = await world.open({ recovery });
      const tasks = [store.verify(), store.anchor(), store.compact(), store.auditLog()];
      const writes = Array.from({ length: 100 }, (_, i) => store.vault.set(`k${i}`, value));
      await store.close();
      await Promise.all([...tasks, ...writes]);
      assert.equal((await world.open()).vault.size, 100);
    });
  });
});
