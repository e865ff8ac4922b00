// Messages that name the fault of the place, so that their advice helps.
import assert from 'node:assert/strict';
import { chownSync, cpSync, linkSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { NativeStatus } from '../lib/native-binding.js';
import { noticesOf } from '../lib/store/notices.js';
import { rejectsReason } from './support/errors.js';
import { quickKdf, World } from './support/stores.js';

const password = Buffer.from('correct horse');
const next = Buffer.from('battery staple');

describe('advice', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  const made = async (): Promise<void> =>
    (await world.open({ recovery: { password, kdf: quickKdf } })).close();

  it('a file with hard links: the command that makes a copy', async () => {
    await made();
    linkSync(join(world.directory, 'vault.bin'), join(world.root, 'backup'));
    const { message } = await rejectsReason(world.open(), 'unsafe-path');
    assert.match(message, /vault\.bin: has 2 hard links.*cp -p FILE FILE\.copy && mv FILE\.copy FILE/);
  });

  it('root on the store of a service: the command that runs as its user', async function () {
    if (process.geteuid?.() !== 0) this.skip();
    await made();
    for (const path of [world.directory, join(world.directory, 'persistence.bin')])
      chownSync(path, 12_345, 12_345);
    const { message } = await rejectsReason(world.open(), 'unsafe-path');
    assert.match(
      message,
      /store: belongs to user 12345, .* runs as user 0; .*runuser -u "\$\(id -nu 12345\)" -- COMMAND/,
    );
  });

  it('a name of 256 bytes is a wrong argument, not a fault of the disk', async () => {
    const { message } = await rejectsReason(
      world.open({ directory: join(world.root, 'n'.repeat(256)) }),
      'invalid-argument',
    );
    assert.match(message, /File name too long/);
  });

  it('a directory on a network file system or on FUSE: a notice at each opening', () => {
    const kindsOn = (name: string, type: string): string[] =>
      noticesOf({ fileSystem: { name, type } } as NativeStatus).map(({ kind, message }) => {
        assert.match(message, new RegExp(`^the directory is on ${name}, .*; use a local file system$`));
        return kind;
      });
    assert.deepEqual(kindsOn('nfs', 'network'), ['unsupported-file-system']);
    assert.deepEqual(kindsOn('fuse', 'fuse'), ['unsupported-file-system']);
    assert.deepEqual(kindsOn('ext4', 'local'), []);
    assert.deepEqual(kindsOn('tmpfs', 'memory'), []);
  });

  it('a backup from before a change of the password says which password it has', async () => {
    await made();
    const backup = join(world.root, 'backup');
    cpSync(world.directory, backup, { recursive: true });
    const store = await world.open();
    await store.changePassword(password, next);
    await store.close();
    rmSync(world.directory, { recursive: true });
    cpSync(backup, world.directory, { recursive: true });
    const error = await rejectsReason(world.perform('reanchor', { password: next }), 'password-wrong');
    assert.match(`${error.message} ${error.remedy}`, /from a backup have the passwords of when it was made/);
    await world.perform('reanchor', { password });
  });
});
