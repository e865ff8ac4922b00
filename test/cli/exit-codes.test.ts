import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  compiled,
  json,
  makeStore,
  start,
  strongroom,
  temporaryDirectory,
  type TestStore,
} from './support.js';

/** A store whose vault.bin is an earlier copy of itself. */
async function rolledBackStore(): Promise<TestStore> {
  const store = await makeStore();
  const vault = join(store.directory, 'vault.bin');
  await copyFile(vault, `${store.secrets}-vault.bin`);
  await strongroom(['set', store.directory, 'seats', '25']);
  await copyFile(`${store.secrets}-vault.bin`, vault);
  return store;
}

describe('strongroom: exit codes', () => {
  const everyCommand = (directory: string): string[][] => [
    ['get', directory, 'k'],
    ['set', directory, 'k', 'v'],
    ['delete', directory, 'k'],
    ['increment', directory, 'k'],
    ['list', directory],
    ['verify', directory],
    ['log', directory],
    ['status', directory],
  ];

  it('3: an older vault.bin put back is refused by every command, with the reason and nothing on standard output', async () => {
    const { directory } = await rolledBackStore();
    for (const args of everyCommand(directory)) {
      const { code, stdout, stderr } = await strongroom([...args, '--json']);
      assert.equal(code, 3, args[0]);
      const error = json(stderr);
      assert.deepEqual(
        [error.code, error.reason, error.retryable],
        ['PERS_8003', 'vault-rolled-back', false],
      );
      assert.match(error.remedy, /reanchor/);
      if (args[0] !== 'status') assert.equal(stdout, '', args[0]);
    }
    const { code, stdout, stderr } = await strongroom(['list', directory]);
    assert.deepEqual([code, stdout], [3, '']);
    assert.match(stderr, /^strongroom: .* \[PERS_8003 vault-rolled-back\]\n {2}Put the newest files back/);
  });

  it('3: persistence.bin missing beside the other files is a partial restore, not an absent store', async () => {
    const { directory } = await makeStore();
    await rm(join(directory, 'persistence.bin'));
    for (const args of everyCommand(directory)) {
      const { code, stderr } = await strongroom([...args, '--json']);
      assert.equal(code, 3, args[0]);
      assert.equal(json(stderr).reason, 'partial-restore', args[0]);
    }
  });

  it('3: files of the store gone while the SecretStore remembers it', async () => {
    const { directory, secrets } = await makeStore();
    await rm(directory, { recursive: true });
    const { code, stderr } = await strongroom([
      'init',
      directory,
      '--secret-store',
      `file:${secrets}`,
      '--instance',
      'acme',
      '--no-recovery-password',
      '--json',
    ]);
    assert.equal(code, 3);
    assert.equal(json(stderr).reason, 'partial-restore');
  });

  it('4: a store that another process has open is locked for writing and open for reading', async () => {
    const { directory } = await makeStore();
    const index = join(compiled, 'dist/index.js');
    const owner = start([], {}, [
      '--input-type=module',
      '--eval',
      `import { open } from ${JSON.stringify(index)};
       const persistence = await open({ directory: ${JSON.stringify(directory)} });
       await persistence.vault.set('live', Buffer.from('yes'));
       process.stdout.write('open');
       process.stdin.resume().on('end', () => void persistence.close());`,
    ]);
    await once(owner.stdout!, 'data');
    for (const args of [
      ['set', directory, 'k', 'v'],
      ['delete', directory, 'k'],
      ['increment', directory, 'k'],
      ['rotate', 'dek', directory],
    ]) {
      const { code, stderr } = await strongroom([...args, '--json']);
      assert.equal(code, 4, args.join(' '));
      const error = json(stderr);
      assert.deepEqual([error.reason, error.retryable], ['locked', true]);
      assert.match(error.message, new RegExp(`\\b${owner.pid}\\b`));
    }
    assert.equal((await strongroom(['get', directory, 'live'])).stdout, 'yes');
    assert.equal((await strongroom(['list', directory])).stdout, 'live\n');
    assert.equal((await strongroom(['verify', directory])).code, 0);
    assert.equal((await strongroom(['log', directory])).code, 0);
    const { code, stdout } = await strongroom(['status', directory, '--json']);
    assert.equal(code, 0);
    assert.equal(json(stdout).verdict, 'ok');
    owner.stdin!.end();
    assert.deepEqual(await once(owner, 'close'), [0, null]);
    assert.equal((await strongroom(['set', directory, 'k', 'v'])).code, 0);
  });

  it('4: a SecretStore directory that is gone', async () => {
    const { directory, secrets } = await makeStore();
    await rename(secrets, `${secrets}-elsewhere`);
    for (const args of everyCommand(directory)) {
      const { code, stderr } = await strongroom([...args, '--json']);
      assert.equal(code, 4, args[0]);
      assert.equal(json(stderr).reason, 'root-unavailable', args[0]);
    }
    await rename(`${secrets}-elsewhere`, secrets);
    assert.equal((await strongroom(['status', directory])).code, 0);
  });

  it('4: a secret service that cannot be reached', async () => {
    const directory = join(await temporaryDirectory(), 'store');
    const env = { DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent/bus' };
    const { code, stderr } = await strongroom(
      ['init', directory, '--secret-store', 'secret-service', '--no-recovery-password', '--json'],
      {
        env,
      },
    );
    assert.equal(code, 4);
    assert.match(json(stderr).reason, /^(secret-store-unavailable|library-missing)$/);
  });

  it('1: no store, a store that is there already, and a wrong password', async () => {
    const empty = await temporaryDirectory();
    for (const args of [...everyCommand(join(empty, 'nothing')), ...everyCommand(empty)]) {
      const { code, stdout, stderr } = await strongroom([...args, '--json']);
      assert.equal(code, 1, args[0]);
      assert.equal(stdout, '');
      assert.equal(json(stderr).reason, 'no-store', args[0]);
      // A new store over one that exists would lose it.
      assert.match(json(stderr).remedy, /^Is the disk mounted/);
      assert.doesNotMatch(`${json(stderr).message} ${json(stderr).remedy}`, /strongroom init/);
    }
    const { directory, secrets } = await makeStore();
    const again = await strongroom(['init', directory, '--secret-store', `file:${secrets}`, '--json']);
    assert.equal(again.code, 1);
    assert.equal(json(again.stderr).reason, 'store-exists');
    const wrong = await strongroom(['password', 'verify', directory, '--json'], {
      env: { STRONGROOM_PASSWORD: 'x' },
    });
    assert.equal(wrong.code, 1);
    assert.equal(json(wrong.stderr).reason, 'password-wrong');
  });

  it('1: a directory that others may write to', async () => {
    const directory = join(await temporaryDirectory(), 'open');
    await mkdir(directory);
    await chmod(directory, 0o777);
    await writeFile(join(directory, 'persistence.bin'), 'x');
    const { code, stderr } = await strongroom(['status', directory, '--json']);
    assert.equal(code, 1);
    assert.equal(json(stderr).reason, 'unsafe-path');
  });
});
