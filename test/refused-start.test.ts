// What a refused start leaves, and what it says, where the SecretStore cannot be written. In mount namespaces, as root.
import assert from 'node:assert/strict';
import { join } from 'node:path';

import { runChild } from './acceptance/support.js';
import { hasNamespaces } from './deploy/support.js';
import { temporaryDirectory } from './support/stores.js';

describe('a SecretStore that cannot be written', function () {
  this.timeout(120_000);
  before(function () {
    if (!hasNamespaces()) this.skip();
  });

  /** Runs a script with the SecretStore on a file system of its own; `remount(option)` is in scope. */
  async function run(script: string): Promise<unknown[]> {
    const root = temporaryDirectory();
    const { lines, stderr } = await runChild(
      { directory: join(root, 'store'), secrets: join(root, 'disk/secrets') },
      `import { execFileSync } from 'node:child_process';
       import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
       import { dirname, join } from 'node:path';
       const disk = dirname(secrets);
       const mount = (...args) => execFileSync('mount', args);
       const contents = (path) => readdirSync(path).filter((name) => !name.endsWith('lock')).sort()
         .map((name) => [name, readFileSync(join(path, name), 'hex'), statSync(join(path, name)).mtimeMs]);
       const everything = () => JSON.stringify([contents(directory), contents(secrets)]);
       const told = (outcome) => tell(JSON.stringify(outcome));
       const refusal = async () => {
         const { reason, message, retryable } = await strongroom.open(options).then(() => ({}), (error) => error);
         return { reason, message, retryable };
       };
       /** Everything that the file system can hold is taken. */
       const fill = () => {
         try { writeFileSync(join(disk, 'ballast'), Buffer.alloc(4 << 20)); } catch {}
         for (let i = 0; i < 64; ++i) { try { writeFileSync(join(disk, 'b' + i), Buffer.alloc(4096)); } catch {} }
       };
       ${script}`,
      {
        wrapper: [
          'unshare',
          '--mount',
          'sh',
          '-ec',
          'mkdir "$1"; mount -t tmpfs -o size=1m tmpfs "$1"; shift; exec "$@"',
          'sh',
          join(root, 'disk'),
        ],
      },
    );
    assert.equal(stderr, '');
    return lines.map((line) => JSON.parse(line) as unknown);
  }

  const warm = `const store = await strongroom.open(options);
    await store.vault.set('key', Buffer.from('1'));
    await store.close();
    const before = everything();`;

  it('on a file system for reading only: a start in a loop is permission-denied, and changes nothing', async () => {
    const [refused, unchanged, healed] = await run(
      `${warm}
       mount('-o', 'remount,ro', disk);
       let refused;
       for (let i = 0; i < 20; ++i) refused = await refusal();
       told(refused);
       told(everything() === before);
       mount('-o', 'remount,rw', disk);
       await (await strongroom.open(options)).close();
       told(true);`,
    );
    const { message, ...rest } = refused as Record<string, unknown>;
    assert.deepEqual(rest, { reason: 'permission-denied', retryable: true });
    assert.match(String(message), /disk\/secrets\/.*: .*Read-only file system/);
    assert.deepEqual([unchanged, healed], [true, true]);
  });

  it('on a full file system: a start is no-space, and changes nothing', async () => {
    const [refused, unchanged] = await run(
      `${warm}
       fill();
       const refused = await refusal();
       told(refused);
       told(everything() === before);`,
    );
    const { message, ...rest } = refused as Record<string, unknown>;
    assert.deepEqual(rest, { reason: 'no-space', retryable: true });
    assert.match(String(message), /disk\/secrets\/test\.VaultHash\.new: .*No space left on device/);
    assert.equal(unchanged, true);
  });

  it('without a descriptor left: a start is io-error, whatever it met first, and names the limit', async () => {
    const root = temporaryDirectory();
    const place = { directory: join(root, 'store'), secrets: join(root, 'secrets') };
    const made = await runChild(place, `await (await strongroom.open(options)).close(); tell('made');`);
    assert.deepEqual(made.lines, ['made'], made.stderr);
    const script = `const error = await strongroom.open(options).then((store) => store.close(), (thrown) => thrown);
       tell(JSON.stringify(error === undefined ? {} : { reason: error.reason, message: error.message }));
       process.exit(0);`;
    let refused = 0;
    for (let limit = 18; limit <= 30; limit += 2) {
      const { lines } = await runChild(place, script, { wrapper: ['prlimit', `--nofile=${limit}`] });
      if (lines.length === 0) continue; // Node itself does not start
      const { reason, message } = JSON.parse(lines[0]!) as { reason?: string; message?: string };
      if (message === undefined) continue;
      ++refused;
      assert.equal(reason, 'io-error', `${limit}: ${message}`);
      assert.match(message, /[Tt]oo many open files.*; raise (the|this process's) limit/, limit.toString());
    }
    assert.ok(refused > 0);
  });

  it('a refused COLDSTART removes the directories that it made, and only those', async () => {
    const answers = await run(
      `mount('-o', 'remount,ro', disk);
       told([(await refusal()).reason, existsSync(directory), existsSync(secrets)]);
       mount('-o', 'remount,rw', disk);
       fill();
       told([(await refusal()).reason, existsSync(directory), existsSync(secrets)]);
       const { mkdirSync } = await import('node:fs');
       mkdirSync(directory, { mode: 0o700 });
       told([(await refusal()).reason, existsSync(directory), existsSync(secrets)]);
       for (const name of readdirSync(disk)) rmSync(join(disk, name), { recursive: true });
       await (await strongroom.open(options)).close();
       told(contents(secrets).map(([name]) => name));`,
    );
    assert.deepEqual(answers, [
      ['permission-denied', false, false],
      ['no-space', false, false],
      ['no-space', true, false],
      ['test.RootKey', 'test.TimeTamper', 'test.VaultHash'],
    ]);
  });
});
