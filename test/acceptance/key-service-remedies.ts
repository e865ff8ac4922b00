// The refusals of a store whose root is wrapped by a key service (a real one over HTTP), each with the way out that its remedy
// names.
import assert from 'node:assert/strict';

import type { Reason } from '../../lib/error-table.js';
import type { PersistenceError } from '../../lib/errors.js';
import { httpKms } from '../../examples/http-kms.js';
import { KeyService } from '../support/key-service.js';
import { quickKdf, World } from '../support/stores.js';
import { checkAgainstTable, rejection } from './support.js';

const password = Buffer.from('a backup password');

async function withService(work: (world: World, service: KeyService) => Promise<void>): Promise<void> {
  const world = new World();
  const service = await KeyService.started();
  try {
    const store = await world.open({
      protector: httpKms(service.url),
      recovery: { password, kdf: quickKdf },
    });
    await store.vault.set('seats', Buffer.from('12'));
    await store.close();
    await work(world, service);
  } finally {
    await service.close();
    await world.closeAll();
  }
}

async function refused(world: World, service: KeyService, reason: Reason, words: RegExp): Promise<void> {
  const error: PersistenceError = await rejection(world.open({ protector: httpKms(service.url) }));
  assert.equal(error.reason, reason, error.message);
  checkAgainstTable(error);
  assert.match(error.remedy, words);
}

async function opens(world: World, service: KeyService): Promise<void> {
  const store = await world.open({ protector: httpKms(service.url) });
  assert.equal(store.vault.get('seats')?.toString(), '12');
  await store.close();
}

export const keyService: Partial<Record<Reason, () => Promise<void>>> = {
  'key-service-unreachable': () =>
    withService(async (world, service) => {
      service.mood = 'broken';
      await refused(world, service, 'key-service-unreachable', /then try again/);
      service.mood = 'serving';
      await opens(world, service);
    }),
  'key-service-refused': () =>
    withService(async (world, service) => {
      service.mood = 'forbidding';
      await refused(world, service, 'key-service-refused', /Restore the permission/);
      service.mood = 'serving';
      await opens(world, service);
      service.loseKey();
      await refused(world, service, 'key-service-refused', /gone for good.*`recover`/);
      const recovered = await world.perform('recover', { password }, { protector: httpKms(service.url) });
      await recovered.close();
      await opens(world, service);
    }),
};
