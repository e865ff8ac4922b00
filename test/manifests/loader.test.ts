import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';

import fc from 'fast-check';

import { isPersistenceError, PersistenceError } from '../../lib/errors.js';
import {
  acceptManifests,
  loadLicenseProviderManifests,
  type DirectoryEntry,
  type TrustedKeys,
} from '../../lib/manifests/loader.js';
import { parseDocument, signedBytes } from '../../lib/manifests/document.js';
import {
  base64,
  good,
  keyPair,
  load,
  manifest,
  outcome,
  pemOf,
  provider,
  reordered,
  secret,
  signature,
  signed,
  trustedKeys,
} from '../support/manifest-fixtures.js';

const directory = '/etc/acme/manifests';

describe('loadLicenseProviderManifests', function () {
  this.timeout(120_000);

  it('gives what a signed manifest says, frozen', async () => {
    const { candidates, rejected } = await load({ 'acme.json': good() });
    assert.deepEqual(rejected, []);
    assert.deepEqual(candidates, [
      {
        file: 'acme.json',
        providerName: 'Acme',
        createdUtc: '2026-03-01T12:00:00Z',
        createdMs: Date.UTC(2026, 2, 1, 12),
        secrets: [
          {
            vendorCode: '6f1f4b1e-93a4-4f43-9d0e-0d3a5c2f7b11',
            vendorSecretName: 'floating',
            rsaKeySize: 2048,
            publicKey: pemOf(keyPair('vendor').publicKey),
            inProduction: true,
            deprecated: false,
          },
        ],
        signatureScheme: 'rsa-pss-sha256',
      },
    ]);
    for (const part of [
      candidates,
      rejected,
      candidates[0],
      candidates[0]?.secrets,
      candidates[0]?.secrets[0],
    ]) {
      assert.ok(Object.isFrozen(part));
    }
  });

  it('asks the reader for what it needs and takes a missing directory for an empty one', async () => {
    const asked: unknown[] = [];
    const loaded = await loadLicenseProviderManifests({ directory, trustedKeys }, (...call) => {
      asked.push(call);
      return Promise.resolve(undefined);
    });
    assert.deepEqual(asked, [[directory, { suffix: '.json', bytesMax: 1_048_576, filesMax: 10_000 }]]);
    assert.deepEqual(loaded, { candidates: [], rejected: [] });
    assert.equal(acceptManifests(loaded, new Map()).licenseProviderFound, false);
  });

  it('passes on that the directory itself cannot be read', async () => {
    const refusal = new PersistenceError('permission-denied', 'denied');
    await assert.rejects(
      loadLicenseProviderManifests({ directory, trustedKeys }, () => Promise.reject(refusal)),
      (error) => error === refusal,
    );
  });

  describe('signatures', () => {
    for (const scheme of [{ pss: 'digest' }, { pss: 'max' }, { pss: 0 }, { pss: 20 }] as const) {
      it(`accepts RSA-PSS with a salt of ${scheme.pss}`, async () => {
        const { candidates } = await load({
          'a.json': JSON.stringify(signed(manifest(), provider.privateKey, scheme)),
        });
        assert.equal(candidates[0]?.signatureScheme, 'rsa-pss-sha256');
      });
    }

    it('accepts PKCS#1 v1.5', async () => {
      const { candidates } = await load({
        'a.json': JSON.stringify(signed(manifest(), provider.privateKey, 'pkcs1')),
      });
      assert.equal(candidates[0]?.signatureScheme, 'rsa-pkcs1-sha256');
    });

    it('covers the form of RFC 8785, here written by hand', async () => {
      const key = base64(pemOf(keyPair('vendor').publicKey));
      const canonical =
        `{"CreatedUtc":"2026-03-01T12:00:00Z","ProviderName":"Acme","ProviderSecrets":[{"Deprecated":false,` +
        `"InProduction":true,"PublicKey":"${key}","RsaKeySize":2048,` +
        `"VendorCode":"6f1f4b1e-93a4-4f43-9d0e-0d3a5c2f7b11","VendorSecretName":"floating"}]}`;
      const stamp = signature(Buffer.from(canonical), provider.privateKey);
      assert.equal(await outcome(JSON.stringify({ ...manifest(), SignatureBase64: stamp })), 'accepted');
      assert.equal(
        await outcome(
          JSON.stringify({
            ...manifest(),
            SignatureBase64: signature(Buffer.from(`${canonical}\n`), provider.privateKey),
          }),
        ),
        'signature',
      );
    });

    it('refuses SHA-1 and SHA-512 signatures and those of another key', async () => {
      const bytes = await signedBytes(manifest());
      const { sign } = await import('node:crypto');
      for (const hash of ['sha1', 'sha512']) {
        const stamp = sign(hash, bytes, provider.privateKey).toString('base64');
        assert.equal(
          await outcome(JSON.stringify({ ...manifest(), SignatureBase64: stamp })),
          'signature',
          hash,
        );
      }
      assert.equal(
        await outcome(JSON.stringify(signed(manifest(), keyPair('stranger').privateKey))),
        'signature',
      );
    });

    it('binds a manifest to the keys of its own provider', async () => {
      const keys = { Acme: provider.publicKey, Other: keyPair('stranger').publicKey };
      assert.equal(
        await outcome(JSON.stringify(signed(manifest({ ProviderName: 'Other' }))), keys),
        'signature',
      );
    });

    it('tries every key of a provider, PEM or KeyObject', async () => {
      const list = [keyPair('stranger').publicKey, `\n${pemOf(provider.publicKey)}\n`];
      assert.equal(await outcome(good(), { Acme: list }), 'accepted');
      assert.equal(await outcome(good(), { Acme: list.slice(0, 1) }), 'signature');
    });

    it('refuses base64 that is not the only text of its bytes', async () => {
      const document = signed(manifest());
      const text = document.SignatureBase64; // 256 bytes: ends with one digit of two bits and "=="
      const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
      const last = digits.indexOf(text.at(-3) ?? '');
      const unusedBits = `${text.slice(0, -3)}${digits.charAt(last | 1)}==`;
      for (const [wrong, reason] of [
        [unusedBits, 'signature'],
        [text.slice(0, -2), 'signature'],
        [`${text}=`, 'schema'],
        [` ${text}`, 'schema'],
        [`${text}\n`, 'schema'],
        [text.replaceAll('+', '-').replaceAll('/', '_').replace(/^./, '-'), 'schema'],
        ['', 'schema'],
        ['AAAA', 'signature'],
      ]) {
        assert.equal(
          await outcome(JSON.stringify({ ...document, SignatureBase64: wrong ?? '' })),
          reason,
          wrong,
        );
      }
    });

    it('refuses every single changed bit of a file without white space', async () => {
      const bytes = Buffer.from(good());
      const entries: DirectoryEntry[] = [];
      const flush = async (): Promise<void> => {
        const { candidates, rejected } = await load(entries);
        assert.deepEqual(candidates, []);
        assert.equal(rejected.length, entries.length);
        entries.length = 0;
      };
      for (let bit = 0; bit < bytes.length * 8; ++bit) {
        const content = Buffer.from(bytes);
        content[bit >> 3] = (content[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        entries.push({ name: `${bit}.json`, content });
        if (entries.length === 5000) await flush();
      }
      await flush();
    });
  });

  describe('properties', () => {
    const printableName = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 40 })
      .filter((name) => /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+$/u.test(name));
    const anySecret = fc
      .record({
        VendorCode: fc.uuid(),
        VendorSecretName: printableName,
        InProduction: fc.boolean(),
        Deprecated: fc.boolean(),
      })
      .map((changes) => secret(changes));
    const anyManifest = fc
      .record({
        ProviderName: printableName,
        CreatedUtc: fc
          .date({
            min: new Date('1970-01-01T00:00:00Z'),
            max: new Date('9999-12-31T23:59:59Z'),
            noInvalidDate: true,
          })
          .map((date) => date.toISOString()),
        ProviderSecrets: fc.array(anySecret, { maxLength: 3 }),
      })
      .map((document) => ({ document, keys: { [document.ProviderName]: provider.publicKey } }));

    it('accepts a signed manifest whatever the order of its members and its white space', () =>
      fc.assert(
        fc.asyncProperty(
          anyManifest,
          fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
          async ({ document, keys }, stream) => {
            const text = reordered(signed(document), () => stream.next().value);
            const { candidates, rejected } = await load({ 'a.json': text }, keys);
            assert.deepEqual(rejected, []);
            assert.equal(candidates[0]?.providerName, document.ProviderName);
            assert.equal(candidates[0].createdMs, Date.parse(document.CreatedUtc));
            assert.equal(candidates[0].secrets.length, document.ProviderSecrets.length);
          },
        ),
        { numRuns: 200 },
      ));

    it('refuses one changed bit of the canonical content', () =>
      fc.assert(
        fc.asyncProperty(anyManifest, fc.nat(), async ({ document, keys }, at) => {
          const stamp = signed(document).SignatureBase64;
          const bytes = await signedBytes(document);
          const bit = at % (bytes.length * 8);
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          const text = Buffer.concat([
            bytes.subarray(0, -1),
            Buffer.from(`,"SignatureBase64":"${stamp}"`),
            bytes.subarray(-1),
          ]);
          assert.notEqual(await outcome(text, keys), 'accepted');
        }),
        { numRuns: 300 },
      ));

    it('survives any bytes and any JSON, and says why', () =>
      fc.assert(
        fc.asyncProperty(
          fc.oneof(
            fc.uint8Array({ maxLength: 200 }),
            fc.json().map((text) => Buffer.from(text)),
          ),
          async (content) => {
            const { candidates, rejected } = await load({ 'a.json': content });
            assert.deepEqual(candidates, []);
            assert.match(rejected[0]?.detail ?? '', /^[^\p{C}]{1,300}$/u);
          },
        ),
        { numRuns: 500 },
      ));
  });

  describe('canonical form (RFC 8785)', () => {
    const canonical = async (text: string): Promise<string> =>
      (await signedBytes({ v: await parseDocument(Buffer.from(text)) })).toString('utf8').slice(5, -1);

    it('is that of the sample in section 3.2.2', async () => {
      const sample =
        '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],' +
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}';
      assert.equal(
        await canonical(sample),
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
          '"string":"\u{20ac}$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
      );
    });

    it('sorts names by UTF-16 code units, as in section 3.2.3', async () => {
      const sample =
        '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",' +
        '"\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}';
      const names = Object.keys(JSON.parse(await canonical(sample)) as object);
      const values = [...(await canonical(sample)).matchAll(/:"([^"]*)"/g)].map(([, value]) => value);
      assert.equal(names.length, 7);
      assert.deepEqual(values, [
        'Carriage Return',
        'One',
        'Control',
        'Latin Small Letter O With Diaeresis',
        'Euro Sign',
        'Emoji: Grinning Face',
        'Hebrew Letter Dalet With Dagesh',
      ]);
    });

    it('writes numbers as appendix B does', async () => {
      for (const [text, expected] of [
        ['-0', '0'],
        ['5e-324', '5e-324'],
        ['1.7976931348623157e308', '1.7976931348623157e+308'],
        ['9007199254740993', '9007199254740992'],
        ['295147905179352830000', '295147905179352830000'],
        ['10e22', '1e+23'],
        ['99999999999999970000000', '9.999999999999997e+22'],
        ['9999999999999999e5', '999999999999999900000'],
        ['1000000000000000000000', '1e+21'],
        ['0.0000009999999999999997', '9.999999999999997e-7'],
        ['1e-6', '0.000001'],
        ['333333333.33333325', '333333333.33333325'],
        ['1424953923781206.25', '1424953923781206.2'],
      ] as const) {
        assert.equal(await canonical(text), expected);
      }
    });

    it('makes other spellings of the same content the same', async () => {
      const text = good();
      for (const [what, other] of [
        ['2.048e3', text.replace('2048', '2.048e3')],
        ['2048.000', text.replace('2048', '2048.000')],
        ['an escaped letter', text.replace('Acme', '\\u0041cm\\u0065')],
        ['an escaped name', text.replace('"ProviderName"', '"Provider\\u004eame"')],
        ['escaped slashes', text.replaceAll('/', '\\/')],
      ]) {
        assert.notEqual(other, text, what);
        assert.equal(await outcome(other ?? ''), 'accepted', what);
      }
    });

    it('does not normalise: composed and decomposed letters are different providers', async () => {
      const composed = JSON.stringify(signed(manifest({ ProviderName: 'Soci\u{e9}t\u{e9} \u{1f600}' })));
      assert.equal(
        await outcome(composed, { 'Soci\u{e9}t\u{e9} \u{1f600}': provider.publicKey }),
        'accepted',
      );
      assert.equal(
        await outcome(composed.normalize('NFD'), { 'Soci\u{e9}t\u{e9} \u{1f600}': provider.publicKey }),
        'unknown-provider',
      );
      assert.equal(
        await outcome(composed.normalize('NFD'), {
          ['Soci\u{e9}t\u{e9} \u{1f600}'.normalize('NFD')]: provider.publicKey,
        }),
        'signature',
      );
    });
  });

  describe('options', () => {
    const pem = pemOf(provider.publicKey);
    const wrong: [what: string, options: unknown, message: RegExp][] = [
      ['nothing', undefined, /options of the manifests must be an object/],
      ['an unknown option', { directory, trustedKeys, trustedkeys: {} }, /no option "trustedkeys"/],
      ['no directory', { trustedKeys }, /directory/],
      ['an empty directory', { directory: '', trustedKeys }, /directory/],
      ['a NUL in the directory', { directory: '/a\0b', trustedKeys }, /directory/],
      ['no trusted keys', { directory }, /trustedKeys must be an object/],
      ['null', { directory, trustedKeys: null }, /trustedKeys must be an object/],
      ['an array', { directory, trustedKeys: [pem] }, /trustedKeys must be an object/],
      ['a Map', { directory, trustedKeys: new Map([['Acme', pem]]) }, /plain object/],
      ['a KeyObject', { directory, trustedKeys: provider.publicKey }, /plain object/],
      ['a literal with __proto__', { directory, trustedKeys: { __proto__: [pem] } }, /plain object/],
      [
        'a literal with an object as __proto__',
        { directory, trustedKeys: { __proto__: { Acme: pem } } },
        /plain object/,
      ],
      ['an empty name', { directory, trustedKeys: { '': pem } }, /empty provider name/],
      ['no key', { directory, trustedKeys: { Acme: [] } }, /trustedKeys\["Acme"\] is empty/],
      ['17 keys', { directory, trustedKeys: { Acme: Array(17).fill(pem) } }, /has 17 keys; at most 16/],
      [
        'a hole in a list',
        { directory, trustedKeys: { Acme: [pem, undefined] } },
        /trustedKeys\["Acme"\]\[1\] must be a public key/,
      ],
      [
        'a list in a list',
        { directory, trustedKeys: { Acme: [[pem]] } },
        /trustedKeys\["Acme"\]\[0\] must be a public key/,
      ],
      [
        'a number',
        { directory, trustedKeys: { Acme: 1 } },
        /must be a public key as a PEM string or a KeyObject/,
      ],
      [
        'a Buffer',
        { directory, trustedKeys: { Acme: Buffer.from(pem) } },
        /must be a public key as a PEM string or a KeyObject/,
      ],
      ['not PEM', { directory, trustedKeys: { Acme: 'key' } }, /is not one PEM block of type PUBLIC KEY/],
      ['two PEM blocks', { directory, trustedKeys: { Acme: pem + pem } }, /is not one PEM block/],
      [
        'damaged PEM',
        { directory, trustedKeys: { Acme: pem.replace('MII', 'AII') } },
        /does not hold a public key/,
      ],
      [
        'a private PEM',
        { directory, trustedKeys: { Acme: provider.privateKey.export({ type: 'pkcs8', format: 'pem' }) } },
        /private key/,
      ],
      ['a private KeyObject', { directory, trustedKeys: { Acme: provider.privateKey } }, /is a private key/],
      [
        '1,024 bits',
        { directory, trustedKeys: { Acme: keyPair('small', 1024).publicKey } },
        /1024 bits; at least 2048/,
      ],
      [
        'exponent 3',
        { directory, trustedKeys: { Acme: keyPair('cubic', 2048, 3).publicKey } },
        /public exponent 3/,
      ],
      [
        'an elliptic curve',
        { directory, trustedKeys: { Acme: generateKeyPairSync('ed25519').publicKey } },
        /type ed25519; it must be rsa/,
      ],
      [
        'a PSS-only key',
        {
          directory,
          trustedKeys: { Acme: generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey },
        },
        /type rsa-pss/,
      ],
    ];
    for (const [what, options, message] of wrong) {
      it(`refuses ${what} before anything is read`, async () => {
        let reads = 0;
        const reader = (): Promise<undefined> => {
          ++reads;
          return Promise.resolve(undefined);
        };
        await assert.rejects(loadLicenseProviderManifests(options as never, reader), (error) => {
          assert.ok(isPersistenceError(error));
          assert.equal(error.reason, 'invalid-option');
          assert.equal(error.code, 'PERS_8001');
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /MII/);
          return true;
        });
        assert.equal(reads, 0);
      });
    }

    it('takes an object without prototype, of another realm, and no provider at all', async () => {
      const bare = Object.assign(Object.create(null) as Record<string, string>, { Acme: pem });
      assert.equal(await outcome(good(), bare), 'accepted');
      assert.equal(
        await outcome(good(), runInNewContext('({ Acme: pem })', { pem }) as TrustedKeys),
        'accepted',
      );
      assert.equal(await outcome(good(), {}), 'unknown-provider');
      assert.equal(await outcome(good(), { Acme: createPublicKey(pem) }), 'accepted');
    });
  });

  it('loads ajv, canonicalize and jsonc-parser with the first file only', () => {
    const hook = `export const resolve = (name, context, next) => {
      if (['ajv', 'canonicalize', 'jsonc-parser'].includes(name)) throw new Error('loaded ' + name);
      return next(name, context); };`;
    const script = `
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
      const { loadLicenseProviderManifests } = await import('./lib/manifests/loader.ts');
      const load = (files) => loadLicenseProviderManifests({ directory: '/d', trustedKeys: {} }, async () => files);
      await load(undefined);
      await load([]);
      console.log('not loaded');
      await load([{ name: 'a.json', content: Buffer.from('{}') }]).catch((error) => console.log(error.message));`;
    const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      encoding: 'utf8',
    });
    assert.equal(output, 'not loaded\nloaded jsonc-parser\n');
  });
});
