// The command line on a store whose root is in a TPM, a swtpm of the test's own.
import assert from 'node:assert/strict';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { workAndClose } from '../../lib/cli/store.js';
import type { PersistenceError } from '../../lib/errors.js';
import { open } from '../../lib/index.js';
import { Swtpm } from '../support/swtpm.js';
import { json, onTerminal, strongroom, temporaryDirectory } from './support.js';

const withPassword = { env: { STRONGROOM_PASSWORD: 'correct horse' } };

describe('cli: protector tpm', function () {
  this.timeout(120_000);
  let tpm: Swtpm;
  let place: string;
  let directory: string;

  beforeEach(async () => {
    tpm = await Swtpm.started();
    place = await temporaryDirectory();
    directory = join(place, 'store');
  });
  afterEach(() => tpm.remove());

  const init = (...more: readonly string[]): ReturnType<typeof strongroom> =>
    strongroom(
      ['init', directory, '--protector', 'tpm', '--tcti', tpm.tcti, '--instance', 'acme', ...more],
      withPassword,
    );
  const made = async (...more: readonly string[]): Promise<void> => {
    const { code, stderr } = await init(...more);
    assert.equal(code, 0, stderr);
  };
  const pinFile = async (pin: string): Promise<string> => {
    const path = join(place, `pin-${pin}`);
    await writeFile(path, `${pin}\n`);
    return path;
  };
  const reasonOf = ({ stderr }: { stderr: string }): unknown => json(stderr).reason;

  it('init, set, get and status need no SecretStore and no more than the directory', async () => {
    await made('--pcrs', '0,7');
    assert.equal((await strongroom(['set', directory, 'seats/cad', '12'])).code, 0);
    assert.equal((await strongroom(['get', directory, 'seats/cad'])).stdout, '12');
    const { code, stdout } = await strongroom(['status', directory]);
    assert.equal(code, 0);
    for (const line of [
      /^verdict +ok$/m,
      /^ +tpm-counter +generation \d+, in step$/m,
      /^window +none: every witness has seen the newest commit; at most 1 d$/m,
      /^security level +tpm-virtual \(whoever restores the virtual machine restores its TPM too\)$/m,
      /^tpm +IBM SW TPM [\d.]+, swtpm:path=\/.*$/m,
      /^tpm counter +\d+ at 0x01[0-9a-f]{6}, began at 1; the root is sealed up to \d+$/m,
      /^pcrs, pin +PCRs 0, 7; no PIN$/m,
      /^tpm wear +5 increments, 5 a day; at this pace 100,000 in 55 years, 500,000 in 274 years$/m,
    ]) {
      assert.match(stdout, line);
    }
    assert.doesNotMatch(stdout, /secret store/);
    const document = json((await strongroom(['status', directory, '--json'])).stdout);
    assert.deepEqual([document.protector, document.securityLevel], ['tpm', 'tpm-virtual']);
    assert.deepEqual(document.tpm.pcrs, [0, 7]);
    assert.equal(document.tpm.wear.increments, 5);
    assert.equal((await strongroom(['verify', directory])).code, 0);
    assert.match((await strongroom(['log', directory])).stdout, / anchor /);
  });

  it('what does not go together is usage', async () => {
    const secrets = `file:${join(place, 'secrets')}`;
    const none = { env: {} };
    for (const [args, options] of [
      [['--protector', 'tpm', '--secret-store', secrets], withPassword],
      [['--protector', 'tpm', '--pcrs', '0,24'], withPassword],
      [['--protector', 'tpm', '--pcrs', 'all'], withPassword],
      [['--protector', 'tpm', '--no-pin', '--pin-fd', '0'], withPassword],
      [['--protector', 'tpm'], none],
      [['--secret-store', secrets, '--pcrs', '0'], withPassword],
      [['--secret-store', secrets, '--tcti', 'x'], withPassword],
      [[], withPassword],
    ] as const) {
      const outcome = await strongroom(['init', directory, ...args, '--json'], options);
      assert.deepEqual([outcome.code, reasonOf(outcome)], [2, 'invalid-option'], args.join(' '));
    }
    const without = await strongroom([
      'init',
      directory,
      '--protector',
      'tpm',
      '--tcti',
      tpm.tcti,
      '--no-recovery-password',
    ]);
    assert.equal(without.code, 0, without.stderr);
    assert.match(without.stderr, /A lost TPM means lost data/);
  });

  it('the PIN comes from a file, a descriptor, the environment or a question, never from the arguments', async () => {
    const file = await pinFile('2580');
    await made('--pin-file', file);
    const get = ['status', directory, '--json'];
    assert.equal((await strongroom([...get, '--pin-file', file])).code, 0);
    assert.equal((await strongroom([...get, '--pin-fd', '3'], { third: '2580' })).code, 0);
    assert.equal((await strongroom(get, { env: { STRONGROOM_PIN: '2580' } })).code, 0);
    assert.equal((await onTerminal(['status', directory], [['root key: ', '2580\r']])).code, 0);
    const wrong = await strongroom(get, { env: { STRONGROOM_PIN: '2581' } });
    assert.deepEqual([wrong.code, reasonOf(wrong)], [1, 'pin-wrong']);
    // Without one, status shows what there is; other commands do nothing.
    const missing = await strongroom(get);
    assert.deepEqual([missing.code, reasonOf(missing)], [1, 'pin-missing']);
    const { verdict, instance, tpm: slot } = json(missing.stdout);
    assert.deepEqual([verdict, instance, slot.pin], ['pin-missing', 'acme', true]);
    for (const args of [
      ['set', directory, 'key', 'value'],
      ['rotate', 'dek', directory],
    ]) {
      const refused = await strongroom([...args, '--json']);
      assert.deepEqual([refused.code, reasonOf(refused)], [1, 'pin-missing'], args.join(' '));
    }
    const rotated = await strongroom(
      ['rotate', 'dek', directory, '--pin-file', file, '--json'],
      withPassword,
    );
    assert.deepEqual([rotated.code, json(rotated.stdout).dek.keyId], [0, 2], rotated.stderr);
    assert.equal((await strongroom([...get, '--pin-file', file])).code, 0);
  });

  it('a change is reported as made when the TPM goes away before the close', async () => {
    await made();
    const store = await open({ directory, create: 'never' });
    const failure = await workAndClose(store, async ({ vault }) => {
      await vault.increment('seats', 1n);
      await tpm.kill();
    }).then(
      () => undefined,
      (error: unknown) => error as PersistenceError,
    );
    assert.equal(failure?.committed, true, String(failure));
    await tpm.start();
    const seats = await strongroom(['get', directory, 'seats']);
    assert.equal(seats.code, 0, seats.stderr);
    assert.notEqual(seats.stdout, '');
  });

  it('reseal refuses a source of a PIN with --no-pin, and the options of a token', async () => {
    await made('--pin-file', await pinFile('2580'));
    for (const more of [
      ['--no-pin', '--pin-file', 'pin.txt'],
      ['--no-pin', '--pin-fd', '0'],
      ['--no-pin', '--pin-credential', 'pin'],
      ['--module', '/usr/lib/softhsm/libsofthsm2.so'],
      ['--token', 'acme'],
    ]) {
      const refused = await strongroom(['reseal', directory, ...more, '--json'], withPassword);
      assert.deepEqual([refused.code, reasonOf(refused)], [2, 'invalid-option'], more.join(' '));
    }
  });

  it('older files are exit code 3; reanchor by the password, once', async () => {
    await made();
    const copy = join(place, 'copy');
    await cp(directory, copy, { recursive: true });
    assert.equal((await strongroom(['set', directory, 'key', 'newer'])).code, 0);
    await rm(directory, { recursive: true });
    await cp(copy, directory, { recursive: true });
    const refused = await strongroom(['status', directory, '--json']);
    assert.deepEqual([refused.code, reasonOf(refused)], [3, 'vault-rolled-back']);
    const reseal = await strongroom(['reseal', directory, '--json'], withPassword);
    assert.deepEqual([reseal.code, reasonOf(reseal)], [3, 'vault-rolled-back']);
    const accepted = await strongroom(['reanchor', directory], withPassword);
    assert.equal(accepted.code, 0, accepted.stderr);
    assert.equal((await strongroom(['status', directory])).code, 0);
    await rm(directory, { recursive: true });
    const anew = await strongroom(
      ['init', directory, '--protector', 'tpm', '--tcti', tpm.tcti, '--instance', 'acme', '--json'],
      withPassword,
    );
    assert.deepEqual([anew.code, reasonOf(anew)], [3, 'partial-restore']);
  });

  it('an absent TPM is exit code 4, changed PCRs 1; reseal brings the store back', async () => {
    await made('--pcrs', '16');
    await tpm.kill();
    const absent = await strongroom(['get', directory, 'key', '--json']);
    assert.deepEqual([absent.code, reasonOf(absent)], [4, 'tpm-unavailable']);
    await tpm.start();
    tpm.extend(16);
    const changed = await strongroom(['status', directory, '--json']);
    assert.deepEqual([changed.code, reasonOf(changed)], [1, 'tpm-pcr-changed']);
    assert.match(json(changed.stderr).remedy, /strongroom reseal/);
    const recover = await strongroom(['recover', directory, '--json'], withPassword);
    assert.equal(reasonOf(recover), 'nothing-to-do');
    const wrong = await strongroom(['reseal', directory, '--json'], {
      env: { STRONGROOM_PASSWORD: 'wrong' },
    });
    assert.equal(reasonOf(wrong), 'password-wrong');
    const resealed = await strongroom(
      ['reseal', directory, '--pcrs', 'none', '--pin-file', await pinFile('1397')],
      withPassword,
    );
    assert.equal(resealed.code, 0, resealed.stderr);
    const status = await strongroom(['status', directory], { env: { STRONGROOM_PIN: '1397' } });
    assert.match(status.stdout, /^pcrs, pin +no PCRs; a PIN$/m);
    const idle = await strongroom(['reseal', directory, '--json'], {
      env: { ...withPassword.env, STRONGROOM_PIN: '1397' },
    });
    assert.equal(reasonOf(idle), 'nothing-to-do');
  });

  it("a vendor's permit: over the checkpoint that the status shows, which moves with the counter", async () => {
    const keys = await temporaryDirectory();
    const { generateKeyPairSync } = await import('node:crypto');
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    await writeFile(join(keys, 'vendor.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    await writeFile(join(keys, 'vendor.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const sign = async (purpose: string, status: string): Promise<string> => {
      const key = ['--private-key-file', join(keys, 'vendor.pem')];
      const { stdout, stderr, code } = await strongroom(
        ['permit', 'sign', ...key, '--purpose', purpose, '--status-file', '-'],
        { input: status },
      );
      assert.equal(code, 0, stderr);
      await writeFile(join(keys, 'permit'), stdout);
      return join(keys, 'permit');
    };
    await made('--vendor-public-key', join(keys, 'vendor.pub'), '--pcrs', '16');
    tpm.extend(16);
    const reseal = ['reseal', directory, '--json'];
    const byPassword = await strongroom(reseal, withPassword);
    assert.equal(reasonOf(byPassword), 'authority-refused');
    const [, storageId, generation, head] =
      /storage id ([0-9a-f]{32}), generation (\d+), head ([0-9a-f]{64})/.exec(
        json(byPassword.stderr).message,
      )!;
    const checkpoint = JSON.stringify({ storageId, generation: Number(generation), head });
    const resealed = await strongroom(
      [...reseal, '--permit-file', await sign('reseal', checkpoint)],
      withPassword,
    );
    assert.equal(resealed.code, 0, resealed.stderr);
    // The status of a store that opens shows the checkpoint itself.
    const status = (await strongroom(['status', directory, '--json'])).stdout;
    const gone = await strongroom(
      ['decommission', directory, '--yes', '--json', '--permit-file', await sign('decommission', status)],
      { env: {} },
    );
    assert.equal(gone.code, 0, gone.stderr);
    assert.deepEqual(tpm.handles('handles-nv-index'), []);
  });
});
