// --wait-for-lock: a command and another process that has the store.
import assert from 'node:assert/strict';

import { createProgram } from '../../lib/cli/program.js';
import { Holder } from '../support/holding.js';
import { json, makeStore, strongroom, type TestStore } from './support.js';

describe('strongroom --wait-for-lock', function () {
  this.timeout(60_000);
  let store: TestStore;
  let holder: Holder;
  beforeEach(async () => {
    store = await makeStore([], false);
    holder = await Holder.opened({ directory: store.directory, create: 'never' });
  });
  afterEach(() => holder.kill());

  it('goes on when the other process has closed the store', async () => {
    const waiting = strongroom(['set', store.directory, 'key', 'value', '--wait-for-lock', '60s']);
    await holder.set('before');
    await holder.close();
    const { code, stderr } = await waiting;
    assert.equal(code, 0, stderr);
    assert.equal((await strongroom(['get', store.directory, 'key'])).stdout, 'value');
  });

  it('ends with `locked`, exit code 4, when the time is over', async () => {
    const begun = performance.now();
    const args = ['increment', store.directory, 'seats', '--json', '--wait-for-lock', '0.5'];
    const { code, stderr } = await strongroom(args);
    assert.equal(code, 4);
    assert.equal(json(stderr).reason, 'locked');
    assert.ok(performance.now() - begun >= 500);
  });

  it('is refused where it is no duration', async () => {
    const { code, stderr } = await strongroom(['set', store.directory, 'k', 'v', '--wait-for-lock', 'soon']);
    assert.equal(code, 2);
    assert.match(stderr, /--wait-for-lock takes a duration/);
  });

  it('is refused before a password is read', async () => {
    const missing = ['--password-file', `${store.directory}-missing`, '--wait-for-lock', 'soon', '--json'];
    for (const args of [
      ['recover', store.directory],
      ['decommission', store.directory, '--yes'],
    ]) {
      const { code, stderr } = await strongroom([...args, ...missing]);
      assert.deepEqual([code, json(stderr).reason], [2, 'invalid-option'], args[0]);
    }
  });

  it('is an option of every command that opens for writing, and of no other', () => {
    const writing = new Set<string>();
    const visit = (command: ReturnType<typeof createProgram>, path: string): void => {
      if (command.options.some(({ long }) => long === '--wait-for-lock')) writing.add(path);
      for (const each of command.commands) visit(each, `${path} ${each.name()}`.trim());
    };
    visit(createProgram(), '');
    assert.deepEqual([...writing].sort(), [
      'acknowledge',
      'decommission',
      'delete',
      'increment',
      'key chain',
      'key deactivate',
      'key generate',
      'key reactivate',
      'key remove',
      'password add',
      'password change',
      'password remove',
      'recover',
      'relocate',
      'reseal',
      'rotate dek',
      'rotate kek',
      'set',
      'tls set',
    ]);
  });
});
