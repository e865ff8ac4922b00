// The row "8003 / 8005": one table, and for each reason that software protection can give a test that makes it happen on real
// files and real failures of the system. A reason without such a test fails, unless it stands among the exemptions.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { errorTable, type Reason } from '../../lib/error-table.js';
import { inspect as inspectStore } from '../../lib/index.js';
import type { PersistenceError } from '../../lib/errors.js';
import { hardware } from './hardware-remedies.js';
import { failing, inChild, producers, Scene } from './producers.js';
import { checkAgainstTable, rejection, root, runChild, storeFiles } from './support.js';

/** Reasons that no test here can make happen, and why. */
const exemptions: Partial<Record<Reason, string>> = {
  ...Object.fromEntries(
    Object.keys(hardware).map((reason) => [reason, 'With a real TPM or token, in remedies.test.ts.']),
  ),
  'tpm-locked-out':
    'Nothing of ours is subject to the lockout (TPM root, in tpm-root.test.ts); the device layer makes it (test/native).',
  'key-service-unreachable': 'Protector external, in external.test.ts.',
  'key-service-refused': 'Protector external, in external.test.ts.',
  internal: 'A failure of OpenSSL or of memory, which the tests of the core make at its own interface.',
};

describe('acceptance: errors', function () {
  this.timeout(60_000);
  let place: Scene;
  beforeEach(() => {
    place = new Scene();
  });
  afterEach(() => place.closeAll());

  for (const [reason, produce] of Object.entries(producers)) {
    const { code } = errorTable[reason as Reason];
    it(`8003 / 8005: ${code} ${reason} happens`, async () => {
      const refusal = await produce(place);
      assert.equal(refusal.reason, reason, refusal.message);
      checkAgainstTable(refusal as PersistenceError);
    });
  }

  it('8003 / 8005: every reason of the table has a test that makes it happen', () => {
    const reasons = Object.keys(errorTable) as Reason[];
    const without = reasons.filter((reason) => !(reason in producers) && !(reason in exemptions));
    assert.deepEqual(without, []);
    for (const reason of [...Object.keys(producers), ...Object.keys(exemptions)]) {
      assert.ok(reason in errorTable, reason);
    }
    assert.deepEqual(
      Object.keys(exemptions).filter((reason) => reason in producers),
      [],
    );
  });

  it('8003 / 8005: one table: the page for operators has a row for each reason', () => {
    const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
    for (const [reason, { retryable, remedy }] of Object.entries(errorTable)) {
      const row = page.split('\n').find((line) => line.startsWith(`| \`${reason}\` |`));
      assert.ok(row !== undefined, reason);
      assert.match(row, retryable ? /\| yes \|/ : /\| no \|/);
      assert.ok(row.includes(remedy), reason);
      assert.equal(page.split(`\n| \`${reason}\` | `).length, 3, `${reason}: refusal and state`);
    }
  });

  it('8003 / 8005: failures of the system at any call of a start never give PERS_8003, and heal', async function () {
    this.timeout(300_000);
    await runChild(
      place,
      `const store = await strongroom.open(options); await store.vault.set('key', Buffer.from('value')); await store.close();`,
    );
    const seen = new Map<string, number>();
    for (const [call, error] of [
      ['openat', 'EACCES'],
      ['openat', 'EMFILE'],
      ['pread64', 'EIO'],
      ['pwrite64', 'ENOSPC'],
      ['fdatasync', 'EIO'],
      ['fsync', 'EIO'],
      ['fallocate', 'ENOSPC'],
    ] as const) {
      for (const when of [1, 2, 3, 5, 8]) {
        const options = failing(`${call}:error=${error}:when=${when}+`);
        const paths = ['', ...storeFiles, 'persistence.bin.new', 'tmtmp.bin.new'].map((name) =>
          join(place.directory, name),
        );
        const inSecrets = [
          '',
          'test.RootKey',
          'test.VaultHash',
          'test.TimeTamper',
          'test.VaultHash.new',
          'test.TimeTamper.new',
        ];
        const only = [...paths, ...inSecrets.map((name) => join(place.secrets, name))].flatMap((path) => [
          '-P',
          path,
        ]);
        const refusal = await inChild(
          place,
          `const store = await strongroom.open(options).catch((error) => { refusal(Promise.reject(error)); });
           if (store !== undefined) {
             await refusal(store.vault.set('more', Buffer.from('value'), { durability: 'witnessed' }).then(() => store.close()));
           }
           process.exitCode = 0;`,
          { wrapper: [...options.wrapper!, ...only] },
        );
        const outcome = refusal.reason === undefined ? 'none' : `${refusal.code} ${refusal.reason}`;
        assert.ok(
          !outcome.startsWith('PERS_8003'),
          `${call} ${error} from ${when} on: ${outcome} ${refusal.message}`,
        );
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }
    }
    assert.ok(
      [...seen.keys()].filter((outcome) => outcome !== 'none').length >= 3,
      JSON.stringify([...seen]),
    );
    const healed = await runChild(
      place,
      `const store = await strongroom.open(options);
       tell(store.startup + ' ' + store.vault.get('key'));
       await store.close();`,
    );
    assert.deepEqual(healed.lines, ['WARMSTART value'], healed.stderr);
  });

  it('8003 / 8005: what is looked at says the same as what is started', async () => {
    await place.made();
    place.flip('vault.bin', -20);
    const { verdict, error } = await place.inspect();
    assert.equal(verdict, 'vault-tampered');
    assert.equal(error?.code, 'PERS_8003');
    assert.equal((await rejection(inspectStore(place.secrets))).reason, 'no-store');
  });
});
