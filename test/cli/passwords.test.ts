// password add, remove, change and verify of a store with several backup passwords.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { json, makeStore, onTerminal, password, strongroom, temporaryDirectory } from './support.js';

describe('strongroom password', () => {
  let place: string;
  before(async () => {
    place = await temporaryDirectory();
    await writeFile(join(place, 'first'), `${password}\n`);
    await writeFile(join(place, 'second'), 'battery staple\n');
  });
  const given = (name: string): string[] => ['--password-file', join(place, name)];
  const fresh = (name: string): string[] => ['--new-password-file', join(place, name)];

  it('adds one, shows it in status, and removes the other', async () => {
    const { directory } = await makeStore();
    const added = await strongroom([
      ...['password', 'add', directory, ...given('first'), ...fresh('second')],
      ...['--label', 'second safe', '--json'],
    ]);
    assert.equal(added.code, 0, added.stderr);
    assert.deepEqual(json(added.stdout), { added: true, slot: 3 });
    const status = await strongroom(['status', directory]);
    assert.match(status.stdout, /^passwords +key slots 2, 3 \(second safe\)$/m);
    const { keySlots } = json((await strongroom(['status', directory, '--json'])).stdout);
    assert.deepEqual(keySlots, [
      { id: 1, type: 'software' },
      { id: 2, type: 'password' },
      { id: 3, type: 'password', label: 'second safe' },
    ]);
    const verified = await strongroom(['password', 'verify', directory, ...given('second')]);
    assert.match(verified.stderr, /^The password is right; it opens key slot 3\.$/m);

    const own = await strongroom([
      'password',
      'remove',
      directory,
      '--key-slot',
      '3',
      ...given('second'),
      '--json',
    ]);
    assert.deepEqual([own.code, json(own.stderr).reason], [2, 'invalid-argument']);
    const removed = await strongroom([
      'password',
      'remove',
      directory,
      '--key-slot',
      '2',
      ...given('second'),
    ]);
    assert.equal(removed.code, 0, removed.stderr);
    assert.match(removed.stderr, /key slot 2 was removed/);
    const gone = await strongroom(['password', 'verify', directory, ...given('first'), '--json']);
    assert.deepEqual([gone.code, json(gone.stderr).reason], [1, 'password-wrong']);
    assert.match(
      (await strongroom(['status', directory])).stdout,
      /^passwords +key slot 3 \(second safe\)$/m,
    );
  });

  it('rotates the data key with the one that is given when told to remove the others', async () => {
    const { directory } = await makeStore();
    await strongroom(['password', 'add', directory, ...given('first'), ...fresh('second')]);
    const refused = await strongroom(['rotate', 'dek', directory, ...given('second'), '--json']);
    assert.deepEqual([refused.code, json(refused.stderr).reason], [2, 'invalid-option']);
    const removing = ['rotate', 'dek', directory, '--remove-other-passwords'];
    const unasked = await strongroom([...removing, ...given('second'), '--json']);
    assert.deepEqual([unasked.code, json(unasked.stderr).reason], [2, 'invalid-option']);
    assert.match(json(unasked.stderr).message, /--yes/);
    const named = 'This removes another backup password, for good: key slot 2.';
    const declined = await onTerminal([...removing, ...given('second')], [['Type yes to go on: ', 'no\r']]);
    assert.equal(declined.code, 4, declined.stdout);
    assert.ok(declined.stdout.includes(named), declined.stdout);
    assert.equal((await strongroom(['password', 'verify', directory, ...given('first')])).code, 0);
    const rotated = await strongroom([...removing, ...given('second'), '--yes']);
    assert.equal(rotated.code, 0, rotated.stderr);
    assert.ok(rotated.stderr.includes(named), rotated.stderr);
    assert.equal((await strongroom(['password', 'verify', directory, ...given('first')])).code, 1);
    assert.equal((await strongroom(['password', 'verify', directory, ...given('second')])).code, 0);
  });

  it('asks for the new one twice, and refuses a slot that is no number', async () => {
    const { directory } = await makeStore();
    const added = await onTerminal(
      ['password', 'add', directory],
      [
        ['Backup password: ', `${password}\r`],
        ['New password (empty: generate a recovery key): ', 'another horse\r'],
        ['The same again: ', 'another horse\r'],
      ],
    );
    assert.equal(added.code, 0, added.stdout);
    for (const slot of [['--key-slot', 'two'], ['--key-slot', '0'], []]) {
      const { code, stderr } = await strongroom([
        'password',
        'remove',
        directory,
        ...slot,
        ...given('first'),
      ]);
      assert.equal(code, 2);
      assert.match(stderr, /--key-slot/);
    }
  });
});
