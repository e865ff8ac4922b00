// What becomes of a directory without a store, and where the SecretStore may lie.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

import type { OpenOptions } from '../lib/index.js';
import { hasNamespaces } from './deploy/support.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { binding, quickKdf, World } from './support/stores.js';

describe('create', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  it("'never' answers no-store for a missing store and makes nothing; an existing one opens", async () => {
    await assert.rejects(world.open({ create: 'never' }), /Is the disk mounted\?/);
    await rejectsReason(world.open({ create: 'never' }), 'no-store');
    assert.equal(existsSync(world.directory), false);
    mkdirSync(world.directory, { mode: 0o700 });
    await rejectsReason(world.open({ create: 'never' }), 'no-store');
    await (await world.open({ recovery: 'none' })).close();
    const store = await world.open({ create: 'never' });
    assert.equal(store.startup, 'WARMSTART');
  });

  it("'never' makes no store where the files were moved away, and 'always' refuses an existing one", async () => {
    await (await world.open({ create: 'always', recovery: 'none' })).close();
    await rejectsReason(world.open({ create: 'always', recovery: 'none' }), 'store-exists');
    renameSync(world.directory, `${world.directory}-moved`);
    await rejectsReason(world.open({ create: 'never' }), 'no-store');
    renameSync(`${world.directory}-moved`, world.directory);
    await (await world.open({ create: 'if-missing' })).close();
  });

  it('is one of three, and not always when opened for reading', () => {
    throwsReason(() => world.service({ create: 'sometimes' as never }), 'invalid-option');
    throwsReason(() => world.service({ create: true as never }), 'invalid-option');
    throwsReason(() => world.service({ create: 'always', readOnly: true }), 'invalid-option');
  });
});

describe('a way back', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  it('is needed at COLDSTART, unless none is asked for in so many words', async () => {
    await rejectsReason(world.open({ recovery: undefined as never }), 'invalid-option');
    await rejectsReason(world.open({ recovery: {} }), 'invalid-option');
    assert.equal(existsSync(world.directory), false);
    const store = await world.open({ recovery: 'none' });
    assert.equal(store.status().recoverable, false);
    await store.close();
    assert.equal((await world.inspect()).recoverable, false);
    await (await world.open({ recovery: undefined as never })).close();
  });

  it('is a password of 12 bytes or more', async () => {
    const twelve = Buffer.from('twelve bytes');
    await rejectsReason(world.open({ recovery: { password: Buffer.from('eleven byte') } }), 'invalid-option');
    assert.equal(existsSync(world.directory), false);
    const store = await world.open({ recovery: { password: twelve, kdf: quickKdf } });
    assert.equal(store.status().recoverable, true);
    const short = Buffer.from('eleven byte');
    await rejectsReason(store.changePassword(twelve, short), 'invalid-argument');
    await rejectsReason(store.addPassword(twelve, short), 'invalid-argument');
    await rejectsReason(store.verifyPassword(short), 'password-wrong');
  });

  it('is not closed by a maximum age that no start could meet', () => {
    throwsReason(() => world.service({ maxAgeMs: 0 }), 'invalid-option');
    throwsReason(() => world.service({ maxAgeMs: 59_999 }), 'invalid-option');
  });
});

describe('the place of the SecretStore', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());
  const at = (directory: string): Partial<OpenOptions> => ({
    recovery: 'none',
    secretStore: { type: 'file', directory },
  });

  it("is not the store's directory, nor in it, nor above it, whether they exist or not", async () => {
    const { directory, root } = world;
    for (const made of [false, true]) {
      if (made) mkdirSync(directory, { mode: 0o700 });
      for (const place of [directory, join(directory, 'secrets'), join(directory, 'a/b'), root, '/'])
        await rejectsReason(world.open(at(place)), 'invalid-option');
    }
    assert.equal(existsSync(join(directory, 'persistence.bin')), false);
    await (await world.open(at(join(root, 'store-secrets')))).close();
  });

  it('is not so through a link either', async () => {
    const { directory, root } = world;
    mkdirSync(directory, { mode: 0o700 });
    symlinkSync(directory, join(root, 'link'));
    await rejectsReason(world.open(at(join(root, 'link'))), 'invalid-option');
    await rejectsReason(world.open(at(join(root, 'link/secrets'))), 'invalid-option');
    symlinkSync(root, join(root, 'up'));
    const through = world.open({ ...at(join(directory, 'secrets')), directory: join(root, 'up/store') });
    await rejectsReason(through, 'invalid-option');
  });

  it('is not so through a bind mount either', async function () {
    // Only root of a machine that permits mounts can make one; there a mount that fails is a failure.
    if (!hasNamespaces()) this.skip();
    const { directory, root } = world;
    const mounted = join(root, 'mounted');
    for (const path of [directory, mounted]) mkdirSync(path, { mode: 0o700 });
    execFileSync('mount', ['--bind', directory, mounted], { stdio: 'pipe' });
    try {
      await rejectsReason(world.open(at(mounted)), 'invalid-option');
      await rejectsReason(world.open(at(join(mounted, 'secrets'))), 'invalid-option');
      assert.equal((await binding.relatePlaces(mounted, join(directory, 'secrets'))).overlap, true);
    } finally {
      execFileSync('umount', [mounted]);
    }
  });

  it('of recover is held to the same', async () => {
    const password = Buffer.from('correct horse battery staple');
    await (await world.open({ recovery: { password } })).close();
    renameSync(world.secrets, `${world.secrets}-lost`);
    const inside = { secretStore: { type: 'file', directory: join(world.directory, 'secrets') } } as const;
    await rejectsReason(world.perform('recover', { password }, inside), 'invalid-option');
    await (await world.perform('recover', { password })).close();
  });

  it('on the file system of the store is in the status', async () => {
    const store = await world.open({ recovery: 'none' });
    assert.equal(store.status().secretStoreSharesFileSystem, true);
    assert.equal((await world.inspect()).status?.secretStoreSharesFileSystem, true);
    await store.close();
    const other = new World();
    const place = `/dev/shm/${other.root.replaceAll('/', '-')}`;
    try {
      const apart = await other.open(at(place));
      assert.equal(apart.status().secretStoreSharesFileSystem, false);
      await apart.close();
    } finally {
      await other.closeAll();
      execFileSync('rm', ['-rf', place]);
    }
  });
});
