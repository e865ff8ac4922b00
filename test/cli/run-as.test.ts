// As whom a command runs: root on the store of a service, and the owner of a new store.
import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { json, password, strongroom, temporaryDirectory } from './support.js';

const nobody = 65_534;

describe('strongroom: run as root', () => {
  let home: string;
  let args: string[];

  before(async function () {
    if (process.geteuid?.() !== 0) this.skip();
    home = await temporaryDirectory();
    await chmod(home, 0o755);
    const place = join(home, 'service');
    await mkdir(place, { mode: 0o700 });
    await chown(place, nobody, nobody);
    const file = join(home, 'password');
    await writeFile(file, `${password}\n`, { mode: 0o600 });
    args = [
      join(place, 'store'),
      '--secret-store',
      `file:${join(place, 'secrets')}`,
      '--recovery-password-file',
      file,
    ];
  });

  it('init --owner makes a store that belongs to the user, with secrets that only root reads', async () => {
    const made = await strongroom(['init', ...args, '--owner', 'nobody', '--json']);
    assert.equal(made.code, 0, made.stderr);
    for (const place of ['store', 'secrets']) {
      const directory = join(home, 'service', place);
      const names = [directory, ...(await readdir(directory)).map((name) => join(directory, name))];
      assert.ok(names.length > 2);
      for (const name of names) assert.equal((await stat(name)).uid, nobody, name);
    }
  });

  it('on the store of another user is told the command, and not to change the owner', async () => {
    const failed = await strongroom(['get', args[0] ?? '', "a key's name", '--json']);
    assert.equal(failed.code, 1);
    const { reason, remedy } = json(failed.stderr);
    assert.equal(reason, 'unsafe-path');
    assert.match(
      remedy,
      /^Run it as the user of the store: runuser -u nobody -- strongroom get \/.*\/store 'a key'\\''s name' --json\./,
    );
    assert.doesNotMatch(remedy, /chown|belongs to the service's user/);
  });

  it('refuses an owner that does not exist, and one where it is not root', async () => {
    const other = [join(home, 'other'), ...args.slice(1)];
    const unknown = await strongroom(['init', ...other, '--owner', 'no-such-user', '--json']);
    assert.deepEqual([unknown.code, json(unknown.stderr).reason], [2, 'invalid-option']);
    assert.match(json(unknown.stderr).message, /no user "no-such-user"/);
  });
});
