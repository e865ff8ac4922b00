// A copy of a store, and the commands on it: while the original is open all that would write is refused, and a drill on a
// copy writes nothing at any time.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Holder } from '../support/holding.js';
import { Swtpm } from '../support/swtpm.js';
import { json, makeStore, password, strongroom, temporaryDirectory, type Outcome } from './support.js';

const env = { STRONGROOM_PASSWORD: password };
const run = (...args: string[]): Promise<Outcome> => strongroom(args, { env });

/** Name and digest of every file of some directories. The lock file of a copy may be made by an opener that is refused. */
function fingerprint(...directories: string[]): Record<string, string> {
  return Object.fromEntries(
    directories
      .filter((directory) => existsSync(directory))
      .flatMap((directory) => readdirSync(directory).map((name) => join(directory, name)))
      .filter((path) => !path.endsWith('/lock'))
      .map((path) => [path, createHash('sha256').update(readFileSync(path)).digest('hex')]),
  );
}

/** Where a store lies, and how a process of its own opens it. */
interface Case {
  readonly directory: string;
  readonly secrets: string;
  readonly holder: () => Promise<Holder>;
  readonly end: () => Promise<void>;
}

async function software(): Promise<Case> {
  const { directory, secrets } = await makeStore();
  return { directory, secrets, holder: () => Holder.opened({ directory }), end: () => Promise.resolve() };
}

async function inTpm(): Promise<Case> {
  const tpm = await Swtpm.started();
  const directory = join(await temporaryDirectory(), 'store');
  const made = await run('init', directory, '--protector', 'tpm', '--tcti', tpm.tcti, '--instance', 'acme');
  assert.equal(made.code, 0, made.stderr);
  return {
    directory,
    secrets: '/nowhere',
    holder: () => Holder.opened({ directory }),
    end: () => tpm.stop(),
  };
}

for (const [name, make] of [
  ['software', software],
  ['tpm', inTpm],
] as const) {
  describe(`a copy of a store, protector ${name}`, function () {
    this.timeout(120_000);
    let place: Case;
    let copy: string;
    let holder: Holder | undefined;
    beforeEach(async () => {
      place = await make();
      copy = `${place.directory}.copy`;
    });
    afterEach(async () => {
      await holder?.kill();
      holder = undefined;
      await place.end();
    });

    const opens = async (): Promise<void> => {
      const outcome = await run('set', place.directory, 'seats', '11');
      assert.equal(outcome.code, 0, outcome.stderr);
    };

    it('is refused by every command that writes while the original is open', async () => {
      holder = await place.holder();
      await holder.anchor();
      execFileSync('cp', ['-a', place.directory, copy]);
      const before = fingerprint(copy, place.secrets);
      const commands = [
        ['set', copy, 'seats', '12'],
        ['decommission', copy, '--yes'],
        ['rotate', 'dek', copy],
        ['password', 'remove', copy, '--key-slot', '2'],
      ];
      for (const command of commands) {
        const { code, stderr } = await run(...command, '--json');
        assert.equal(code, 4, `${command.join(' ')}: ${stderr}`);
        const error = json(stderr);
        assert.equal(error.reason, 'locked', command.join(' '));
        assert.match(error.message, /a copy of this store, or this store by another path, is open/);
        assert.match(error.message, new RegExp(`\\bprocess ${holder.pid}\\b`));
      }
      const drill = await run('password', 'verify', copy, '--json');
      assert.equal(drill.code, 0, drill.stderr);
      assert.equal(json(drill.stdout).dated, false);
      assert.deepEqual(fingerprint(copy, place.secrets), before);
      await holder.set('seats');
      await holder.anchor();
      await holder.close();
      await opens();
    });

    it('can be used for a drill, which writes nothing', async () => {
      await opens();
      execFileSync('cp', ['-a', place.directory, copy]);
      const before = fingerprint(copy, place.secrets);
      const { code, stdout, stderr } = await run('password', 'verify', copy);
      assert.equal(code, 0, stderr);
      assert.match(stdout + stderr, /last opened for writing in another directory, so the date is not kept/);
      assert.deepEqual(fingerprint(copy, place.secrets), before);
      assert.equal(json((await run('status', copy, '--json')).stdout).lastWrittenHere, false);
      // The original is none the wiser, and keeps the date of its own.
      const own = await run('password', 'verify', place.directory, '--json');
      assert.equal(json(own.stdout).dated, true, own.stderr);
      const status = json((await run('status', place.directory, '--json')).stdout);
      assert.equal(status.lastWrittenHere, true);
      assert.ok(Date.now() - status.passwordVerifiedMs < 60_000);
    });
  });
}
