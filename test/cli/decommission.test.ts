// decommission: what is refused because it would stay behind, and what is left of a store whose files are gone.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { signPermit } from '../../lib/index.js';
import { pin, softhsm, soPin } from '../support/softhsm.js';
import { Swtpm } from '../support/swtpm.js';
import {
  json,
  makeStore,
  onTerminal,
  password,
  start,
  strongroom,
  temporaryDirectory,
  type Outcome,
  type TestStore,
} from './support.js';

const withPassword = { env: { STRONGROOM_PASSWORD: password } };
const itemNames = ['RootKey', 'TimeTamper', 'VaultHash'];

const reasonOf = ({ code, stderr }: Outcome): unknown[] => [code, json(stderr).reason];
const decommission = (directory: string, ...more: string[]): Promise<Outcome> =>
  strongroom(['decommission', directory, '--yes', '--json', ...more], withPassword);
const leftovers = ({ directory, secrets }: TestStore, ...more: string[]): Promise<Outcome> =>
  strongroom([
    'decommission', directory, '--leftovers', '--instance', 'acme', '--secret-store', `file:${secrets}`,
    '--yes', '--json', ...more,
  ]); // prettier-ignore
const init = ({ directory, secrets }: TestStore): Promise<Outcome> =>
  strongroom(
    ['init', directory, '--secret-store', `file:${secrets}`, '--instance', 'acme', '--json'],
    withPassword,
  );
const itemsIn = (secrets: string): string[] =>
  readdirSync(secrets)
    .filter((name) => !name.endsWith('.lock'))
    .map((name) => name.replace('acme.', ''))
    .sort();

async function succeeds(outcome: Promise<Outcome>): Promise<Outcome> {
  const settled = await outcome;
  assert.equal(settled.code, 0, settled.stderr);
  return settled;
}

describe('strongroom decommission', function () {
  this.timeout(120_000);

  describe('of a store whose SecretStore is not found', () => {
    let store: TestStore;
    let away: string;
    beforeEach(async () => {
      store = await makeStore();
      away = `${store.secrets}-away`;
    });

    it('is refused, names what is missing, changes nothing, and succeeds once it is back', async () => {
      renameSync(store.secrets, away);
      // Absent, and then an empty mount point.
      for (const prepare of [() => undefined, () => mkdirSync(store.secrets, { mode: 0o700 })]) {
        prepare();
        const refused = await decommission(store.directory);
        assert.deepEqual(reasonOf(refused), [4, 'items-missing']);
        const { retryable, message } = json(refused.stderr);
        assert.equal(retryable, true);
        assert.ok(message.includes(`VaultHash, TimeTamper, RootKey of the instance 'acme'`), message);
        assert.ok(message.includes(store.secrets), message);
        assert.ok(existsSync(join(store.directory, 'vault.bin')));
      }
      rmSync(store.secrets, { recursive: true });
      renameSync(away, store.secrets);
      await succeeds(strongroom(['status', store.directory]));
      await succeeds(decommission(store.directory));
      assert.deepEqual(readdirSync(store.secrets), []);
      await succeeds(init(store));
    });

    it('is done with the new place of the SecretStore', async () => {
      renameSync(store.secrets, away);
      await succeeds(decommission(store.directory, '--secret-store', `file:${away}`));
      assert.deepEqual(readdirSync(away), []);
    });

    it("leaves another store's items alone", async () => {
      renameSync(store.secrets, away);
      const other = { directory: `${store.directory}-2`, secrets: store.secrets };
      await succeeds(init(other));
      const refused = await decommission(store.directory);
      assert.deepEqual(reasonOf(refused), [4, 'items-missing']);
      assert.match(json(refused.stderr).message, /another store has that name/);
      await succeeds(decommission(store.directory, '--allow-leftovers'));
      await succeeds(strongroom(['status', other.directory]));
    });

    it('is done with --allow-leftovers, which names what stays; what appears again is removed by --leftovers', async () => {
      renameSync(store.secrets, away);
      const { stdout } = await succeeds(decommission(store.directory, '--allow-leftovers'));
      assert.match(json(stdout).leftBehind.join(), /VaultHash, TimeTamper, RootKey/);
      renameSync(away, store.secrets);
      assert.deepEqual(reasonOf(await decommission(store.directory)), [1, 'no-store']);
      const again = await init(store);
      assert.deepEqual(reasonOf(again), [3, 'partial-restore']);
      assert.match(json(again.stderr).remedy, /decommission DIR --leftovers/);
      const removed = await succeeds(leftovers(store));
      assert.deepEqual(
        json(removed.stdout)
          .leftovers.map(({ name }: { name: string }) => name)
          .sort(),
        itemNames,
      );
      assert.deepEqual(itemsIn(store.secrets), []);
      await succeeds(init(store));
    });

    it('asks for the password all the same with --allow-leftovers', async () => {
      renameSync(store.secrets, away);
      const args = ['decommission', store.directory, '--yes', '--json', '--allow-leftovers'];
      const wrong = await strongroom(args, { env: { STRONGROOM_PASSWORD: 'not this one' } });
      assert.deepEqual(reasonOf(wrong), [1, 'password-wrong']);
    });
  });

  describe('of a store that has lost a file', () => {
    it('removes it by its password where vault.bin is gone', async () => {
      const store = await makeStore();
      rmSync(join(store.directory, 'vault.bin'));
      const status = await strongroom(['status', store.directory, '--json']);
      assert.equal(json(status.stdout).verdict, 'partial-restore');
      const args = ['decommission', store.directory, '--yes', '--json'];
      const wrong = await strongroom(args, { env: { STRONGROOM_PASSWORD: 'not this one' } });
      assert.deepEqual(reasonOf(wrong), [1, 'password-wrong']);
      await succeeds(decommission(store.directory));
      assert.deepEqual(itemsIn(store.secrets), []);
      await succeeds(init(store));
    });

    it("removes it by a vendor's permit over no checkpoint at all where vault.bin is gone", async () => {
      const { publicKey, privateKey } = generateKeyPairSync('ed25519');
      const keys = await temporaryDirectory();
      const [vendor, permitFile] = [join(keys, 'vendor.pub'), join(keys, 'permit')];
      writeFileSync(vendor, publicKey.export({ type: 'spki', format: 'pem' }));
      const store = await makeStore(['--vendor-public-key', vendor], false);
      rmSync(join(store.directory, 'vault.bin'));
      const refused = await decommission(store.directory);
      assert.deepEqual(reasonOf(refused), [1, 'authority-refused']);
      const { message } = json(refused.stderr);
      const checkpoint = /storage id ([0-9a-f]{32}), generation 0, head (0{64})/.exec(message);
      assert.ok(checkpoint !== null, message);
      const [, storageId, head] = checkpoint as unknown as [string, string, string];
      writeFileSync(
        permitFile,
        signPermit({ privateKey, purpose: 'decommission', storageId, generation: 0, head }),
      );
      const args = ['decommission', store.directory, '--yes', '--json', '--permit-file', permitFile];
      await succeeds(strongroom(args));
      assert.deepEqual(itemsIn(store.secrets), []);
    });

    it('leads to --leftovers where persistence.bin is gone, and that to a new store', async () => {
      const store = await makeStore();
      rmSync(join(store.directory, 'persistence.bin'));
      const refused = await decommission(store.directory);
      assert.deepEqual(reasonOf(refused), [3, 'partial-restore']);
      assert.match(json(refused.stderr).remedy, /decommission DIR --leftovers/);
      await succeeds(leftovers(store));
      assert.deepEqual([itemsIn(store.secrets), readdirSync(store.directory)], [[], ['lock']]);
      await succeeds(init(store));
    });

    it('is completed where it was interrupted, and not while its SecretStore is away', async () => {
      const store = await makeStore();
      const away = `${store.secrets}-away`;
      // Its file cannot be removed: the act was begun.
      const vault = join(store.directory, 'vault.bin.new');
      mkdirSync(vault);
      assert.notEqual((await decommission(store.directory)).code, 0);
      rmSync(vault, { recursive: true });
      assert.equal(
        json((await strongroom(['status', store.directory, '--json'])).stdout).state,
        'decommissioning',
      );
      renameSync(store.secrets, away);
      assert.deepEqual(reasonOf(await decommission(store.directory)), [4, 'items-missing']);
      renameSync(away, store.secrets);
      await succeeds(decommission(store.directory));
      assert.deepEqual([itemsIn(store.secrets), readdirSync(store.directory)], [[], ['lock']]);
    });
  });

  describe('--leftovers', () => {
    it('shows what it removes before it asks, and removes nothing for another answer', async () => {
      const store = await makeStore();
      rmSync(store.directory, { recursive: true });
      const args = [
        'decommission', store.directory, '--leftovers', '--instance', 'acme', '--secret-store', `file:${store.secrets}`,
      ]; // prettier-ignore
      const question = 'Type the instance name (acme) to go on: ';
      const mistyped = await onTerminal(args, [[question, 'acne\r']]);
      assert.equal(mistyped.code, 4, mistyped.stdout);
      for (const name of itemNames)
        assert.match(
          mistyped.stdout,
          new RegExp(`^  ${name} of the store [0-9a-f]{32} in the SecretStore file:/`, 'm'),
        );
      assert.deepEqual(itemsIn(store.secrets), itemNames);
      const typed = await onTerminal(args, [[question, 'acme\r']]);
      assert.equal(typed.code, 0, typed.stdout);
      assert.deepEqual(itemsIn(store.secrets), []);
      assert.ok(!existsSync(store.directory));
    });

    it('is refused where a persistence.bin names the authority, and while a store uses the items', async () => {
      const store = await makeStore();
      assert.deepEqual(reasonOf(await leftovers(store)), [1, 'store-exists']);
      assert.deepEqual(itemsIn(store.secrets), itemNames);
      const holder = start([], {}, [
        '--input-type=module',
        '-e',
        `const { open } = await import(${JSON.stringify(join(process.cwd(), 'dist/index.js'))});
           const store = await open({ directory: ${JSON.stringify(store.directory)} });
           process.stdout.write('open');
           process.stdin.once('end', () => store.close()).resume();`,
      ]);
      await new Promise((resolve) => holder.stdout!.once('data', resolve));
      const elsewhere = { ...store, directory: `${store.directory}-elsewhere` };
      const locked = await leftovers(elsewhere);
      assert.deepEqual(reasonOf(locked), [4, 'locked']);
      holder.stdin!.end();
      await new Promise((resolve) => holder.once('close', resolve));
      assert.deepEqual(itemsIn(store.secrets), itemNames);
    });

    it('tells nothing left from a place that is not there', async () => {
      const store = await makeStore();
      await succeeds(decommission(store.directory));
      assert.deepEqual(reasonOf(await leftovers(store)), [1, 'nothing-to-do']);
      rmSync(store.secrets, { recursive: true });
      assert.deepEqual(reasonOf(await leftovers(store)), [4, 'not-found']);
    });

    it('takes no credential, and its options belong to it', async () => {
      const store = await makeStore();
      for (const outcome of [
        await leftovers(store, '--password-fd', '0'),
        await leftovers(store, '--allow-leftovers'),
        await leftovers(store, '--protector', 'tpm'),
        await leftovers(store, '--tcti', 'device:/dev/tpm0'),
        await decommission(store.directory, '--leftovers', '--protector', 'tpm', '--pin-fd', '0'),
        await decommission(store.directory, '--instance', 'acme'),
        await decommission(store.directory, '--protector', 'tpm'),
      ]) {
        assert.deepEqual(reasonOf(outcome), [2, 'invalid-option']);
      }
    });
  });

  describe('with a TPM', () => {
    let tpm: Swtpm;
    let directory: string;
    beforeEach(async () => {
      tpm = await Swtpm.started();
      directory = join(await temporaryDirectory(), 'store');
      await succeeds(initTpm());
    });
    afterEach(() => tpm.remove());
    const initTpm = (): Promise<Outcome> =>
      strongroom(
        [
          'init',
          directory,
          '--protector',
          'tpm',
          '--tcti',
          tpm.tcti,
          '--no-pin',
          '--instance',
          'acme',
          '--json',
        ],
        withPassword,
      );

    it('removes the NV indices that a store has left', async () => {
      rmSync(directory, { recursive: true });
      assert.deepEqual(reasonOf(await initTpm()), [3, 'partial-restore']);
      const args = [
        'decommission',
        directory,
        '--leftovers',
        '--protector',
        'tpm',
        '--tcti',
        tpm.tcti,
        '--yes',
        '--json',
      ];
      assert.deepEqual(reasonOf(await strongroom(args)), [1, 'nothing-to-do']);
      const { stdout } = await succeeds(strongroom([...args, '--instance', 'acme']));
      assert.equal(json(stdout).leftovers.length, 2);
      assert.deepEqual(tpm.handles('handles-nv-index'), []);
      await succeeds(initTpm());
    });

    it('is refused with another TPM, and not with one that was cleared', async () => {
      tpm.copyState(join(directory, '..', 'state'));
      await tpm.replace();
      const refused = await decommission(directory);
      assert.deepEqual(reasonOf(refused), [4, 'items-missing']);
      assert.match(json(refused.stderr).message, /another TPM/);
      await tpm.kill();
      tpm.restoreState(join(directory, '..', 'state'));
      await tpm.start();
      await succeeds(strongroom(['status', directory]));
      tpm.clear();
      await succeeds(decommission(directory));
    });
  });

  describe('with a token', () => {
    let root: string;
    let directory: string;
    let env: NodeJS.ProcessEnv;
    const run = (...args: string[]): Promise<Outcome> =>
      strongroom([...args, '--module', softhsm, '--json'], {
        env: { ...withPassword.env, SOFTHSM2_CONF: env['SOFTHSM2_CONF'], STRONGROOM_PIN: pin },
      });
    const initToken = (): Promise<Outcome> =>
      run(
        'init', directory, '--protector', 'pkcs11', '--token', 'acme', '--instance', 'acme',
        '--secret-store', `file:${root}/secrets`,
      ); // prettier-ignore
    beforeEach(async () => {
      root = await temporaryDirectory();
      directory = join(root, 'store');
      mkdirSync(join(root, 'tokens'));
      env = { SOFTHSM2_CONF: join(root, 'softhsm2.conf') };
      writeFileSync(env['SOFTHSM2_CONF']!, `directories.tokendir = ${root}/tokens\n`);
      execFileSync(
        'softhsm2-util',
        ['--init-token', '--free', '--label', 'acme', '--pin', pin, '--so-pin', soPin],
        { env: { ...process.env, ...env }, stdio: 'ignore' },
      );
      await succeeds(initToken());
    });
    const objects = (): string =>
      execFileSync('pkcs11-tool', ['--module', softhsm, '--login', '--pin', pin, '--list-objects'], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });

    it('does not send a wrong PIN again, and asks for no password then', async () => {
      const { stderr, code } = await strongroom(
        ['decommission', directory, '--yes', '--module', softhsm, '--json'],
        { env: { ...env, STRONGROOM_PIN: 'mistyped' } },
      );
      assert.deepEqual([code, json(stderr).reason], [1, 'pin-wrong']);
    });

    it('is refused while the token or the SecretStore is away', async () => {
      renameSync(join(root, 'tokens'), join(root, 'away'));
      mkdirSync(join(root, 'tokens'));
      const withoutToken = await run('decommission', directory, '--yes');
      assert.deepEqual(reasonOf(withoutToken), [4, 'items-missing']);
      assert.match(json(withoutToken.stderr).message, /the token 'acme'/);
      rmSync(join(root, 'tokens'), { recursive: true });
      renameSync(join(root, 'away'), join(root, 'tokens'));
      renameSync(join(root, 'secrets'), join(root, 'away'));
      const withoutSecrets = await run('decommission', directory, '--yes');
      assert.deepEqual(reasonOf(withoutSecrets), [4, 'items-missing']);
      renameSync(join(root, 'away'), join(root, 'secrets'));
      await succeeds(run('decommission', directory, '--yes'));
      assert.equal(objects().trim(), '');
      await succeeds(initToken());
    });

    it('removes the key and the witness that a store has left in the token', async () => {
      rmSync(directory, { recursive: true });
      assert.deepEqual(reasonOf(await initToken()), [3, 'partial-restore']);
      await succeeds(
        run(
          'decommission', directory, '--leftovers', '--protector', 'pkcs11', '--token', 'acme', '--instance', 'acme',
          '--secret-store', `file:${root}/secrets`, '--yes',
        ),
      ); // prettier-ignore
      assert.equal(objects().trim(), '');
      assert.deepEqual(itemsIn(join(root, 'secrets')), []);
      await succeeds(initToken());
    });
  });
});
