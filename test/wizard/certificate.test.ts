// The temporary certificate, as OpenSSL's own tools and Node read it.
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { execFileSync } from 'node:child_process';

import { binding } from '../support/stores.js';

describe('a temporary certificate', () => {
  const day = 86_400;

  it('is for its names, of a key of its own, and soon over', () => {
    const { key, certificate } = binding.temporaryCertificate(
      ['vault.example', '127.0.0.1', '::1', 'localhost'],
      day,
    );
    const read = new X509Certificate(certificate);
    assert.equal(read.subject, 'CN=vault.example');
    assert.equal(
      read.subjectAltName,
      'DNS:vault.example, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:localhost',
    );
    for (const [name, fits] of [
      ['vault.example', true],
      ['localhost', true],
      ['evil.example', false],
    ] as const)
      assert.equal(read.checkHost(name) !== undefined, fits, name);
    assert.ok(read.checkIP('127.0.0.1') !== undefined && read.checkIP('10.0.0.1') === undefined);
    assert.equal(read.ca, false);
    assert.deepEqual(read.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.ok(read.verify(read.publicKey));
    assert.ok(read.checkPrivateKey(createPrivateKey(key)));
    assert.deepEqual(
      [read.publicKey.asymmetricKeyType, read.publicKey.asymmetricKeyDetails?.namedCurve],
      ['ec', 'prime256v1'],
    );
    const now = Date.now();
    const [from, to] = [Date.parse(read.validFrom), Date.parse(read.validTo)];
    assert.ok(from < now - 290_000 && from > now - 320_000);
    assert.ok(Math.abs(to - now - day * 1000) < 20_000);
    const text = execFileSync('openssl', ['x509', '-noout', '-text'], {
      input: certificate,
      encoding: 'utf8',
    });
    assert.match(text, /Version: 3 /);
    assert.match(text, /Key Usage: critical\s+Digital Signature\n/);
    assert.match(text, /Signature Algorithm: ecdsa-with-SHA256/);
    const another = new X509Certificate(binding.temporaryCertificate(['localhost'], 60).certificate);
    assert.notEqual(another.serialNumber, read.serialNumber);
    assert.ok(!another.publicKey.equals(read.publicKey));
  });

  it('a common name that is too long is left out, and a name that is none is refused', () => {
    const long = `${'a'.repeat(60)}.example.com`;
    const read = new X509Certificate(binding.temporaryCertificate([long], 60).certificate);
    assert.equal(read.subject, 'CN=strongroom');
    assert.equal(read.subjectAltName, `DNS:${long}`);
    for (const names of [
      [],
      [''],
      ['a b'],
      ['a\0b'],
      ['a,DNS:b'],
      ['*.example'],
      ['a'.repeat(254)],
      ['a_b'],
      Array(65).fill('a'),
    ])
      assert.throws(
        () => binding.temporaryCertificate(names as string[], 60),
        { reason: 'invalid-argument' },
        String(names),
      );
    for (const seconds of [0, -1, Number.NaN, 1e9])
      assert.throws(() => binding.temporaryCertificate(['a'], seconds), { reason: 'invalid-argument' });
  });
});
