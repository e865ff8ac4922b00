import assert from 'node:assert/strict';
import { copyFile, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { json, makeStore, onTerminal, password, strongroom, type TestStore } from './support.js';

const escape = String.fromCharCode(27);

/** Every file under the store and its SecretStore, by name. */
async function contents({ directory, secrets }: TestStore): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const place of [directory, secrets]) {
    for (const name of (await readdir(place)).sort()) {
      found[join(place, name)] = (await readFile(join(place, name))).toString('hex');
    }
  }
  return found;
}

describe('strongroom status, verify, log', () => {
  let store: TestStore;
  before(async () => {
    store = await makeStore();
    await strongroom(['set', store.directory, 'seats', '25']);
  });

  it('init --json answers with the state of the new store, and init with a line on standard error', async () => {
    const { directory, secrets } = await makeStore();
    await strongroom(['decommission', directory, '--yes'], { env: { STRONGROOM_PASSWORD: password } });
    const args = [
      'init',
      directory,
      '--secret-store',
      `file:${secrets}`,
      '--instance',
      'acme',
      '--no-recovery-password',
    ];
    const asJson = await strongroom([...args, '--json', '--max-age', 'off', '--clock-tolerance', '5']);
    const made = json(asJson.stdout);
    assert.deepEqual([made.instance, made.rewindableBy, made.securityLevel], ['acme', 'no-one', 'software']);
    assert.equal(made.recoverable, false);
    assert.deepEqual([made.time.maxAgeMs, made.time.clockToleranceMs], ['off', 5000]);
    assert.match(asJson.stderr, /There is no backup password\. A lost SecretStore means lost data/);
    const human = await strongroom(['status', directory]);
    assert.match(human.stdout, /^age +.*\(no limit\)$/m);
    assert.match(
      human.stdout,
      /^note +not recoverable: there is no backup password\. If the SecretStore is lost the data are lost/m,
    );
  });

  it('reports state, verdict, identity, witnesses, age and authority in aligned lines', async () => {
    const { code, stdout, stderr } = await strongroom(['status', store.directory]);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    for (const line of [
      /^state +ready$/m,
      /^verdict +ok$/m,
      /^instance +acme$/m,
      /^storage id +[0-9a-f]{32}$/m,
      /^generation +5, \d{4}-\d\d-\d\d [\d:]{8}Z$/m,
      /^head +[0-9a-f]{16}…$/m,
      /^witnesses +tamper-file +generation 5, in step$/m,
      /^ +secret-store +generation 5, in step$/m,
      /^security level +software$/m,
      /^rewindable by +password$/m,
      /^continuity +proven$/m,
      /^age +.* \(at most 7 d\)$/m,
      /^passwords +key slot 2$/m,
    ]) {
      assert.match(stdout, line);
    }
    const columns = stdout
      .trimEnd()
      .split('\n')
      .map((line) => /^(.{16}) \S/.test(line));
    assert.ok(columns.every(Boolean), stdout);
  });

  it('gives the same as one JSON document', async () => {
    const { code, stdout, stderr } = await strongroom(['status', store.directory, '--json']);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    assert.equal(stdout.trimEnd().split('\n').length, 1);
    const { state, verdict, generation, head, storageId, witnesses, window, time } = json(stdout);
    assert.deepEqual([state, verdict, generation], ['ready', 'ok', 5]);
    assert.match(head, /^[0-9a-f]{64}$/);
    assert.match(storageId, /^[0-9a-f]{32}$/);
    assert.deepEqual(
      witnesses.map((witness: any) => [
        witness.name,
        witness.generation,
        witness.lagGenerations,
        witness.lagSeconds,
      ]),
      [
        ['tamper-file', 5, 0, 0],
        ['secret-store', 5, 0, 0],
      ],
    );
    assert.deepEqual(window, { generations: 0 });
    assert.equal(time.maxAgeMs, 7 * 86_400_000);
  });

  it('shows how far an older tamper file lags, in generations and in seconds', async () => {
    const lagging = await makeStore();
    const tamperFile = join(lagging.directory, 'tmtmp.bin');
    await copyFile(tamperFile, `${lagging.secrets}-tmtmp.bin`);
    await strongroom(['set', lagging.directory, 'seats', '25']);
    await copyFile(`${lagging.secrets}-tmtmp.bin`, tamperFile);
    const { code, stdout } = await strongroom(['status', lagging.directory, '--json']);
    assert.equal(code, 0);
    const [tamper, secret] = json(stdout).witnesses;
    assert.deepEqual([tamper.name, tamper.lagGenerations, secret.lagGenerations], ['tamper-file', 3, 0]);
    assert.ok(tamper.lagSeconds > 0 && tamper.lagSeconds < 60, String(tamper.lagSeconds));
    assert.match(
      (await strongroom(['status', lagging.directory])).stdout,
      /tamper-file +generation 2, 3 behind for /,
    );
  });

  it('tells of a refused store what the files say, with the verdict and its remedy', async () => {
    const refused = await makeStore();
    const vault = join(refused.directory, 'vault.bin');
    await copyFile(vault, `${refused.secrets}-vault.bin`);
    await strongroom(['set', refused.directory, 'seats', '25']);
    await copyFile(`${refused.secrets}-vault.bin`, vault);
    const human = await strongroom(['status', refused.directory]);
    assert.equal(human.code, 3);
    assert.equal(human.stderr, '');
    assert.match(
      human.stdout,
      /^Refused: the vault ends at generation 2, .*; it is not safe to use this state .*, and 3 commits are missing from it\.\nstate +refused\nverdict +vault-rolled-back \(PERS_8003\)\nremedy /,
    );
    assert.match(human.stdout, /secret-store +generation 5, 3 AHEAD of the vault$/m);
    assert.doesNotMatch(human.stdout, /^window/m);
    assert.match(human.stdout, /^remedy +Put the newest files back/m);
    assert.match(human.stdout, /^instance +acme$/m);
    assert.match(human.stdout, /^generation +2/m);
    const asJson = await strongroom(['status', refused.directory, '--json']);
    assert.equal(asJson.code, 3);
    const { state, verdict, error, generation, head, storageId, window, loss } = json(asJson.stdout);
    assert.deepEqual([state, verdict, generation, window], ['refused', 'vault-rolled-back', 2, undefined]);
    assert.deepEqual([loss.generation, loss.commits], [2, 3]);
    assert.ok(loss.witnesses.includes('secret-store') && loss.lastMs > loss.timeMs);
    assert.match(`${head}${storageId}`, /^[0-9a-f]{96}$/);
    assert.deepEqual(json(asJson.stderr), error);
  });

  it('works when the root key is gone', async () => {
    const lost = await makeStore();
    await rm(lost.secrets, { recursive: true });
    const { code, stdout } = await strongroom(['status', lost.directory, '--json']);
    assert.equal(code, 4);
    const { state, verdict, instance, passwordSlot, generation } = json(stdout);
    assert.deepEqual([state, verdict, instance, passwordSlot], ['refused', 'root-unavailable', 'acme', true]);
    assert.equal(generation, undefined);
    const human = (await strongroom(['status', lost.directory])).stdout;
    assert.match(human, /^Refused: .*; the data are safe as long as the backup password is known\.\n/);
    assert.match(human, /^remedy +.*strongroom recover/m);
  });

  it('verifies the whole history', async () => {
    const { code, stdout, stderr } = await strongroom(['verify', store.directory]);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    assert.match(stdout, /^verdict +ok\nhistory +generation 0 to 5, 5 commits$/m);
    const report = json((await strongroom(['verify', store.directory, '--json'])).stdout);
    assert.deepEqual([report.verdict, report.commits, report.auditEntries], ['ok', 5, 5]);
    assert.deepEqual(
      report.witnesses.map((witness: any) => witness.generation),
      [5, 5],
    );
  });

  it('shows the audit log, oldest first, a JSON document a line', async () => {
    const { stdout } = await strongroom(['log', store.directory, '--json']);
    const entries = stdout.trimEnd().split('\n').map(json);
    assert.deepEqual(
      entries.map(({ generation, operation }) => [generation, operation]),
      [
        [1, 'open'],
        [2, 'close'],
        [3, 'open'],
        [4, 'data'],
        [5, 'close'],
      ],
    );
    const newest = await strongroom(['log', store.directory, '--limit', '2', '--json']);
    assert.equal(newest.stdout, stdout.split('\n').slice(3).join('\n'));
    const human = await strongroom(['log', store.directory, '--limit', '1']);
    assert.match(
      human.stdout,
      /^ +5 {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ {2}close +1 record +[0-9a-f]{16}…\n$/,
    );
  });

  it('changes no byte by reading', async () => {
    const before = await contents(store);
    for (const args of [['get', 'seats'], ['list'], ['status'], ['verify'], ['log']]) {
      const [command = '', ...rest] = args;
      const all = [command, store.directory, ...rest];
      const { code } = await strongroom(all, { env: { STRONGROOM_PASSWORD: password } });
      assert.equal(code, 0, args.join(' '));
    }
    assert.deepEqual(await contents(store), before);
  });

  it('uses colours on a terminal only, and never with NO_COLOR', async () => {
    const [terminal, plain, piped] = await Promise.all([
      onTerminal(['status', store.directory], []),
      onTerminal(['status', store.directory], [], { NO_COLOR: '1' }),
      strongroom(['status', store.directory], { env: { FORCE_COLOR: '1' } }),
    ]);
    assert.equal(terminal.code, 0);
    assert.ok(terminal.stdout.includes(`${escape}[32mready`), terminal.stdout);
    assert.equal(plain.stdout.includes(escape), false);
    assert.equal(piped.stdout.includes(escape), false);
    const error = await strongroom(['get', store.directory, 'absent'], { env: { FORCE_COLOR: '1' } });
    assert.equal(error.stderr.includes(escape), false);
  });
});
