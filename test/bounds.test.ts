// Files whose length nothing authenticates: what is larger than any release leaves is refused without being read.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Reason } from '../lib/errors.js';
import { inspectStore } from '../lib/operations/inspection.js';
import { rejectsReason } from './support/errors.js';
import { binding, temporaryDirectory, removeDirectory, World } from './support/stores.js';

const terabyte = 2 ** 40;
// native/log/format.h: a frame of 160 MiB with its header, salt, tag and padding, and 64 MiB of reserved space.
const tailBytesMax = (160 + 64) * 1_048_576 + 64 + 32 + 16 + 8;
const password = Buffer.from('backup password');

describe('files that are longer than they may be', function () {
  this.timeout(60_000);
  let world: World;
  let vault: string;
  beforeEach(async () => {
    world = new World();
    vault = join(world.directory, 'vault.bin');
    const store = await world.open({ recovery: { password, kdf: { memoryKiB: 64, passes: 1 } } });
    await store.vault.set('k', Buffer.from('v'));
    await store.close();
  });
  afterEach(() => world.closeAll());

  it('vault.bin with more behind its end than a crash can leave: `vault-tampered`, and nothing is changed', async () => {
    const { size } = statSync(vault);
    for (const length of [terabyte, size + tailBytesMax + 1]) {
      truncateSync(vault, length);
      await rejectsReason(world.open(), 'vault-tampered');
      await rejectsReason(world.open({ readOnly: true }), 'vault-tampered');
      assert.equal((await world.inspect()).verdict, 'vault-tampered');
      assert.equal(statSync(vault).size, length);
    }
    truncateSync(vault, size);
    assert.ok((await world.open()).vault.has('k'));
  });

  it('vault.bin with a torn frame and a terabyte behind it', async () => {
    const { size } = statSync(vault);
    writeFileSync(vault, Buffer.alloc(100, 1), { flag: 'a' });
    truncateSync(vault, terabyte);
    await rejectsReason(world.open(), 'vault-tampered');
    truncateSync(vault, size + 100);
    const store = await world.open();
    assert.equal(store.status().repaired.tail, true);
    assert.ok(store.vault.has('k'));
  });

  it('vault.bin with the most that a crash can leave opens', async () => {
    const { size } = statSync(vault);
    truncateSync(vault, size + tailBytesMax);
    const store = await world.open();
    assert.ok(store.vault.has('k'));
    await store.close();
    assert.ok(statSync(vault).size < 2 * size + 1_048_576);
  });

  it('reanchor accepts it, and cuts it off', async () => {
    truncateSync(vault, terabyte);
    const store = await world.perform('reanchor', { password });
    assert.ok(store.vault.has('k'));
    await store.close();
    assert.ok(statSync(vault).size < 1_048_576);
    await (await world.open()).close();
  });

  const others: [string, () => string, Reason][] = [
    ['persistence.bin', () => join(world.directory, 'persistence.bin'), 'persistence-tampered'],
    ['tmtmp.bin', () => join(world.directory, 'tmtmp.bin'), 'tamper-file-tampered'],
    ['RootKey', () => join(world.secrets, 'test.RootKey'), 'root-unavailable'],
    ['VaultHash', () => join(world.secrets, 'test.VaultHash'), 'witness-replaced'],
    ['TimeTamper', () => join(world.secrets, 'test.TimeTamper'), 'witness-replaced'],
  ];
  for (const [name, place, reason] of others) {
    it(`${name} of a terabyte: \`${reason}\``, async () => {
      const { size } = statSync(place());
      truncateSync(place(), terabyte);
      await rejectsReason(world.open(), reason);
      truncateSync(place(), size);
      assert.ok((await world.open()).vault.has('k'));
    });
  }

  it('inspect() of a persistence.bin of a terabyte says the same as a start', async () => {
    truncateSync(join(world.directory, 'persistence.bin'), terabyte);
    await rejectsReason(inspectStore(binding, world.directory), 'persistence-tampered');
  });

  it('a lock file of a terabyte is locked and cut', async () => {
    truncateSync(join(world.directory, 'lock'), terabyte);
    const store = await world.open();
    await rejectsReason(world.open(), 'locked');
    await store.close();
    assert.equal(statSync(join(world.directory, 'lock')).size, 0);
  });
});

describe('directories that hold more than they may', function () {
  this.timeout(60_000);
  let directory: string;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => {
    removeDirectory(directory);
  });

  it('of all manifests 256 MiB are read, and the rest is too large', async () => {
    const bytes = 1_048_576;
    for (let i = 0; i < 300; ++i) {
      const path = join(directory, `${String(i).padStart(3, '0')}.json`);
      writeFileSync(path, '');
      truncateSync(path, bytes);
    }
    const files = (await binding.readDirectoryFiles(directory, '.json', bytes, 10_000)) ?? [];
    assert.equal(files.length, 300);
    const read = files.filter((file) => 'content' in file);
    assert.equal(read.length, 256);
    for (const file of files.slice(256)) {
      assert.ok('error' in file && file.error.reason === 'value-too-large', file.name);
      assert.match(file.error.message, /268435456 bytes in files of this kind/);
    }
  });

  it('a store whose directory has more than 65,536 entries is refused, as is a directory of manifests', async () => {
    const store = join(directory, 'store');
    mkdirSync(store, { mode: 0o700 });
    for (let i = 0; i < 65_537; ++i) writeFileSync(join(store, i.toString()), '');
    const world = new World();
    try {
      await rejectsReason(world.open({ directory: store }), 'unsafe-path');
      await rejectsReason(world.open({ manifests: { directory: store, trustedKeys: {} } }), 'unsafe-path');
    } finally {
      await world.closeAll();
    }
    assert.equal(readdirSync(store).length, 65_537);
  });
});
