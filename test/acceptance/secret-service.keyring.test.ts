// The rows with the SecretStore `secret-service`: a real gnome-keyring-daemon on a private D-Bus session. Where there is
// none, the file runs itself inside scripts/with-keyring.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { decommissionStore } from '../../lib/operations/administrative.js';
import type { OpenOptions } from '../../lib/store/open-options.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { binding } from '../support/stores.js';
import { hour, password, Place, recovery, rejection, root, runChild, text } from './support.js';

const secretStore = { type: 'secret-service' } as const;

let instances = 0;
class KeyringPlace extends Place {
  // The keyring outlives a place, so each has a name of its own.
  readonly name = `acceptance ${process.pid} ${++instances}`;
  override options(changes: Partial<OpenOptions> = {}): OpenOptions {
    return super.options({ instance: this.name, secretStore, ...changes });
  }
  override async made(): Promise<void> {
    const store = await this.open({ recovery });
    assert.equal(store.startup, 'COLDSTART');
    for (let i = 0; i < 5; ++i) await store.vault.set(`seats/${i}`, Buffer.from(`value ${i}`));
    await store.close();
  }
}

async function outcomeOf(command: string, args: readonly string[], env = process.env): Promise<string> {
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const status = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return status === 0 ? output : Promise.reject(new Error(`${command} ended with ${status}: ${output}`));
}

describe('acceptance: secret-service', function () {
  this.timeout(60_000);

  if (process.env['STRONGROOM_KEYRING_DIRECTORY'] === undefined) {
    it('SecretStore: the tests of the secret service pass inside scripts/with-keyring', async () => {
      const mocha = join(root, 'node_modules/mocha/bin/mocha.js');
      const file = fileURLToPath(import.meta.url);
      const args = [process.execPath, '--import', 'tsx', mocha, '--no-config', '--reporter', 'min', file];
      const output = await outcomeOf(join(root, 'scripts/with-keyring'), args);
      assert.match(output, /passing/);
    });
    return;
  }

  let place: KeyringPlace;
  beforeEach(() => {
    place = new KeyringPlace();
  });
  afterEach(() => place.closeAll());

  it('SecretStore: cold start, warm start and close with VaultHash, TimeTamper and RootKey in the keyring', async () => {
    await place.made();
    assert.ok(!existsSync(place.secrets), 'nothing beside the store');
    assert.deepEqual([...place.snapshot().keys()].sort(), [
      'store/persistence.bin',
      'store/tmtmp.bin',
      'store/vault.bin',
    ]);
    // Where the root is stands in persistence.bin.
    const store = await place.open({ secretStore: undefined } as never);
    assert.equal(store.startup, 'WARMSTART');
    assert.equal(text(store.vault.get('seats/1')), 'value 1');
    assert.deepEqual(store.status().secretStore, secretStore);
    assert.equal(store.status().window.generations, 0);
    await store.close();
  });

  it('scenario 4, rollback test, with the keyring: an older copy of the files is refused', async () => {
    await place.made();
    const backup = place.snapshot();
    await place.visit(({ vault }) => vault.set('seats/1', Buffer.from('newer')));
    const newest = place.snapshot();
    place.restore(backup);
    assert.equal((await place.refused('vault-rolled-back')).code, 'PERS_8003');
    place.restore(newest);
    await place.visit(({ vault }) => assert.equal(text(vault.get('seats/1')), 'newer'));
  });

  it('two processes: with the keyring, a copy of the files is refused while the original is open, and harms nothing', async () => {
    await place.made();
    const store = await place.open();
    const directory = join(place.root, 'copy');
    cpSync(place.directory, directory, { recursive: true });
    chmodSync(directory, 0o700);
    const script = `await strongroom.open({ directory: directory + '/../copy', instance: process.env.INSTANCE }).then(
        () => tell('opened'),
        (error) => tell(error.reason + ' ' + error.message));`;
    const { lines, stderr } = await runChild(place, script, { env: { INSTANCE: place.name } });
    assert.match(lines[0] ?? stderr, /^locked a copy of this store, or this store by another path, is open/);
    assert.match(lines[0] ?? '', new RegExp(`\\bprocess ${process.pid}\\b`));
    await store.vault.set('seats/1', Buffer.from('newer'));
    await store.anchor();
    await store.close();
    await place.visit(({ vault }) => assert.equal(text(vault.get('seats/1')), 'newer'));
  });

  it('scenario 6, partial restore test, with the keyring: SecretStore without files, and files without SecretStore', async () => {
    await place.made();
    const whole = place.snapshot();
    place.restore(new Map());
    const withoutFiles = await place.refused('partial-restore');
    assert.equal(withoutFiles.code, 'PERS_8003');
    place.restore(whole);
    // The same directory in another session, whose keyring is empty.
    const script = `await strongroom.open({ directory, instance: process.env.INSTANCE }).then(
        () => tell('opened'),
        (error) => tell(error.code + ' ' + error.reason));`;
    const { lines, stderr } = await runChild(place, script, {
      wrapper: [join(root, 'scripts/with-keyring')],
      env: { INSTANCE: place.name },
    });
    assert.deepEqual(lines, ['PERS_8005 root-unavailable'], stderr);
  });

  it('scenario 5, clock rollback test, with the keyring: the time in the SecretStore is checked', async () => {
    await place.made();
    const backup = place.snapshot();
    const before = place.clock.wallMs();
    place.clock.advance(hour);
    await place.visit();
    const newest = place.snapshot();
    place.restore(backup);
    place.clock.reboot(0);
    place.clock.setWall(before);
    const error = await rejection(place.open());
    assert.equal(error.code, 'PERS_8003');
    place.restore(newest);
    assert.equal((await place.refused('clock-rolled-back')).retryable, true);
    place.clock.setWall(before + 2 * hour);
    await place.visit();
  });

  it('SecretStore rollback check: a keyring that cannot be reached is a retryable refusal, never a fallback', async () => {
    await place.made();
    const script = `await strongroom.open({ directory, instance: process.env.INSTANCE }).then(
        () => tell('opened'),
        (error) => tell([error.code, error.reason, error.retryable].join(' ')));`;
    const before = place.snapshot();
    for (const address of [`unix:path=${place.root}/nowhere`, '', 'nonsense']) {
      const env = { INSTANCE: place.name, DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: place.root };
      const { lines, stderr } = await runChild(place, script, { env });
      assert.deepEqual(lines, ['PERS_8005 secret-store-unavailable true'], `'${address}' ${stderr}`);
    }
    assert.deepEqual([...place.snapshot()], [...before]);
    await place.visit();
  });

  it('`ValidateColdstartSecretStore()`: with the keyring, another directory is no new trial, until an authorised decommission', async () => {
    await place.made();
    await place.refused('partial-restore', () => place.open({ directory: join(place.root, 'elsewhere') }));
    await place.decommission({ password });
    const store: OpenStore = await place.open({ directory: join(place.root, 'elsewhere') });
    assert.equal(store.startup, 'COLDSTART');
    await store.close();
  });

  it('SecretStore: with the keyring, decommission is refused without the items, and what is left is removed by itself', async () => {
    await place.made();
    const whole = place.snapshot();
    // The same directory in another session, whose keyring is empty.
    const script = `await strongroom.decommission({ directory, credential: { password: Buffer.from('${password.toString()}') } }).then(
        () => tell('removed'),
        (error) => tell(error.reason + ' ' + error.message));`;
    const { lines, stderr } = await runChild(place, script, {
      wrapper: [join(root, 'scripts/with-keyring')],
    });
    assert.match(lines[0] ?? stderr, /^items-missing .*RootKey.* in the SecretStore secret-service/);
    place.restore(whole);
    await place.visit();
    place.restore(new Map());
    await place.refused('partial-restore');
    const rest = { directory: place.directory, instance: place.name, secretStore };
    const { leftovers } = await decommissionStore(binding, { ...rest, leftovers: true });
    assert.deepEqual(leftovers.map(({ name }) => name).sort(), ['RootKey', 'TimeTamper', 'VaultHash']);
    assert.equal(
      (await rejection(decommissionStore(binding, { ...rest, leftovers: true }))).reason,
      'nothing-to-do',
    );
    const store = await place.open();
    assert.equal(store.startup, 'COLDSTART');
    await store.close();
  });
});
