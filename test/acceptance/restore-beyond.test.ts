// Beyond the auto-restore document: what operators expect of a store in a token besides its restore.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { isPersistenceError } from '../../lib/errors.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import { detectLoss } from '../../lib/restore/world.js';
import { rejectsReason } from '../support/errors.js';
import { backupPassword, bytes, HsmWorld, pin, softhsm } from '../support/softhsm.js';
import { binding } from '../support/stores.js';
import { findTokens, makeToken } from '../../lib/restore/token-setup.js';
import type { Pkcs11ProtectorOptions } from '../../lib/protectors/pkcs11.js';

describe('acceptance: beyond the auto-restore document', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
  });
  afterEach(async () => {
    await world.closeAll();
  });

  it('beyond the document: an outage heals without restart and without password', async () => {
    await world.makeStore();
    world.takeAway();
    const outage = await world.detect();
    assert.equal(outage.state, 'OUTAGE');
    await rejectsReason(world.open(), 'hsm-unreachable');
    world.bringBack();
    const service = await world.open();
    // While the store is open, too: writes go on, and the token's witness follows when the token is back.
    world.takeAway();
    await service.vault.set('seats', bytes('11'));
    const unmoved = await service.anchor().then(
      () => undefined,
      (error: unknown) => error,
    );
    assert.ok(isPersistenceError(unmoved) && unmoved.reason === 'witness-not-moved', String(unmoved));
    assert.equal(service.vault.get('seats')?.toString(), '11');
    world.bringBack();
    await service.anchor();
    assert.equal(service.status().window.generations, 0);
    await service.close();
    assert.equal((await world.detect()).state, 'WIZARD_COMPLETED');
  });

  it('beyond the document: change of password, rotation of the KEK, and a drill with its date', async () => {
    await world.makeStore();
    const service = await world.open();
    const before = service.status().token?.kekId;
    assert.equal(service.status().passwordVerifiedMs, undefined);
    await service.verifyPassword(bytes(backupPassword));
    assert.ok(Date.now() - (service.status().passwordVerifiedMs ?? 0) < 60_000);
    await service.rotateKek();
    assert.notEqual(service.status().token?.kekId, before);
    await service.changePassword(bytes(backupPassword), bytes('another password'));
    assert.equal(service.status().passwordVerifiedMs, undefined);
    await service.close();
    assert.equal(world.keks(), 1);
    world.destroyKek();
    await rejectsReason(world.restore(), 'password-wrong');
    const restored = await world.restore({ credential: { password: bytes('another password') } });
    assert.equal(restored.vault.get('seats')?.toString(), '12');
  });

  it('beyond the document: rotation of the DEK beside writes; an old persistence.bin opens nothing with its password', async () => {
    await world.makeStore();
    const old = readFileSync(join(world.directory, 'persistence.bin'));
    const service = await world.open();
    const kek = service.status().token?.kekId;
    const context = bytes('customers/7/iban');
    const sealed = service.fields.seal(bytes('DE02'), { context });
    await service.changePassword(bytes(backupPassword), bytes('another password'));
    const writes = Array.from({ length: 50 }, (_, n) => service.vault.set(`k${n}`, bytes('v')));
    await Promise.all([service.rotateDek({ password: bytes('another password') }), ...writes]);
    assert.deepEqual(service.status().dek, { keyId: 2, rotation: 'complete', formerFieldKeys: 1 });
    assert.equal(service.status().token?.kekId, kek);
    assert.equal(service.status().window.generations, 0);
    assert.equal(service.fields.needsRotation(sealed), true);
    assert.equal(service.fields.open(sealed, { context }).toString(), 'DE02');
    await service.close();
    await (await world.open()).close();

    const present = readFileSync(join(world.directory, 'persistence.bin'));
    writeFileSync(join(world.directory, 'persistence.bin'), old);
    await rejectsReason(world.open(), 'persistence-rolled-back');
    world.destroyKek();
    await rejectsReason(world.restore(), 'persistence-rolled-back');
    writeFileSync(join(world.directory, 'persistence.bin'), present);
    await rejectsReason(world.restore(), 'password-wrong');
    const restored = await world.restore({ credential: { password: bytes('another password') } });
    assert.equal(restored.vault.get('seats')?.toString(), '12');
    assert.equal(restored.vault.get('k49')?.toString(), 'v');
    assert.equal(restored.fields.open(sealed, { context }).toString(), 'DE02');
  });

  it('beyond the document: two stores in one token do not meet', async () => {
    const other = {
      directory: join(world.root, 'other'),
      instance: 'other',
      secretStore: { type: 'file', directory: join(world.root, 'other-secrets') },
    } as const;
    await world.makeStore();
    await world.makeStore(other);
    assert.deepEqual([world.keks(), world.keks('acme', 'strongroom other')], [1, 1]);
    world.destroyKek();
    const untouched = await world.open(other);
    await untouched.rotateKek();
    await untouched.close();
    await (await world.restore()).close();
    assert.deepEqual([world.keks(), world.keks('acme', 'strongroom other')], [1, 1]);
    await (await world.open(other)).close();
  });

  it('beyond the document: no PKCS#11 call stands between a write and its promise', async () => {
    await world.makeStore();
    const service = await world.open();
    const before = world.tokenTimes();
    for (let n = 0; n < 200; n += 1) await service.vault.set(`k${n}`, bytes('v'));
    assert.equal(world.tokenTimes(), before, 'no object of the token was written');
    await service.close();
    // OpenSC's spy writes a line for every call into the module.
    const spy = [
      '/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so',
      '/usr/lib/aarch64-linux-gnu/pkcs11/pkcs11-spy.so',
      '/usr/lib/pkcs11/pkcs11-spy.so',
      '/usr/lib/x86_64-linux-gnu/pkcs11-spy.so',
    ].find((path) => existsSync(path));
    assert.ok(spy !== undefined, 'pkcs11-spy.so is missing: apt-get install opensc');
    const calls = join(world.root, 'calls');
    process.env['PKCS11SPY'] = softhsm;
    process.env['PKCS11SPY_OUTPUT'] = calls;
    try {
      const watched = await world.open({ protector: world.protector({ module: spy }) });
      const opened = statSync(calls).size;
      assert.ok(opened > 0);
      for (let n = 0; n < 500; n += 1) await watched.vault.set(`s${n}`, bytes('v'));
      assert.equal(statSync(calls).size, opened, 'not one call for 500 writes');
      await watched.vault.set('s', bytes('v'), { durability: 'witnessed' });
      assert.ok(statSync(calls).size > opened, 'the spy sees calls');
      await watched.close();
    } finally {
      delete process.env['PKCS11SPY'];
      delete process.env['PKCS11SPY_OUTPUT'];
    }
  });

  it('beyond the document: writes go on without the token', async () => {
    await world.makeStore();
    const service = await world.open();
    // A module that is gone would fail every call.
    world.takeAway();
    for (let n = 0; n < 200; n += 1) await service.vault.set(`l${n}`, bytes('v'));
    world.bringBack();
    const before = world.tokenTimes();
    await service.vault.set('m', bytes('v'), { durability: 'witnessed' });
    assert.notEqual(world.tokenTimes(), before, 'a witnessed one does move the token');
    assert.equal(service.status().witnesses.find(({ name }) => name === 'token')?.failing, false);
  });

  it('beyond the document: a token is named by label, serial number, slot or URI; its PIN comes from a file', async () => {
    await world.makeStore();
    const [token] = (await world.list()).filter(({ initialised }) => initialised);
    const { serial, slotId } = token ?? assert.fail('no token');
    const file = join(world.root, 'pin');
    writeFileSync(file, `${pin}\n`, { mode: 0o600 });
    const uri = `pkcs11:token=acme;serial=${serial}?module-path=${softhsm}&pin-source=file:${file}`;
    for (const protector of [
      world.protector({ token: { serial } }),
      world.protector({ token: { slotId } }),
      { type: 'pkcs11', module: softhsm, pin: () => Promise.resolve(bytes(pin)) },
      { type: 'pkcs11', uri },
    ] as const) {
      await (await world.open({ protector })).close();
    }
    const refuse = async (protector: object, reason: Parameters<typeof rejectsReason>[1]): Promise<void> => {
      await rejectsReason(
        Promise.resolve().then(() => world.open({ protector: protector as never })),
        reason,
      );
    };
    await refuse({ type: 'pkcs11', uri: `${uri}&pin-value=1234` }, 'invalid-option');
    await refuse({ type: 'pkcs11', uri: uri.replace('file:', '|cat%20') }, 'invalid-option');
    await refuse({ type: 'pkcs11', uri, pin: bytes(pin) }, 'invalid-option');
    await refuse({ type: 'pkcs11', uri, token: 'other' }, 'invalid-option');
    await refuse({ type: 'pkcs11', module: 'libsofthsm2.so', pin: bytes(pin) }, 'invalid-option');
    await refuse({ type: 'pkcs11', pin: bytes(pin) }, 'invalid-option');
    await refuse({ type: 'pkcs11', module: softhsm, pin: pin }, 'invalid-argument');
  });

  it('beyond the document: `physical` is the same code: NSS softokn, another module with another store', async () => {
    const nss = [
      '/usr/lib/x86_64-linux-gnu/libsoftokn3.so',
      '/usr/lib/aarch64-linux-gnu/libsoftokn3.so',
      '/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so',
      '/usr/lib64/libsoftokn3.so',
    ].find((path) => existsSync(path));
    assert.ok(nss !== undefined, 'NSS is missing: apt-get install libnss3');
    const setUp = async (name: string): Promise<Pkcs11ProtectorOptions> => {
      const directory = join(world.root, name);
      mkdirSync(directory);
      const initArguments = `configdir='sql:${directory}' certPrefix='' keyPrefix='' secmod='secmod.db' flags= dbTokenDescription='acme db'`;
      const place = { module: nss, initArguments };
      const slot = (await findTokens(binding, place)).find(({ label }) => label === 'acme db');
      const { slotId } = slot ?? assert.fail('no slot');
      // Its security officer has no PIN until the user has one.
      await makeToken(binding, {
        ...place,
        slotId,
        label: 'acme db',
        soPin: Buffer.alloc(0),
        pin: bytes(pin),
      });
      return { type: 'pkcs11', ...place, token: 'acme db', pin: bytes(pin) };
    };
    const protector = await setUp('nss');
    await world.makeStore({ protector });
    const service = await world.open({ protector });
    await service.keys.generate({ id: 'ca', algorithm: 'EC-P256', location: 'hsm' });
    await service.rotateKek();
    await service.close();
    const successor = await setUp('nss-successor');
    const found = await detectLoss(binding, { directory: world.directory, protector: successor });
    assert.deepEqual([found.state, found.found.token], ['WIZARD_AUTO_RESTORE_PASSWORD', 'kek-missing']);
    const restored = await world.restore({ protector: successor });
    assert.equal(restored.vault.get('seats')?.toString(), '12');
    assert.equal(restored.keys.get('ca').state, 'deactivated');
    await restored.close();
    await (await world.open({ protector: successor })).close();
  });

  it('beyond the document: decommission leaves the token as it was found, and a COLDSTART can follow', async () => {
    const before = world.tool('--token-label', 'acme', '--login', '--pin', pin, '--list-objects');
    await world.makeStore();
    const service = new PersistenceService(binding, world.options());
    await service.decommission({ kind: 'decommission', password: bytes(backupPassword) });
    assert.equal(world.tool('--token-label', 'acme', '--login', '--pin', pin, '--list-objects'), before);
    await world.makeStore();
    const found = await detectLoss(binding, {
      directory: world.directory,
      protector: world.protector(),
    });
    assert.equal(found.scenario, 3);
  });
});
