// A file system that has no room for a second log, and a limit on the size of files. In mount namespaces, as root.
import assert from 'node:assert/strict';
import { join } from 'node:path';

import { runChild, type ChildOutcome } from './acceptance/support.js';
import { hasNamespaces } from './deploy/support.js';
import { temporaryDirectory } from './support/stores.js';

describe('compaction without room', function () {
  this.timeout(120_000);
  before(function () {
    if (!hasNamespaces()) this.skip();
  });

  /** Runs a script with the store on a file system of its own, and `free()`, `files()` and `put(from, to)` in scope. */
  function onFileSystem(size: string, script: string): Promise<ChildOutcome> {
    const root = temporaryDirectory();
    return runChild(
      { directory: join(root, 'disk/store'), secrets: join(root, 'secrets') },
      `import { execFileSync } from 'node:child_process';
       import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
       import { dirname } from 'node:path';
       const disk = dirname(directory);
       const free = () => { const { bavail, bsize } = statfsSync(disk); return bavail * bsize; };
       const files = () => readdirSync(directory).filter((name) => name.endsWith('.new'));
       const value = Buffer.alloc(65_536, 7);
       const put = async (vault, from, to) => {
         for (let i = from; i < to; ++i) await vault.set('key' + (i % 250), value);
       };
       const told = (outcome) => tell(JSON.stringify(outcome));
       const failure = (promise) => promise.then(() => 'no failure', ({ reason, message }) => ({ reason, message }));
       ${script}`,
      {
        wrapper: [
          'unshare',
          '--mount',
          'sh',
          '-ec',
          'mkdir "$1"; mount -t tmpfs -o "size=$2" tmpfs "$1"; shift 2; exec "$@"',
          'sh',
          join(root, 'disk'),
          size,
        ],
      },
    );
  }
  const answers = ({ lines, stderr }: ChildOutcome): unknown[] => {
    assert.equal(stderr, '');
    return lines.map((line) => JSON.parse(line) as unknown);
  };

  it('compact() and rotateDek() are refused before they write, and commits go on', async () => {
    const outcome = await onFileSystem(
      '24m',
      `const store = await strongroom.open({ ...options, recovery: { password: Buffer.from('correct horse battery') } });
       await put(store.vault, 0, 200);
       const before = free();
       told(await failure(store.compact()));
       told(await failure(store.rotateDek({ password: Buffer.from('correct horse battery') })));
       const { dek, fileSystem } = store.status();
       told({ lost: before - free(), files: files(), dek, fileSystem });
       await store.vault.set('after', value);
       await store.close();`,
    );
    const [compacted, rotated, after] = answers(outcome);
    for (const refused of [compacted, rotated] as { reason: string; message: string }[]) {
      assert.equal(refused.reason, 'no-space');
      assert.match(refused.message, /a compaction needs \d+ bytes for a second log, and \d+ are free/);
    }
    const dek = { keyId: 1, rotation: 'complete', formerFieldKeys: 0 };
    const fileSystem = { name: 'tmpfs', type: 'memory' };
    assert.deepEqual(after, { lost: 0, files: [], dek, fileSystem });
  });

  it('what a compaction wrote before it failed is removed at once', async () => {
    const outcome = await onFileSystem(
      '64m',
      `const store = await strongroom.open({ ...options, recovery: { password: Buffer.from('correct horse battery') } });
       await put(store.vault, 0, 200);
       const before = free();
       const limit = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=' + bytes]);
       limit('6000000:unlimited');
       told(await failure(store.compact()));
       told({ lost: before - free(), files: files() });
       limit('unlimited:unlimited');
       await store.compact();
       told({ files: files() });
       await store.close();`,
    );
    const [failed, after, repeated] = answers(outcome);
    assert.equal((failed as { reason: string }).reason, 'io-error');
    assert.match((failed as { message: string }).message, /vault\.bin\.new: write: File too large/);
    assert.deepEqual(after, { lost: 0, files: [] });
    assert.deepEqual(repeated, { files: [] });
  });

  it('one in the background gives one notice, and is tried again once there is room', async () => {
    const outcome = await onFileSystem(
      '58m',
      `writeFileSync(disk + '/ballast', Buffer.alloc(10 << 20));
       const store = await strongroom.open({ ...options, witnessIntervalMs: 1 });
       const notices = [];
       store.on('notice', (notice) => notice.kind === 'compaction-failed' && notices.push(notice));
       await put(store.vault, 0, 540);
       const move = () => store.vault.set('small', Buffer.from('x'), { durability: 'witnessed' });
       while (notices.length === 0) await move();
       for (let i = 0; i < 50; ++i) await move();
       const { logBytes } = store.status();
       told(notices.map(({ kind, message, cause }) => ({ kind, message, reason: cause.reason })));
       told({ files: files(), large: logBytes > 30_000_000 });
       rmSync(disk + '/ballast');
       while (store.status().logBytes >= logBytes) await move();
       told({ notices: notices.length, files: files() });
       await store.close();`,
    );
    const [notices, after, repeated] = answers(outcome);
    const [{ kind, reason, message }] = notices as [Record<string, string>];
    assert.equal((notices as unknown[]).length, 1);
    assert.deepEqual([kind, reason], ['compaction-failed', 'no-space']);
    assert.match(message ?? '', /^a compaction failed, and the log keeps its size: .* are free$/);
    assert.deepEqual(after, { files: [], large: true });
    assert.deepEqual(repeated, { notices: 1, files: [] });
  });
});
