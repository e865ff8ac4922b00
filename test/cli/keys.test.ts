import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { certifyFor, makeCertificates } from '../support/certificates.js';
import {
  json,
  makeStore,
  strongroom,
  temporaryDirectory,
  type RunOptions,
  type TestStore,
} from './support.js';

describe('strongroom key', () => {
  let store: TestStore;
  const run = (command: string, rest: readonly string[] = [], options: RunOptions = {}) =>
    strongroom(['key', command, store.directory, ...rest], options);
  const says = async (command: string, rest: readonly string[]): Promise<any> => {
    const { code, stdout, stderr } = await run(command, [...rest, '--json']);
    assert.equal(code, 0, stderr);
    return json(stdout);
  };
  const fails = async (command: string, rest: readonly string[], code: number, reason: string) => {
    const outcome = await run(command, [...rest, '--json']);
    assert.deepEqual([outcome.code, outcome.stdout, json(outcome.stderr).reason], [code, '', reason]);
    return json(outcome.stderr);
  };

  before(async () => {
    store = await makeStore();
  });

  it('makes a key, writes its public half, and signs what node:crypto verifies', async () => {
    const made = await run('generate', ['ca-1', '--algorithm', 'EC-P384']);
    assert.deepEqual([made.code, made.stdout], [0, '']);
    assert.match(made.stderr, /Made the key ca-1 \(EC-P384, vault\)/);
    const pem = (await run('public', ['ca-1'])).stdout;
    assert.match(pem, /^-----BEGIN PUBLIC KEY-----\n/);
    const der = (await run('public', ['ca-1', '--der'])).bytes;
    assert.deepEqual(createPublicKey(pem).export({ format: 'der', type: 'spki' }), der);
    assert.equal((await says('public', ['ca-1'])).publicKey, pem);

    const message = Buffer.from([0, 1, 2, 255, 10]);
    const file = join(await temporaryDirectory(), 'message');
    await writeFile(file, message);
    const fromInput = (await run('sign', ['ca-1'], { input: message })).bytes;
    assert.ok(verify('sha384', message, pem, fromInput));
    const fromFile = (await run('sign', ['ca-1', '--file', file, '--format', 'raw'])).bytes;
    assert.ok(verify('sha384', message, { key: pem, dsaEncoding: 'ieee-p1363' }, fromFile));
    const digest = createHash('sha384').update(message).digest('hex');
    const { id, signature } = await says('sign', ['ca-1', '--digest', digest]);
    assert.equal(id, 'ca-1');
    assert.ok(verify('sha384', message, pem, Buffer.from(signature, 'base64')));
  });

  it('lists, deactivates, reactivates and removes', async () => {
    assert.equal((await run('generate', ['b'])).code, 0);
    assert.equal((await run('generate', ['a', '--algorithm', 'Ed25519'])).code, 0);
    const why = 'lost\u001b[31m';
    assert.deepEqual((await says('deactivate', ['b', '--reason', why])).state, 'deactivated');
    const { stdout } = await run('list');
    const lines = stdout.split('\n');
    assert.match(lines[0]!, /^a +Ed25519 {3}vault {2}\S+ \S+ {2}active$/);
    assert.match(stdout, /^b .*deactivated: lost\u{fffd}\[31m$/mu);
    const listed = (await run('list', ['--json'])).stdout.trimEnd().split('\n').map(json);
    assert.deepEqual(
      listed.map((key: any) => [key.id, key.algorithm, key.state]),
      [
        ['a', 'Ed25519', 'active'],
        ['b', 'EC-P256', 'deactivated'],
        ['ca-1', 'EC-P384', 'active'],
      ],
    );
    assert.match(listed[0].createdAt, /^\d{4}-\d\d-\d\dT/);
    const refused = await run('sign', ['b'], { input: 'x' });
    assert.deepEqual([refused.code, refused.stdout], [1, '']);
    assert.match(refused.stderr, /key-deactivated/);
    assert.match((await run('reactivate', ['b'])).stderr, /Reactivated the key b/);
    assert.equal((await run('sign', ['b'], { input: 'x' })).code, 0);
    await fails('remove', ['b'], 2, 'invalid-option');
    assert.deepEqual(await says('remove', ['b', '--yes']), { id: 'b', removed: true });
    await fails('public', ['b'], 1, 'key-not-found');
  });

  it('keeps a certificate chain with a key, writes it and forgets it', async () => {
    assert.equal((await run('generate', ['served'])).code, 0);
    const file = join(await temporaryDirectory(), 'chain.pem');
    await writeFile(file, certifyFor(createPublicKey((await run('public', ['served'])).stdout)));
    const none = await run('chain', ['served']);
    assert.deepEqual([none.code, none.stdout], [0, '']);
    assert.match(none.stderr, /has no certificate chain/);
    assert.equal((await says('chain', ['served'])).chain, null);
    assert.match(
      (await run('chain', ['served', '--attach', file])).stderr,
      /Attached the chain to the key served/,
    );
    assert.equal((await run('chain', ['served'])).stdout, await readFile(file, 'utf8'));
    await fails('chain', ['served', '--attach', file, '--remove'], 2, 'invalid-option');
    await fails('chain', ['ca-1', '--attach', file], 1, 'certificate-mismatch');
    await fails('chain', ['none'], 1, 'key-not-found');
    assert.equal((await says('chain', ['served', '--remove'])).hasCertificateChain, false);
    assert.equal((await says('chain', ['served'])).chain, null);
  });

  it('fails with the reasons of the library and their exit codes', async () => {
    await fails('generate', ['ca-1'], 1, 'key-exists');
    await fails('generate', ['a/b'], 2, 'invalid-argument');
    await fails('generate', ['n', '--location', 'hsm'], 1, 'unsupported');
    await fails('generate', ['n', '--algorithm', 'RSA-512'], 2, 'invalid-argument');
    await fails('sign', ['none', '--digest', '00'], 1, 'key-not-found');
    await fails('sign', ['ca-1', '--digest', '00'], 2, 'invalid-argument');
    await fails('sign', ['ca-1', '--digest', 'xyz'], 2, 'invalid-option');
    await fails('sign', ['ca-1', '--digest', '00', '--file', 'x'], 2, 'invalid-option');
    await fails('deactivate', ['ca-1'], 2, 'invalid-option');
    await fails('reactivate', ['none'], 1, 'key-not-found');
  });
});

describe('strongroom tls', () => {
  it('stores a credential from files or a descriptor and writes the files of it', async () => {
    const store = await makeStore();
    const place = await temporaryDirectory();
    const { key, certificate, chain } = makeCertificates();
    const file = (name: string): string => join(place, name);
    await Promise.all([
      writeFile(file('key'), key),
      writeFile(file('certificate'), certificate),
      writeFile(file('chain'), chain),
    ]);
    const target = file('out');
    await mkdir(target, { mode: 0o700 });
    const none = await strongroom(['tls', 'extract', store.directory, target, '--json']);
    assert.deepEqual([none.code, json(none.stderr).reason], [1, 'tls-not-set']);

    const parts = ['--certificate-file', file('certificate'), '--chain-file', file('chain')];
    const set = await strongroom(['tls', 'set', store.directory, '--key-file', file('key'), ...parts]);
    assert.deepEqual([set.code, set.stdout], [0, ''], set.stderr);
    const out = await strongroom(['tls', 'extract', store.directory, target, '--json']);
    assert.deepEqual(json(out.stdout), { directory: target, files: ['tls.key', 'tls.crt', 'chain.pem'] });
    assert.deepEqual(
      await Promise.all(
        ['tls.key', 'tls.crt', 'chain.pem'].map((name) => readFile(join(target, name), 'utf8')),
      ),
      [key, certificate, chain],
    );
    assert.equal((await stat(join(target, 'tls.key'))).mode & 0o777, 0o600);

    const other = makeCertificates('ed25519');
    await writeFile(file('certificate'), other.certificate);
    const again = await strongroom(
      ['tls', 'set', store.directory, '--key-fd', '3', '--certificate-file', file('certificate'), '--json'],
      { third: other.key },
    );
    assert.deepEqual(json(again.stdout), { stored: true, chain: false });
    assert.equal((await strongroom(['tls', 'extract', store.directory, target])).code, 0);
    assert.deepEqual((await readdir(target)).sort(), ['tls.crt', 'tls.key']);
    assert.equal(await readFile(join(target, 'tls.key'), 'utf8'), other.key);

    const fails = async (args: readonly string[], code: number, reason: string): Promise<void> => {
      const outcome = await strongroom([...args, '--json']);
      assert.deepEqual([outcome.code, outcome.stdout, json(outcome.stderr).reason], [code, '', reason]);
    };
    await fails(
      ['tls', 'set', store.directory, '--key-file', file('key'), ...parts],
      1,
      'certificate-mismatch',
    );
    await fails(['tls', 'set', store.directory, ...parts], 2, 'invalid-option');
    await fails(['tls', 'set', store.directory, '--key-file', file('none'), ...parts], 4, 'not-found');
    await fails(['tls', 'extract', store.directory, file('none')], 4, 'not-found');
    assert.equal(await readFile(join(target, 'tls.key'), 'utf8'), other.key);
  });
});
