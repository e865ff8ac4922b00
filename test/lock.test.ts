// Two processes and one store: the second is refused whatever became of the lock files, and nothing acknowledged is lost.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';

import type { OpenStore } from '../lib/store/open-store.js';
import { rejectsReason } from './support/errors.js';
import { Holder } from './support/holding.js';
import { World } from './support/stores.js';

describe('a store that another process has open', function () {
  this.timeout(60_000);
  let world: World;
  let holder: Holder;
  beforeEach(async () => {
    world = new World();
    holder = await Holder.opened(world.options());
    await holder.set('before');
  });
  afterEach(async () => {
    await holder.kill();
    await world.closeAll();
  });

  // The child uses the real clock.
  const open = (changes: object = {}): Promise<OpenStore> => world.open(changes, { clock: undefined });

  /** The process that has the store goes on, and all that it was told to keep is there afterwards. */
  async function goesOn(): Promise<void> {
    await holder.set('after');
    await holder.anchor();
    await holder.close();
    const store = await open();
    for (const key of ['before', 'after']) assert.equal(store.vault.get(key)?.toString(), key);
    await store.close();
  }

  const lock = (): string => join(world.directory, 'lock');
  const fates: [fate: string, befall: () => void][] = [
    ['removed', () => rmSync(lock())],
    ['renamed', () => renameSync(lock(), `${lock()}.old`)],
    [
      'replaced by an empty file',
      () => {
        rmSync(lock());
        writeFileSync(lock(), '', { mode: 0o600 });
      },
    ],
    [
      'replaced by a copy of itself',
      () => {
        const content = readFileSync(lock());
        writeFileSync(`${lock()}.copy`, content, { mode: 0o600 });
        renameSync(`${lock()}.copy`, lock());
      },
    ],
    ['emptied', () => writeFileSync(lock(), '')],
  ];
  for (const [fate, befall] of fates) {
    it(`is refused to another one when the lock file is ${fate}`, async () => {
      befall();
      await rejectsReason(open(), 'locked');
      await rejectsReason(open(), 'locked');
      await goesOn();
    });
  }

  it('is refused to another one when the lock files are removed one after the other, again and again', async () => {
    for (let i = 0; i < 3; ++i) {
      for (const file of [lock(), join(world.secrets, 'test.lock')]) {
        rmSync(file, { force: true });
        await rejectsReason(open(), 'locked');
      }
    }
    await goesOn();
  });

  it('is refused to another one at another path: a link, a rename, a mount', async () => {
    const link = join(world.root, 'link');
    symlinkSync(world.root, link);
    await rejectsReason(open({ directory: join(link, 'store') }), 'locked');
    renameSync(world.directory, `${world.directory}.moved`);
    const error = await rejectsReason(open({ directory: `${world.directory}.moved` }), 'locked');
    assert.match(error.message, new RegExp(`\\bprocess ${holder.pid}\\b`));
    renameSync(`${world.directory}.moved`, world.directory);
    await goesOn();
  });

  it('is refused to another one behind a bind mount', async function () {
    const mounted = join(world.root, 'mounted');
    mkdirSync(mounted);
    if (spawnSync('mount', ['--bind', world.directory, mounted]).status !== 0) this.skip();
    try {
      rmSync(lock());
      await rejectsReason(open({ directory: mounted }), 'locked');
    } finally {
      execFileSync('umount', [mounted]);
    }
    await goesOn();
  });

  it('its copy is refused, wherever it lies, and the message says why', async () => {
    const copy = join(world.root, 'copy');
    execFileSync('cp', ['-a', world.directory, copy]);
    const error = await rejectsReason(open({ directory: copy }), 'locked');
    assert.match(error.message, /a copy of this store, or this store by another path, is open/);
    assert.match(error.message, new RegExp(`\\bprocess ${holder.pid}\\b`));
    // At the place of the original, which was renamed.
    renameSync(world.directory, `${world.directory}.moved`);
    renameSync(copy, world.directory);
    await rejectsReason(open(), 'locked');
    renameSync(world.directory, copy);
    renameSync(`${world.directory}.moved`, world.directory);
    await goesOn();
  });

  it('its files moved to another directory are refused, with and without the lock file', async () => {
    for (const names of [['persistence.bin', 'vault.bin', 'tmtmp.bin'], ['lock']]) {
      const moved = join(world.root, 'moved');
      mkdirSync(moved, { recursive: true, mode: 0o700 });
      for (const name of names) renameSync(join(world.directory, name), join(moved, name));
      await rejectsReason(open({ directory: moved }), 'locked');
    }
    await holder.kill();
    const store = await open({ directory: join(world.root, 'moved') });
    assert.ok(store.vault.has('before'));
  });

  it('a directory that others can read is locked too, by its lock file', async () => {
    await holder.close();
    chmodSync(world.directory, 0o755);
    holder = await Holder.opened(world.options());
    await rejectsReason(open(), 'locked');
    rmSync(lock());
    await rejectsReason(open(), 'locked'); // by the lock beside the secrets
    await goesOn();
  });

  it('can be read, at its place and as a copy, without a lock', async () => {
    await holder.anchor();
    const copy = join(world.root, 'copy');
    execFileSync('cp', ['-a', world.directory, copy]);
    rmSync(join(copy, 'lock'));
    for (const directory of [world.directory, copy]) {
      const reader = await open({ directory, readOnly: true });
      assert.ok(reader.vault.has('before'));
      await reader.verify();
      await reader.close();
    }
    assert.ok(!existsSync(join(copy, 'lock')));
    await goesOn();
  });

  it('its copy with a SecretStore of its own is another store', async () => {
    await holder.anchor();
    const changes = {
      directory: join(world.root, 'copy'),
      secretStore: { type: 'file', directory: join(world.root, 'copied secrets') },
    };
    cpSync(world.directory, changes.directory, { recursive: true });
    cpSync(world.secrets, changes.secretStore.directory, { recursive: true });
    for (const directory of [changes.directory, changes.secretStore.directory]) chmodSync(directory, 0o700);
    const store = await open(changes);
    await store.vault.set('copied', Buffer.from('x'));
    await store.close();
    await goesOn();
  });

  it('is refused with the host and the container of the process that has it', async function () {
    await holder.close();
    const container = [
      ...['unshare', '--pid', '--fork', '--kill-child', '--uts', '--ipc'],
      ...(process.getuid!() === 0 ? [] : ['--user', '--map-current-user', '--keep-caps']),
      ...['sh', '-c', 'hostname replica-b && exec "$@"', 'sh'],
    ];
    if (spawnSync(container[0]!, [...container.slice(1), 'true']).status !== 0) this.skip();
    holder = await Holder.opened(world.options(), container);
    const where = 'process 1 on host replica-b, in another PID namespace \\(another container\\)';
    assert.match((await rejectsReason(open(), 'locked')).message, new RegExp(where));
    // A copy, so by the lock beside the secrets.
    const copy = join(world.root, 'copy');
    execFileSync('cp', ['-a', world.directory, copy]);
    const error = await rejectsReason(open({ directory: copy }), 'locked');
    assert.match(error.message, /a copy of this store, or this store by another path, is open/);
    assert.match(error.message, new RegExp(where));
    await goesOn();
  });

  it('is refused with a sentence of its own to the process that has it', async () => {
    await holder.close();
    const store = await open();
    const error = await rejectsReason(open(), 'locked');
    const where = `process ${process.pid} on host ${hostname()}: this process has it open`;
    assert.ok(error.message.includes(where), error.message);
    await store.close();
    holder = await Holder.opened(world.options());
    assert.doesNotMatch((await rejectsReason(open(), 'locked')).message, /this process/);
    await goesOn();
  });

  it('is free at once when the process is killed', async () => {
    rmSync(lock());
    await holder.kill();
    const store = await open();
    assert.ok(store.vault.has('before'));
    await store.close();
  });

  it('can be restored from a copy while nothing has it open', async () => {
    await holder.close();
    const backup = join(world.root, 'backup');
    execFileSync('cp', ['-a', world.directory, backup]);
    rmSync(world.directory, { recursive: true });
    execFileSync('cp', ['-a', backup, world.directory]);
    await goesOnFrom(await open());
    // Into another directory.
    await goesOnFrom(await open({ directory: await moved() }));
  });

  async function moved(): Promise<string> {
    const to = join(dirname(world.directory), 'elsewhere');
    execFileSync('cp', ['-a', world.directory, to]);
    rmSync(world.directory, { recursive: true });
    return Promise.resolve(to);
  }
  async function goesOnFrom(store: OpenStore): Promise<void> {
    assert.ok(store.vault.has('before'));
    await store.vault.set('restored', Buffer.from('x'));
    await store.close();
  }
});
