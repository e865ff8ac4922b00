// Secrets of the library's callers: every place that they are read from, one rule for the final newline, and what is wiped.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, closeSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { isPersistenceError } from '../lib/errors.js';
import type { PasswordSource } from '../lib/index.js';
import { readPassword } from '../lib/options/secrets.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { quickKdf, temporaryDirectory, World } from './support/stores.js';

const secret = 'correct horse battery staple';

describe('places of a secret', () => {
  const directory = temporaryDirectory();
  let files = 0;
  const file = (content: string | Uint8Array): string => {
    const path = join(directory, `secret-${(files += 1)}`);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const take = async (source: PasswordSource): Promise<string> =>
    Buffer.from(await readPassword(source, 'pin')!.take()).toString();
  // In place: another object in process.env would change nothing for the C library, of this test and of all after it.
  const environment = { ...process.env };
  afterEach(() => {
    for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name];
    Object.assign(process.env, environment);
  });

  it('drop one newline at the end of a file, a credential and a descriptor, and nothing of a variable', async () => {
    process.env['CREDENTIALS_DIRECTORY'] = directory;
    for (const [content, bytes] of [
      [secret, secret],
      [`${secret}\n`, secret],
      [`${secret}\r\n`, secret],
      [`${secret}\n\n`, `${secret}\n`],
      [` ${secret}\r`, ` ${secret}\r`],
    ] as const) {
      const path = file(content);
      assert.equal(await take({ file: path }), bytes);
      assert.equal(await take({ credential: `secret-${files}` }), bytes);
      const fd = openSync(path, 'r');
      assert.equal(await take({ fd }), bytes);
      closeSync(fd);
      process.env['SECRET'] = content;
      assert.equal(await take({ env: 'SECRET' }), content);
      assert.equal(await take(Buffer.from(content)), content);
      assert.equal(await take(() => Buffer.from(content)), content);
    }
  });

  it('follow the links of a mounted secret, and check what they lead to', async () => {
    const path = file(`${secret}\n`);
    symlinkSync(path, join(directory, '..data'));
    symlinkSync('..data', join(directory, 'password'));
    assert.equal(await take({ file: join(directory, 'password') }), secret);
    chmodSync(path, 0o622);
    await rejectsReason(take({ file: join(directory, 'password') }), 'unsafe-path');
    await rejectsReason(take({ file: directory }), 'unsafe-path');
    await rejectsReason(take({ file: '/dev/null' }), 'unsafe-path');
    await promisify(execFile)('mkfifo', [join(directory, 'fifo')]);
    await assert.rejects(take({ file: join(directory, 'fifo') }), (error) => {
      assert.ok(isPersistenceError(error));
      assert.equal(error.reason, 'unsafe-path');
      assert.match(error.message, /named pipe; open it and give the number of the descriptor/);
      return true;
    });
    await rejectsReason(take({ file: join(directory, 'missing') }), 'not-found');
  });

  it("read a shell's <(...)", async () => {
    const script = `
      import { readPassword } from ${JSON.stringify(fileURLToPath(new URL('../lib/options/secrets.ts', import.meta.url)))};
      process.stdout.write(await readPassword({ file: process.argv[1] }, 'pin').take());
    `;
    const { stdout } = await promisify(execFile)(
      'bash',
      [
        '-c',
        'exec "$0" --import=tsx --input-type=module -e "$1" <(sleep 0.1; echo "$2")',
        process.execPath,
        script,
        secret,
      ],
      { cwd: fileURLToPath(new URL('..', import.meta.url)) },
    );
    assert.equal(stdout, secret);
  });

  it('are named when they give nothing, too much, or cannot give it', async () => {
    for (const content of ['', '\n', '\r\n', 'x'.repeat(4097)])
      await rejectsReason(take({ file: file(content) }), 'invalid-option');
    assert.equal((await take({ file: file('x'.repeat(4096) + '\r\n') })).length, 4096);
    await rejectsReason(take({ file: file('x'.repeat(5000)) }), 'value-too-large');
    const fd = openSync(file(secret), 'r');
    const source = readPassword({ fd }, 'protector.pin')!;
    await source.take();
    await assert.rejects(
      source.take(),
      /protector\.pin: descriptor \d+ is empty, or was read to its end before/,
    );
    closeSync(fd);
    await rejectsReason(take({ fd: 999_999 }), 'not-found');
    delete process.env['CREDENTIALS_DIRECTORY'];
    await rejectsReason(take({ credential: 'pin' }), 'invalid-option');
    await rejectsReason(take({ env: 'STRONGROOM_NO_SUCH_VARIABLE' }), 'invalid-option');
  });

  it('are refused at once when they are none', () => {
    for (const wrong of [
      {},
      { file: '/a', fd: 3 },
      { file: '' },
      { file: 'a\0' },
      { fd: -1 },
      { fd: 1.5 },
      { fd: '3' },
      { env: '' },
      { credential: '../pin' },
      { credential: '.' },
      { path: '/a' },
    ])
      throwsReason(() => readPassword(wrong, 'pin'), 'invalid-option');
    for (const wrong of [secret, 3, [], true, null])
      throwsReason(() => readPassword(wrong, 'pin'), 'invalid-argument');
  });

  it('leave nothing behind, also when the bytes come after it was forgotten', async () => {
    const source = readPassword({ file: file(secret) }, 'pin')!;
    const [first, second] = [await source.take(), await source.take()];
    const late = source.take();
    source.forget();
    for (const bytes of [first, second, await late]) assert.ok(bytes.every((byte) => byte === 0));
  });

  it('serve every call that takes a password, and a refused one that ends in a newline is named', async () => {
    const world = new World();
    const next = 'another horse battery staple';
    const store = await world.open({ recovery: { password: { file: file(`${secret}\n`) }, kdf: quickKdf } });
    process.env['SECRET'] = secret;
    process.env['CREDENTIALS_DIRECTORY'] = directory;
    assert.equal(await store.verifyPassword(Buffer.from(secret)), 2);
    assert.equal(await store.verifyPassword({ env: 'SECRET' }), 2);
    const added = file(`${next}\n`);
    assert.equal(await store.addPassword({ env: 'SECRET' }, { file: added }), 3);
    assert.equal(await store.verifyPassword({ credential: `secret-${files}` }), 3);
    await store.rotateDek({ password: { file: added }, removeOtherPasswords: true });
    const named = /ends in a newline, which counts as a part of it/;
    for (const wrong of [
      Buffer.from(`${next}\n`),
      { file: file(`${next}\n\n`) },
      () => Buffer.from(`${next}\n`),
    ]) {
      await assert.rejects(store.verifyPassword(wrong), named);
      await rejectsReason(store.verifyPassword(wrong), 'password-wrong');
      await assert.rejects(store.rotateDek({ password: wrong }), named);
    }
    await assert.rejects(
      store.verifyPassword(Buffer.from('wrong')),
      (error: Error) => !error.message.includes('newline'),
    );
    await store.close();
    await assert.rejects(world.decommission({ password: Buffer.from(`${next}\n`) }), named);
    await world.decommission({ password: { file: added } });
    await world.closeAll();
  });
});
