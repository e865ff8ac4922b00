import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { copyFile, cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { renamedFields } from '../../lib/cli/renamed.js';
import {
  json,
  makeStore,
  onTerminal,
  password,
  strongroom,
  temporaryDirectory,
  type TestStore,
} from './support.js';

const withPassword = { env: { STRONGROOM_PASSWORD: password } };

/** Puts an older copy of vault.bin back. */
async function rollBack({ directory, secrets }: TestStore): Promise<void> {
  const vault = join(directory, 'vault.bin');
  await copyFile(vault, `${secrets}-vault.bin`);
  assert.equal((await strongroom(['set', directory, 'seats', '26'])).code, 0);
  await copyFile(`${secrets}-vault.bin`, vault);
}

/** Name and content of every file of a store, but for its locks. */
async function fingerprint({ directory, secrets }: TestStore): Promise<string[]> {
  const all: string[] = [];
  for (const place of [directory, secrets]) {
    for (const name of (await readdir(place)).sort())
      if (!name.endsWith('lock')) all.push(name, (await readFile(join(place, name))).toString('base64'));
  }
  return all;
}

describe('strongroom reanchor, recover, decommission, permit sign', () => {
  describe('by the backup password', () => {
    it('reanchor accepts a restored state, once', async () => {
      const store = await makeStore();
      await strongroom(['set', store.directory, 'seats', '25']);
      const idle = await strongroom(['reanchor', store.directory, '--json'], withPassword);
      assert.deepEqual([idle.code, json(idle.stderr).reason], [1, 'nothing-to-do']);
      await rollBack(store);
      const { code, stdout, stderr } = await strongroom(
        ['reanchor', store.directory, '--json'],
        withPassword,
      );
      assert.equal(code, 0, stderr);
      assert.equal(json(stdout).continuity, 'proven');
      assert.equal((await strongroom(['get', store.directory, 'seats'])).stdout, '25');
      const log = await strongroom(['log', store.directory]);
      assert.match(log.stdout, /reanchor/);
    });

    it('reanchor names what it gives up before it accepts, and --plan changes nothing', async () => {
      const store = await makeStore();
      await strongroom(['set', store.directory, 'seats', '25']);
      await rollBack(store);
      const before = await fingerprint(store);
      const plan = await strongroom(['reanchor', store.directory, '--plan']);
      assert.equal(plan.code, 0, plan.stderr);
      assert.match(
        plan.stdout,
        /^This accepts generation 5 of .* as the newest state\.\nIt gives up \d+ later commits, which the tamper-file and the secret-store remember\. The last of them was at .* or later\.\n$/,
      );
      const asJson = json((await strongroom(['reanchor', store.directory, '--plan', '--json'])).stdout);
      assert.equal(asJson.verdict, 'vault-rolled-back');
      assert.ok(asJson.loss.commits > 0);
      assert.deepEqual(await fingerprint(store), before);
      const other = await strongroom(
        ['reanchor', store.directory, '--generation', '4', '--json'],
        withPassword,
      );
      assert.deepEqual([other.code, json(other.stderr).reason], [4, 'aborted']);
      const mistyped = await onTerminal(
        ['reanchor', store.directory],
        [['Type the generation (5) to accept it: ', '6\n']],
        withPassword.env,
      );
      assert.equal(mistyped.code, 4, mistyped.stdout);
      assert.match(mistyped.stdout, /It gives up \d+ later commits/);
      assert.deepEqual(await fingerprint(store), before);
      const accepted = await onTerminal(
        ['reanchor', store.directory],
        [['Type the generation (5) to accept it: ', '5\n']],
        withPassword.env,
      );
      assert.equal(accepted.code, 0, accepted.stdout);
      assert.equal((await strongroom(['status', store.directory])).code, 0);
    });

    it('reanchor accepts a backup once, and says how the same one is brought back all the same', async () => {
      const store = await makeStore();
      const restore = async (
        from: string,
        ...places: readonly ('directory' | 'secrets')[]
      ): Promise<void> => {
        for (const place of places) {
          await rm(store[place], { recursive: true });
          await cp(join(from, place), store[place], { recursive: true });
        }
      };
      const backUp = async (): Promise<string> => {
        const to = await temporaryDirectory();
        for (const place of ['directory', 'secrets'] as const)
          await cp(store[place], join(to, place), { recursive: true });
        return to;
      };
      const backup = await backUp();
      await strongroom(['set', store.directory, 'seats', '26']);
      await restore(backup, 'directory');
      assert.equal((await strongroom(['reanchor', store.directory], withPassword)).code, 0);
      const since = await backUp();
      await restore(backup, 'directory');
      const before = await fingerprint(store);
      const again = await strongroom(['reanchor', store.directory, '--json'], withPassword);
      assert.deepEqual([again.code, json(again.stderr).reason], [1, 'already-accepted']);
      assert.match(json(again.stderr).message, /^generation \d+ of this store was accepted before/);
      assert.doesNotMatch(json(again.stderr).remedy, /password/);
      assert.deepEqual(await fingerprint(store), before);
      // The files that continue from the accepted state, then a backup made since, then all of the first backup.
      await restore(since, 'directory');
      assert.equal((await strongroom(['set', store.directory, 'seats', '27'])).code, 0);
      await restore(since, 'directory');
      assert.equal((await strongroom(['status', store.directory])).code, 3);
      assert.equal((await strongroom(['reanchor', store.directory], withPassword)).code, 0);
      await restore(backup, 'directory', 'secrets');
      assert.equal((await strongroom(['status', store.directory])).code, 0);
    });

    it('recover gives a store a new root, and reanchor proves its continuity', async () => {
      const store = await makeStore();
      await strongroom(['set', store.directory, 'seats', '25']);
      const early = await strongroom(['recover', store.directory, '--json'], withPassword);
      assert.deepEqual([early.code, json(early.stderr).reason], [1, 'nothing-to-do']);
      await rm(store.secrets, { recursive: true });
      const wrong = await strongroom(['recover', store.directory, '--json'], {
        env: { STRONGROOM_PASSWORD: 'x' },
      });
      assert.deepEqual([wrong.code, json(wrong.stderr).reason], [1, 'password-wrong']);
      const elsewhere = `${store.secrets}-new`;
      const recovered = await strongroom(
        ['recover', store.directory, '--secret-store', `file:${elsewhere}`, '--json'],
        withPassword,
      );
      assert.equal(recovered.code, 0, recovered.stderr);
      assert.equal(json(recovered.stdout).continuity, 'unproven');
      assert.deepEqual(json(recovered.stdout).secretStore, { type: 'file', directory: elsewhere });
      assert.equal((await strongroom(['get', store.directory, 'seats'])).stdout, '25');
      assert.match((await strongroom(['status', store.directory])).stdout, /^note +.*strongroom reanchor/m);
      const human = await strongroom(['reanchor', store.directory], withPassword);
      assert.deepEqual([human.code, human.stdout], [0, '']);
      assert.match(
        human.stderr,
        /^This accepts generation .*\nIt gives up no commit .*\nAccepted the store [0-9a-f]{32} at generation \d+\.\n$/,
      );
      assert.equal(
        json((await strongroom(['status', store.directory, '--json'])).stdout).continuity,
        'proven',
      );
    });

    it('decommission removes the store and its secrets, after --yes or the typed instance name', async () => {
      const store = await makeStore();
      const unconfirmed = await strongroom(['decommission', store.directory, '--json'], withPassword);
      assert.deepEqual([unconfirmed.code, json(unconfirmed.stderr).reason], [2, 'invalid-option']);
      const question = 'Type the instance name (acme) to go on: ';
      const args = ['decommission', store.directory];
      const mistyped = await onTerminal(args, [[question, 'acne\r']], withPassword.env);
      assert.equal(mistyped.code, 4, mistyped.stdout);
      assert.equal((await strongroom(['status', store.directory])).code, 0);
      const typed = await onTerminal(args, [
        [question, 'acme\r'],
        ['Backup password: ', `${password}\r`],
      ]);
      assert.equal(typed.code, 0, typed.stdout);
      assert.deepEqual(
        (await readdir(store.directory)).filter((name) => name.endsWith('.bin')),
        [],
      );
      assert.equal((await strongroom(['status', store.directory])).code, 1);
      const again = await strongroom([
        'init',
        store.directory,
        '--secret-store',
        `file:${store.secrets}`,
        '--instance',
        'acme',
        '--no-recovery-password',
      ]);
      assert.equal(again.code, 0, again.stderr);
    });
  });

  describe("by a vendor's permit", () => {
    let store: TestStore;
    let privateKeyFile: string;
    let keys: string;
    const sign = (purpose: string, status: string, ...rest: string[]) =>
      strongroom(
        [
          'permit',
          'sign',
          '--private-key-file',
          privateKeyFile,
          '--purpose',
          purpose,
          '--status-file',
          '-',
          ...rest,
        ],
        { input: status },
      );
    const permitFile = async (content: string | Uint8Array): Promise<string> => {
      const path = join(await temporaryDirectory(), 'permit');
      await writeFile(path, content);
      return path;
    };

    before(async () => {
      keys = await temporaryDirectory();
      privateKeyFile = join(keys, 'vendor.pem');
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      await writeFile(privateKeyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      await writeFile(join(keys, 'vendor.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
      store = await makeStore(['--vendor-public-key', join(keys, 'vendor.pub')]);
    });

    it('init fixes the vendor as the authority', async () => {
      const { stdout } = await strongroom(['status', store.directory]);
      assert.match(stdout, /^rewindable by +vendor$/m);
    });

    it('permit sign works from a status file, from standard input and from three options alike', async () => {
      const { stdout: status } = await strongroom(['status', store.directory, '--json']);
      const { storageId, generation, head } = json(status);
      const statusFile = await permitFile(status);
      const args = ['permit', 'sign', '--private-key-file', privateKeyFile, '--purpose', 'reanchor'];
      const [input, file, options, asJson] = await Promise.all([
        sign('reanchor', status),
        strongroom([...args, '--status-file', statusFile]),
        strongroom([...args, '--storage-id', storageId, '--generation', String(generation), '--head', head]),
        sign('reanchor', status, '--json'),
      ]);
      assert.match(input.stdout, /^[\w-]{182}\n$/);
      assert.equal(file.stdout, input.stdout);
      assert.equal(options.stdout, input.stdout);
      assert.deepEqual(json(asJson.stdout), {
        permit: input.stdout.trim(),
        purpose: 'reanchor',
        storageId,
        generation,
        head,
      });
    });

    it('permit sign refuses what is no key, no status or no checkpoint with exit code 2', async () => {
      const { stdout: status } = await strongroom(['status', store.directory, '--json']);
      const publicKey = [
        'permit',
        'sign',
        '--private-key-file',
        join(keys, 'vendor.pub'),
        '--purpose',
        'reanchor',
      ];
      const outcomes = await Promise.all([
        strongroom([...publicKey, '--status-file', '-', '--json'], { input: status }),
        sign('reanchor', 'no JSON', '--json'),
        sign('reanchor', '{"verdict":"root-unavailable"}', '--json'),
        sign('reanchor', 'null', '--json'),
        sign('reanchor', status, '--generation', '3', '--json'),
      ]);
      for (const { code, stdout, stderr } of outcomes) {
        assert.deepEqual([code, stdout], [2, ''], stderr);
        assert.equal(json(stderr).code, 'PERS_8001');
      }
    });

    it('permit sign refuses a status with the old name of a field, and says what an old store can give', async () => {
      const { stdout: status } = await strongroom(['status', store.directory, '--json']);
      for (const [old, name] of renamedFields) {
        assert.ok(name in json(status));
        const { code, stderr } = await sign('reanchor', status.replace(`"${name}"`, `"${old}"`), '--json');
        assert.equal(code, 2, stderr);
        assert.ok(json(stderr).message.includes(`${old} is called ${name} now`), stderr);
        assert.match(
          json(stderr).message,
          /with this release, or give --storage-id, --generation and --head$/,
        );
      }
    });

    it('reanchor takes the permit of this checkpoint and purpose, as text or bytes, and nothing else', async () => {
      await rollBack(store);
      const status = await strongroom(['status', store.directory, '--json']);
      assert.equal(status.code, 3);
      const reanchor = ['reanchor', store.directory, '--json'];
      const byPassword = await strongroom(reanchor, withPassword);
      assert.deepEqual([byPassword.code, json(byPassword.stderr).reason], [1, 'authority-refused']);
      const other = await permitFile((await sign('recover', status.stdout)).stdout);
      const wrongPurpose = await strongroom([...reanchor, '--permit-file', other]);
      assert.deepEqual([wrongPurpose.code, json(wrongPurpose.stderr).reason], [1, 'authority-refused']);
      const junk = await strongroom([...reanchor, '--permit-file', await permitFile('junk')]);
      assert.deepEqual([junk.code, json(junk.stderr).reason], [2, 'invalid-option']);
      const permit = (await sign('reanchor', status.stdout)).stdout;
      const both = await strongroom([
        ...reanchor,
        '--permit-file',
        await permitFile(permit),
        '--password-file',
        other,
      ]);
      assert.deepEqual([both.code, json(both.stderr).reason], [2, 'invalid-option']);
      const raw = await permitFile(Buffer.from(permit.trim(), 'base64url'));
      const accepted = await strongroom([...reanchor, '--permit-file', raw]);
      assert.equal(accepted.code, 0, accepted.stderr);
      assert.equal((await strongroom(['status', store.directory])).code, 0);
    });

    it('recover needs the password and a permit; the refusal names the checkpoint to sign', async () => {
      await rm(store.secrets, { recursive: true });
      const recover = ['recover', store.directory, '--json'];
      const refused = await strongroom(recover, withPassword);
      assert.deepEqual([refused.code, json(refused.stderr).reason], [1, 'authority-refused']);
      const [, storageId, generation, head] =
        /storage id ([0-9a-f]{32}), generation (\d+), head ([0-9a-f]{64})/.exec(
          json(refused.stderr).message,
        )!;
      const checkpoint = JSON.stringify({ storageId, generation: Number(generation), head });
      const permit = await permitFile((await sign('recover', checkpoint)).stdout);
      const alone = await strongroom([...recover, '--permit-file', permit]);
      assert.equal(json(alone.stderr).reason, 'password-missing');
      const recovered = await strongroom([...recover, '--permit-file', permit], withPassword);
      assert.equal(recovered.code, 0, recovered.stderr);
      assert.equal(json(recovered.stdout).continuity, 'unproven');
    });

    it('decommission takes the permit too', async () => {
      const { stdout: status } = await strongroom(['status', store.directory, '--json']);
      const permit = await permitFile((await sign('decommission', status)).stdout);
      const args = ['decommission', store.directory, '--yes', '--json'];
      const byPassword = await strongroom(args, withPassword);
      assert.equal(json(byPassword.stderr).reason, 'authority-refused');
      const { code, stdout, stderr } = await strongroom([...args, '--permit-file', permit]);
      assert.equal(code, 0, stderr);
      assert.deepEqual(json(stdout), {
        decommissioned: true,
        instance: 'acme',
        leftBehind: [],
        storageId: json(status).storageId,
      });
    });
  });
});
