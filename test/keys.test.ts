// Managed keys: every signature is verified by node:crypto, by the command `openssl`, and RSA-PSS also by the text of its RFC.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants, createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { KeyAlgorithm, Keys } from '../lib/keys/keys.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { certifyFor, makeCertificates } from './support/certificates.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { temporaryDirectory, World } from './support/stores.js';

const algorithms: KeyAlgorithm[] = ['EC-P256', 'EC-P384', 'RSA-3072', 'Ed25519'];
const hashOf = { 'EC-P256': 'sha256', 'EC-P384': 'sha384', 'RSA-3072': 'sha256' } as const;

/** node:crypto with the parameters of the algorithm said in so many words. */
function isValid(
  algorithm: KeyAlgorithm,
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
  format: 'der' | 'raw' = 'der',
): boolean {
  if (algorithm === 'Ed25519') return verify(null, message, key, signature);
  const parameters =
    algorithm === 'RSA-3072'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
      : { dsaEncoding: format === 'raw' ? ('ieee-p1363' as const) : ('der' as const) };
  return verify(hashOf[algorithm], message, { key, ...parameters }, signature);
}

/** EMSA-PSS-VERIFY (RFC 8017, section 9.1.2) with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes, in plain arithmetic. */
function isPss(key: KeyObject, message: Uint8Array, signature: Buffer): boolean {
  const { n, e } = key.export({ format: 'jwk' }) as { n: string; e: string };
  const number = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);
  const modulus = number(Buffer.from(n, 'base64url'));
  let exponent = number(Buffer.from(e, 'base64url'));
  let [result, power] = [1n, number(signature)];
  for (; exponent > 0n; exponent >>= 1n, power = (power * power) % modulus) {
    if (exponent & 1n) result = (result * power) % modulus;
  }
  const encoded = Buffer.from(result.toString(16).padStart(768, '0'), 'hex');
  const sha256 = (...parts: Uint8Array[]): Buffer =>
    parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
  const hash = encoded.subarray(351, 383);
  const block = Buffer.from(encoded.subarray(0, 351));
  for (let i = 0; i * 32 < 351; ++i) {
    const mask = sha256(hash, Buffer.from([0, 0, 0, i]));
    for (let j = 0; j < 32 && i * 32 + j < 351; ++j) block[i * 32 + j]! ^= mask[j]!;
  }
  block[0]! &= 0x7f;
  const salt = block.subarray(351 - 32);
  const padding = Buffer.concat([Buffer.alloc(351 - 33), Buffer.from([1])]);
  return (
    encoded[383] === 0xbc &&
    block.subarray(0, 351 - 32).equals(padding) &&
    sha256(Buffer.alloc(8), sha256(message), salt).equals(hash)
  );
}

describe('managed keys', () => {
  let world: World;
  let store: OpenStore;
  let keys: Keys;

  before(async function () {
    this.timeout(60_000);
    world = new World();
    store = await world.open();
    ({ keys } = store);
    for (const algorithm of algorithms) await keys.generate({ id: algorithm, algorithm, location: 'vault' });
  });
  after(() => world.closeAll());

  const reopen = async (): Promise<void> => {
    await store.close();
    store = await world.open();
    ({ keys } = store);
  };
  const publicKey = (id: string): KeyObject =>
    createPublicKey({ key: keys.publicKey(id), format: 'der', type: 'spki' });
  const make = (id: string): Promise<unknown> =>
    keys.generate({ id, algorithm: 'EC-P256', location: 'vault' });

  for (const algorithm of algorithms) {
    describe(algorithm, () => {
      it('signs messages that node:crypto verifies, in every format', async () => {
        for (const size of [0, 1, 1000, 1_048_576]) {
          const message = Buffer.alloc(size, 'm');
          for (const format of ['der', 'raw'] as const) {
            const signature = await keys.sign(algorithm, { message, format });
            assert.ok(isValid(algorithm, publicKey(algorithm), message, signature, format));
            const other = Buffer.concat([message, Buffer.from('x')]);
            assert.ok(!isValid(algorithm, publicKey(algorithm), other, signature, format));
          }
        }
      });

      it('signs digests, or refuses them', async () => {
        const message = Buffer.from('a message');
        if (algorithm === 'Ed25519') {
          await rejectsReason(keys.sign(algorithm, { digest: Buffer.alloc(32) }), 'invalid-argument');
          return;
        }
        const digest = createHash(hashOf[algorithm]).update(message).digest();
        const signature = await keys.sign(algorithm, { digest });
        assert.ok(isValid(algorithm, publicKey(algorithm), message, signature));
        for (const size of [0, 20, digest.length - 1, digest.length + 1, 64]) {
          const { message: text } = await rejectsReason(
            keys.sign(algorithm, { digest: Buffer.alloc(size) }),
            'invalid-argument',
          );
          assert.match(text, new RegExp(`${digest.length} bytes`));
        }
      });

      it('signs what the command openssl verifies', async () => {
        const directory = temporaryDirectory();
        const [keyFile, messageFile, signatureFile] = ['key.pem', 'message', 'signature'].map((name) =>
          join(directory, name),
        ) as [string, string, string];
        const message = Buffer.from('checked by another program');
        writeFileSync(keyFile, publicKey(algorithm).export({ format: 'pem', type: 'spki' }));
        writeFileSync(messageFile, message);
        writeFileSync(signatureFile, await keys.sign(algorithm, { message }));
        const files = ['-inkey', keyFile, '-pubin', '-in', messageFile, '-sigfile', signatureFile];
        const how =
          algorithm === 'Ed25519'
            ? ['-rawin']
            : ['-rawin', '-digest', hashOf[algorithm]].concat(
                algorithm === 'RSA-3072'
                  ? ['-pkeyopt', 'rsa_padding_mode:pss', '-pkeyopt', 'rsa_pss_saltlen:32']
                  : [],
              );
        const said = execFileSync('openssl', ['pkeyutl', '-verify', ...files, ...how], { encoding: 'utf8' });
        assert.match(said, /Signature Verified Successfully/);
        writeFileSync(messageFile, 'another message');
        assert.throws(() =>
          execFileSync('openssl', ['pkeyutl', '-verify', ...files, ...how], { stdio: 'pipe' }),
        );
      });

      it('keeps its key over a restart', async () => {
        const before = keys.publicKey(algorithm);
        await reopen();
        assert.deepEqual(keys.publicKey(algorithm), before);
        const message = Buffer.from('after the restart');
        const signature = await keys.sign(algorithm, { message });
        assert.ok(isValid(algorithm, publicKey(algorithm), message, signature));
      });
    });
  }

  it('writes RSA signatures as RFC 8017 says: PSS, SHA-256, a salt of 32 bytes', async () => {
    const message = Buffer.from('by the text of the RFC');
    const signature = await keys.sign('RSA-3072', { message });
    assert.equal(signature.length, 384);
    assert.ok(isPss(publicKey('RSA-3072'), message, signature));
    assert.ok(!isPss(publicKey('RSA-3072'), Buffer.from('another'), signature));
  });

  it('has raw signatures of 64 and 96 bytes', async () => {
    for (let i = 0; i < 20; ++i) {
      const message = Buffer.from([i]);
      assert.equal((await keys.sign('EC-P256', { message, format: 'raw' })).length, 64);
      assert.equal((await keys.sign('EC-P384', { message, format: 'raw' })).length, 96);
    }
  });

  it('signs side by side, and while the store does other things', async () => {
    const messages = Array.from({ length: 200 }, (_, i) => Buffer.from(`message ${i}`));
    const tasks = [store.verify(), store.anchor(), store.compact(), make('side-by-side')];
    const signatures = await Promise.all(messages.map((message) => keys.sign('EC-P256', { message })));
    await Promise.all(tasks);
    messages.forEach((message, i) =>
      assert.ok(isValid('EC-P256', publicKey('EC-P256'), message, signatures[i]!)),
    );
  });

  it('copies what is signed, and refuses more than may wait', async () => {
    const message = Buffer.from('before');
    const signature = keys.sign('EC-P256', { message });
    message.fill(0);
    assert.ok(isValid('EC-P256', publicKey('EC-P256'), Buffer.from('before'), await signature));
    const many = Array.from({ length: 66 }, () =>
      keys.sign('Ed25519', { message: Buffer.alloc(1_048_576) }).then(
        () => 'signed',
        (error: unknown) => (error as { reason: string }).reason,
      ),
    );
    const outcomes = await Promise.all(many);
    assert.equal(outcomes.filter((outcome) => outcome === 'signed').length, 64);
    assert.equal(outcomes.filter((outcome) => outcome === 'queue-full').length, 2);
    await keys.sign('Ed25519', { message: Buffer.alloc(1_048_576) });
  });

  it('lists keys by id, without anything private', async () => {
    const listed = keys.list();
    assert.deepEqual(
      listed.map(({ id }) => id),
      listed.map(({ id }) => id).sort(),
    );
    const { createdAt, ...rest } = keys.get('Ed25519');
    assert.equal(createdAt.getTime(), world.clock.wallMs());
    assert.deepEqual(rest, {
      id: 'Ed25519',
      algorithm: 'Ed25519',
      location: 'vault',
      state: 'active',
      hasCertificateChain: false,
    });
    throwsReason(() => keys.get('none'), 'key-not-found');
    throwsReason(() => keys.publicKey('none'), 'key-not-found');
    throwsReason(() => keys.certificateChain('none'), 'key-not-found');
  });

  it('are no records of the vault', async () => {
    const { size } = store.vault;
    await make('not-a-record');
    assert.equal(store.vault.size, size);
    assert.ok(![...store.vault.keys()].some((key) => key.includes('keys')));
    for (const key of ['strongroom/keys/EC-P256', 'strongroom/keys/EC-P256/private', 'strongroom/tls/key']) {
      throwsReason(() => store.vault.get(key), 'reserved-key');
      await rejectsReason(store.vault.delete(key), 'reserved-key');
    }
  });

  it('refuses what is no id, no algorithm and no location, and a second key with one id', async () => {
    for (const id of ['', 'a/b', '../x', 'a b', 'ä', 'x'.repeat(65), 'a\0b']) {
      await rejectsReason(make(id), 'invalid-argument');
      await rejectsReason(keys.sign(id, { message: Buffer.alloc(1) }), 'invalid-argument');
      throwsReason(() => keys.publicKey(id), 'invalid-argument');
    }
    for (const id of [undefined, null, 7, Buffer.from('x')]) {
      await rejectsReason(make(id as never), 'invalid-argument');
      await rejectsReason(keys.remove(id as never), 'invalid-argument');
    }
    await make('x'.repeat(64));
    await make('A-Z.a_z-0');
    await rejectsReason(make('A-Z.a_z-0'), 'key-exists');
    const wrong = [
      { id: 'n', algorithm: 'RSA-1024', location: 'vault' },
      { id: 'n', algorithm: 'EC-P256', location: 'cloud' },
      { id: 'n', algorithm: 'EC-P256' },
      { id: 'n', algorithm: 'EC-P256', location: 'vault', extra: 1 },
    ];
    await rejectsReason(keys.generate(undefined as never), 'invalid-argument');
    await rejectsReason(keys.sign('EC-P256', undefined as never), 'invalid-argument');
    for (const options of wrong) await rejectsReason(keys.generate(options as never), 'invalid-option');
    for (const options of [
      {},
      { message: Buffer.alloc(1), digest: Buffer.alloc(32) },
      { message: Buffer.alloc(1), format: 'pem' },
    ]) {
      await rejectsReason(keys.sign('EC-P256', options as never), 'invalid-option');
    }
    for (const message of ['text', 7, Buffer.alloc(1_048_577)]) {
      await rejectsReason(keys.sign('EC-P256', { message: message as never }), 'invalid-argument');
    }
  });

  it("answers 'unsupported' for a token in a store that has none, and makes nothing", async () => {
    await rejectsReason(
      keys.generate({ id: 'in-token', algorithm: 'EC-P256', location: 'hsm' }),
      'unsupported',
    );
    throwsReason(() => keys.get('in-token'), 'key-not-found');
  });

  it('refuses to sign with a deactivated key, over a restart, until the key answers a challenge', async () => {
    await make('ca');
    await keys.deactivate('ca', 'the token was lost');
    await keys.deactivate('ca', 'said again');
    await reopen();
    const refusal = await rejectsReason(keys.sign('ca', { message: Buffer.from('x') }), 'key-deactivated');
    assert.match(refusal.message, /the token was lost/);
    assert.deepEqual([refusal.code, refusal.retryable], ['PERS_8002', false]);
    assert.deepEqual([keys.get('ca').state, keys.get('ca').reason], ['deactivated', 'the token was lost']);
    assert.ok(keys.publicKey('ca').length > 0, 'what it signed can still be verified');
    await keys.reactivate('ca');
    assert.equal(keys.get('ca').state, 'active');
    assert.ok(!('reason' in keys.get('ca')));
    const message = Buffer.from('x');
    assert.ok(isValid('EC-P256', publicKey('ca'), message, await keys.sign('ca', { message })));
    for (const reason of ['', 'x'.repeat(1025)])
      await rejectsReason(keys.deactivate('ca', reason), 'invalid-argument');
    for (const change of [keys.deactivate('none', 'x'), keys.reactivate('none'), keys.remove('none')]) {
      await rejectsReason(change, 'key-not-found');
    }
  });

  it('keeps a chain that begins with the certificate of the key', async () => {
    const { certificate, chain, key } = makeCertificates();
    await make('served');
    // A certificate is made for a key of the store by signing its public key elsewhere: here for another one.
    await rejectsReason(keys.attachCertificateChain('served', certificate), 'certificate-mismatch');
    await rejectsReason(keys.attachCertificateChain('served', key), 'invalid-argument');
    await rejectsReason(keys.attachCertificateChain('served', 'no PEM'), 'invalid-argument');
    await rejectsReason(
      keys.attachCertificateChain('served', Buffer.alloc(262_145, ' ')),
      'invalid-argument',
    );
    assert.equal(keys.certificateChain('served'), undefined);
    const own = certifyFor(publicKey('served'));
    await keys.attachCertificateChain('served', own + chain);
    await reopen();
    assert.equal(keys.certificateChain('served'), own + chain);
    assert.equal(keys.get('served').hasCertificateChain, true);
    await keys.attachCertificateChain('served', Buffer.from(own));
    assert.equal(keys.certificateChain('served'), own);
    await keys.attachCertificateChain('served', '');
    assert.equal(keys.certificateChain('served'), undefined);
  });

  it('removes a key for good', async () => {
    await make('gone');
    await keys.remove('gone');
    await rejectsReason(keys.sign('gone', { message: Buffer.from('x') }), 'key-not-found');
    const before = keys.list().length;
    await make('gone');
    assert.equal(keys.list().length, before + 1);
    await reopen();
    assert.ok(keys.get('gone'));
  });

  it('changes keys as durably as witnessed writes', async () => {
    await make('witnessed');
    const newest = store.status().generation;
    for (const { generation } of store.status().witnesses) assert.equal(generation, newest);
  });

  it('signs and lists in a store that was opened for reading, and changes nothing there', async () => {
    const reader = await world.open({ readOnly: true });
    const message = Buffer.from('x');
    const signature = await reader.keys.sign('EC-P256', { message });
    assert.ok(isValid('EC-P256', publicKey('EC-P256'), message, signature));
    assert.deepEqual(
      reader.keys.list().map(({ id }) => id),
      keys.list().map(({ id }) => id),
    );
    for (const change of [
      reader.keys.generate({ id: 'n', algorithm: 'EC-P256', location: 'vault' }),
      reader.keys.deactivate('EC-P256', 'x'),
      reader.keys.reactivate('EC-P256'),
      reader.keys.remove('EC-P256'),
      reader.keys.attachCertificateChain('EC-P256', ''),
    ]) {
      await rejectsReason(change, 'read-only');
    }
  });

  it('answers closed after close; a signature that was asked for before is given', async () => {
    const other = new World();
    try {
      const service = await other.open();
      const mine = service.keys;
      await mine.generate({ id: 'k', algorithm: 'RSA-3072', location: 'vault' });
      const spki = createPublicKey({ key: mine.publicKey('k'), format: 'der', type: 'spki' });
      const message = Buffer.from('asked for before');
      const signatures = Array.from({ length: 8 }, () => mine.sign('k', { message }));
      const closing = service.close();
      await rejectsReason(mine.sign('k', { message }), 'closed');
      throwsReason(() => mine.list(), 'closed');
      await closing;
      for (const signature of await Promise.all(signatures))
        assert.ok(isValid('RSA-3072', spki, message, signature));
      await rejectsReason(mine.generate({ id: 'n', algorithm: 'EC-P256', location: 'vault' }), 'closed');
      throwsReason(() => world.service().opened, 'not-open');
    } finally {
      await other.closeAll();
    }
  });

  it('leaves no private key, no id and no reason in the clear in any file', async () => {
    await make('findable-id');
    await keys.deactivate('findable-id', 'findable reason');
    for (const directory of [world.directory, world.secrets]) {
      for (const name of readdirSync(directory)) {
        const content = readFileSync(join(directory, name));
        for (const text of ['findable-id', 'findable reason', keys.publicKey('findable-id')])
          assert.ok(!content.includes(text), `${name} holds ${text.toString('hex')}`);
      }
    }
  });
});
