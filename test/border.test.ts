// What crosses the border to the core is refused by name where native/border.mjs does not know it
import assert from 'node:assert/strict';

import { deliveryBytes, operationSteps } from '../lib/native-border.js';
import type { NativeStoreOptions } from '../lib/native-binding.js';
import { restoreSteps, StepReport, type RestoreEvent } from '../lib/restore/steps.js';
import { binding, quickKdf, World } from './support/stores.js';

describe('the border to the core', () => {
  const place = { directory: '/var/lib/none', instance: 'test' };
  const make = (options: unknown): unknown =>
    new binding.Store(options as NativeStoreOptions, () => undefined, new ArrayBuffer(deliveryBytes));
  const refuses = (options: unknown, message: string): void => {
    assert.throws(() => make(options), { reason: 'invalid-option', message });
  };

  it('options that are not an object, or have an unknown or a missing member', () => {
    refuses(undefined, 'the options must be an object');
    refuses(5, 'the options must be an object');
    refuses({ ...place, storage: { type: 'tpm' } }, "there is no option 'storage'");
    refuses({ ...place, readonly: true }, "there is no option 'readonly'");
    refuses({ instance: 'test' }, 'the option directory is missing');
    refuses({ directory: place.directory, instance: undefined }, 'the option instance is missing');
  });

  it('options of the wrong type or out of range', () => {
    const wrong = (name: string): string => `the option ${name} has the wrong type or is out of range`;
    for (const [name, values] of Object.entries({
      directory: [5, {}],
      readOnly: ['yes', 1],
      windowMaxMs: ['1', -1, 0.5, 2 ** 53, Infinity],
      maxAgeMs: ['1', -1, -Infinity, NaN],
      witnessIntervalMs: [2 ** 32],
      reserveBytes: [2 ** 26 + 1],
      vendorPublicKey: [Buffer.alloc(31), Buffer.alloc(33)],
      clock: [{}, 5],
    })) {
      for (const value of values) refuses({ ...place, [name]: value }, wrong(name));
    }
    refuses({ ...place, kdf: 5 }, 'the option recovery.kdf must be an object');
    refuses({ ...place, kdf: { lanes: 0.5 } }, wrong('recovery.kdf.lanes'));
    refuses({ ...place, kdf: { threads: 1 } }, "there is no option 'recovery.kdf.threads'");
  });

  it('a protector and a SecretStore of an unknown type, or with the members of another', () => {
    const wrong = (name: string): string => `the option ${name} has the wrong type or is out of range`;
    for (const type of ['', 'TPM', 'password', undefined, 5])
      refuses({ ...place, protector: { type } }, wrong('protector.type'));
    refuses(
      { ...place, protector: { type: 'software', pin: Buffer.from('1') } },
      "there is no option 'protector.pin'",
    );
    refuses({ ...place, protector: { type: 'tpm', module: '/x' } }, "there is no option 'protector.module'");
    refuses({ ...place, protector: { type: 'tpm', pcrs: [24] } }, wrong('protector.pcrs'));
    refuses({ ...place, protector: { type: 'pkcs11', slotId: -1 } }, wrong('protector.slotId'));
    refuses({ ...place, secretStore: { type: 'memory' } }, wrong('secretStore.type'));
    refuses({ ...place, secretStore: { type: 'file' } }, 'the option secretStore.directory is missing');
    const directory = '/srv/secrets';
    refuses(
      { ...place, secretStore: { type: 'secret-service', directory } },
      "there is no option 'secretStore.directory'",
    );
  });

  it('a plan for a token', () => {
    const pins = { soPin: Buffer.from('1234'), pin: Buffer.from('1234') };
    const plan = { module: '/x', slotId: 1, label: 'a', ...pins };
    const begin = (given: object): unknown => binding.initialiseToken(given as typeof plan);
    for (const name of ['slotId', 'label', 'soPin', 'pin']) {
      assert.throws(() => begin({ ...plan, [name]: undefined }), {
        message: `the option protector.${name} is missing`,
      });
    }
    assert.throws(() => begin({ ...plan, token: 'a' }), { message: "there is no option 'protector.token'" });
    assert.throws(() => binding.listTokens({ ...plan }), {
      message: "there is no option 'protector.slotId'",
    });
  });

  it('status and inspection have the words of the glossary', async () => {
    const world = new World();
    try {
      const password = Buffer.from('correct horse battery');
      const store = await world.open({
        recovery: { password, kdf: quickKdf },
        protector: { type: 'software' },
      });
      await store.close();
      const inspection = await binding.inspect(world.directory);
      assert.equal(inspection.protector, 'software');
      assert.deepEqual(inspection.secretStore, { type: 'file', directory: world.secrets });
      assert.deepEqual(
        inspection.keySlots.map(({ type }) => type),
        ['software', 'password'],
      );
      const native = make({ directory: world.directory, instance: '', readOnly: true }) as InstanceType<
        typeof binding.Store
      >;
      assert.equal((await native.start.open({ purpose: 'inspect' })).startup, 'WARMSTART');
      const status = native.status();
      assert.ok(status !== undefined);
      for (const old of ['storage', 'tokenPoint', 'tamperFileAnew']) assert.ok(!(old in status), old);
      await native.abandon();
    } finally {
      await world.closeAll();
    }
  });

  it('a start that was refused refuses again, and one that was not begun does not continue', async () => {
    const world = new World();
    try {
      const native = make({ directory: world.directory, instance: '', readOnly: true }) as InstanceType<
        typeof binding.Store
      >;
      assert.throws(() => native.start.proceed(), { reason: 'not-open' });
      for (const call of [
        () => native.start.open({ purpose: 'open' }),
        () => native.start.proceed(),
        () => native.start.proceed(),
      ])
        await assert.rejects(call, { reason: 'no-store' });
      await native.abandon();
    } finally {
      await world.closeAll();
    }
  });

  it('every step of the core is one of a restore', () => {
    const events: RestoreEvent[] = [];
    const report = new StepReport((event) => events.push(event));
    operationSteps.forEach((_, number) => {
      report.core(number);
    });
    report.core(operationSteps.length);
    assert.deepEqual(
      events.filter(({ state }) => state === 'begun').map(({ step }) => step),
      ['token', 'kek', 'witness', 'commit'],
    );
    assert.ok(events.every(({ step }) => restoreSteps.includes(step)));
  });
});
