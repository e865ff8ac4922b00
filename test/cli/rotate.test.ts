import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { RotationPart } from '../kill/rotation-worker.js';
import { json, onTerminal, strongroom, temporaryDirectory } from './support.js';

describe('strongroom rotate dek', () => {
  async function withPassword(): Promise<{ directory: string; file: string; wrong: string }> {
    const root = await temporaryDirectory();
    const [directory, file, wrong] = ['store', 'password', 'wrong'].map((name) => join(root, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(file, 'correct horse\n');
    await writeFile(wrong, 'battery staple\n');
    const place = `file:${join(root, 'secrets')}`;
    const made = ['init', directory, '--secret-store', place, '--recovery-password-file', file];
    assert.equal((await strongroom(made)).code, 0);
    assert.equal((await strongroom(['set', directory, 'seats', '25'])).code, 0);
    return { directory, file, wrong };
  }

  it('gives the store a new key, says so, and refuses the old persistence.bin', async () => {
    const { directory, file } = await withPassword();
    const persistence = join(directory, 'persistence.bin');
    const before = await readFile(persistence);
    const { code, stdout } = await strongroom([
      'rotate',
      'dek',
      directory,
      '--password-file',
      file,
      '--json',
    ]);
    assert.equal(code, 0);
    assert.deepEqual(json(stdout).dek, { keyId: 2, rotation: 'complete', formerFieldKeys: 1 });
    assert.equal((await strongroom(['get', directory, 'seats'])).stdout, '25');
    assert.match((await strongroom(['status', directory])).stdout, /data key +number 2, rotated once/);
    const after = await readFile(persistence);
    await writeFile(persistence, before);
    const refused = await strongroom(['get', directory, 'seats', '--json']);
    assert.equal(refused.code, 3);
    assert.equal(json(refused.stderr).reason, 'persistence-rolled-back');
    await writeFile(persistence, after);
    assert.equal((await strongroom(['verify', directory])).code, 0);
  });

  it('goes on with a rotation that was interrupted, without a password, and says that it was pending', async () => {
    const { directory, file } = await withPassword();
    const worker = fileURLToPath(new URL('../kill/rotation-worker.ts', import.meta.url));
    const secretStore = { type: 'file', directory: join(directory, '..', 'secrets') } as const;
    const part: RotationPart = {
      options: { directory, secretStore },
      protector: { type: 'software' },
      password: 'correct horse',
      killAt: 'vault',
    };
    const killed = spawnSync(process.execPath, ['--import', 'tsx', worker, JSON.stringify(part)]);
    assert.equal(killed.signal, 'SIGKILL', killed.stdout.toString());
    const status = await strongroom(['status', directory]);
    assert.equal(status.code, 0);
    assert.match(status.stdout, /data key +number 2; its rotation is PENDING/);
    assert.match(status.stdout, /`strongroom rotate dek` completes it/);
    assert.equal((await strongroom(['get', directory, 'seats'])).stdout, '25');
    const { code, stderr } = await strongroom(['rotate', 'dek', directory]);
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /^Going on with the rotation that was interrupted\.\nThe store has data encryption key 2; /,
    );
    assert.match((await strongroom(['status', directory])).stdout, /data key +number 2, rotated once/);
    assert.equal((await strongroom(['password', 'verify', directory, '--password-file', file])).code, 0);
  });

  it('asks for the password on a terminal; without one it is `password-missing`', async () => {
    const { directory } = await withPassword();
    const missing = await strongroom(['rotate', 'dek', directory, '--json']);
    assert.equal(missing.code, 1);
    assert.equal(json(missing.stderr).reason, 'password-missing');
    const asked = await onTerminal(['rotate', 'dek', directory], [['assword: ', 'correct horse\r']]);
    assert.equal(asked.code, 0, asked.stdout);
    assert.match(asked.stdout, /The store has data encryption key 2; /);
  });

  it('refuses a wrong password and changes nothing', async () => {
    const { directory, wrong } = await withPassword();
    const { code, stderr } = await strongroom([
      'rotate',
      'dek',
      directory,
      '--password-file',
      wrong,
      '--json',
    ]);
    assert.equal(code, 1);
    assert.equal(json(stderr).reason, 'password-wrong');
    const { stdout } = await strongroom(['status', directory, '--json']);
    assert.deepEqual(json(stdout).dek, { keyId: 1, rotation: 'complete', formerFieldKeys: 0 });
  });
});
