import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';

import { acceptManifests, manifestLimits, type DirectoryEntry } from '../../lib/manifests/loader.js';
import {
  base64,
  good,
  keyPair,
  load,
  manifest,
  outcome,
  pemOf,
  provider,
  resigned,
  secret,
  signed,
  trustedKeys,
  type Json,
} from '../support/manifest-fixtures.js';

const withSecret = (changes: Record<string, Json>): string =>
  resigned({ ProviderSecrets: [secret(changes)] });

describe('manifests that are rejected', function () {
  this.timeout(120_000);

  describe('rejections', () => {
    const text = good();
    const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
    const cases: [what: string, content: string | Uint8Array, reason: string][] = [
      ['an empty file', '', 'json'],
      ['half a file', text.slice(0, text.length / 2), 'json'],
      ['a comment', `/* vendor */${text}`, 'json'],
      ['a line comment at the end', `${text}// end`, 'json'],
      ['a trailing comma', text.replace(/}$/, ',}'), 'json'],
      ['something after the end', `${text}{}`, 'json'],
      ['a NUL after the end', `${text}\0`, 'json'],
      ['single quotes', text.replaceAll('"', "'"), 'json'],
      ['NaN', text.replace('2048', 'NaN'), 'json'],
      ['Infinity', text.replace('2048', '-Infinity'), 'json'],
      ['a number with a leading zero', text.replace('2048', '02048'), 'json'],
      ['a hexadecimal number', text.replace('2048', '0x800'), 'json'],
      ['a no-break space between tokens', text.replace('{', '{\u{a0}'), 'json'],
      ['a raw line break in a string', text.replace('Acme', 'Ac\nme'), 'json'],
      ['a byte order mark', `\u{feff}${text}`, 'encoding'],
      ['UTF-16', Buffer.from(text, 'utf16le'), 'json'],
      ['UTF-16 with a byte order mark', Buffer.from(`\u{feff}${text}`, 'utf16le'), 'encoding'],
      ['a Latin-1 letter', Buffer.from(text.replace('Acme', 'Acm\u{e9}'), 'latin1'), 'encoding'],
      ['an overlong UTF-8 form', Buffer.concat([Buffer.from([0xc0, 0xaf]), Buffer.from(text)]), 'encoding'],
      ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'encoding'],
      ['an escaped lone surrogate', text.replace('Acme', 'Acme\\ud800'), 'encoding'],
      ['a lone surrogate in a name', text.replace('"ProviderName"', '"\\udc00"'), 'encoding'],
      ['nine levels', nested(9), 'too-deep'],
      ['half a million levels', nested(500_000), 'too-deep'],
      ['half a million objects', '{"a":'.repeat(170_000), 'too-deep'],
      ['nine levels within a manifest', text.replace('2048', nested(7)), 'too-deep'],
      ['eight levels', nested(8), 'schema'],
      ['a name twice', text.replace('{', '{"ProviderName":"Acme",'), 'duplicate-key'],
      ['a name twice, once escaped', text.replace('{', '{"\\u0050roviderName":"Acme",'), 'duplicate-key'],
      [
        'a name twice in a secret',
        text.replace('"RsaKeySize"', '"RsaKeySize":2048,"RsaKeySize"'),
        'duplicate-key',
      ],
      [
        'a name twice below an unknown member',
        text.replace('{', '{"x":[[{"y":{"z":1,"z":1}}]],'),
        'duplicate-key',
      ],
      ['__proto__ twice', text.replace('{', '{"__proto__":1,"__proto__":1,'), 'duplicate-key'],
      ['one byte over the limit', text.padEnd(manifestLimits.bytesMax + 1), 'too-large'],
      ['null', 'null', 'schema'],
      ['a string', '"Acme"', 'schema'],
      ['an array of manifests', `[${text}]`, 'schema'],
      ['no signature', JSON.stringify(manifest()), 'schema'],
      ['a signature of null', JSON.stringify({ ...manifest(), SignatureBase64: null }), 'schema'],
      ['an unknown provider', resigned({ ProviderName: 'Nobody' }), 'unknown-provider'],
      ['another letter case of the provider', resigned({ ProviderName: 'acme' }), 'unknown-provider'],
      ['an unsigned change', text.replace('"InProduction":true', '"InProduction":false'), 'signature'],
      ['a number that rounds to another', text.replace('2048', '2048.0000000000005'), 'schema'],
      ['a size that overflows', text.replace('2048', '1e400'), 'schema'],
      ['a size that underflows', text.replace('2048', '2e-400'), 'schema'],
      ['a size of 10^4000', text.replace('2048', `1${'0'.repeat(4000)}`), 'schema'],
    ];
    for (const [what, content, reason] of cases) {
      it(`${reason}: ${what}`, async () => {
        assert.equal(await outcome(content), reason);
      });
    }

    const schemaCases: [what: string, changes: Record<string, Json>][] = [
      ['an unknown member', { Comment: '' }],
      ['an unknown member in another letter case', { providername: 'Acme' }],
      ['an empty ProviderName', { ProviderName: '' }],
      ['a long ProviderName', { ProviderName: 'a'.repeat(129) }],
      ['a line break in ProviderName', { ProviderName: 'Ac\nme' }],
      ['U+2028 in ProviderName', { ProviderName: 'Ac\u{2028}me' }],
      ['a number as ProviderName', { ProviderName: 1 }],
      ['no ProviderSecrets', { ProviderSecrets: null }],
      ['too many ProviderSecrets', { ProviderSecrets: Array.from({ length: 257 }, () => secret()) }],
      ['a list as a secret', { ProviderSecrets: [[]] }],
      ...[
        '2026-03-01',
        '2026-03-01T12:00:00',
        '2026-03-01T12:00:00+00:00',
        '2026-03-01 12:00:00Z',
        '2026-03-01t12:00:00z',
        '2026-03-01T12:00Z',
        '2026-02-30T12:00:00Z',
        '2026-13-01T12:00:00Z',
        '2026-03-01T24:00:00Z',
        '2026-06-30T23:59:60Z',
        '2026-03-01T12:00:00.Z',
        '2026-03-01T12:00:00.0001Z',
        '+02026-03-01T12:00:00Z',
        '\u{0662}026-03-01T12:00:00Z',
        '',
      ].map((stamp): [string, Record<string, Json>] => [`CreatedUtc "${stamp}"`, { CreatedUtc: stamp }]),
      ['CreatedUtc as a number', { CreatedUtc: 1 }],
      ...(
        [
          ['a VendorCode that is no UUID', { VendorCode: 'floating' }],
          ['a VendorCode in braces', { VendorCode: '{6f1f4b1e-93a4-4f43-9d0e-0d3a5c2f7b11}' }],
          ['an empty VendorSecretName', { VendorSecretName: '' }],
          ['RsaKeySize as a string', { RsaKeySize: '2048' }],
          ['RsaKeySize with a fraction', { RsaKeySize: 2048.5 }],
          ['a negative RsaKeySize', { RsaKeySize: -2048 }],
          ['RsaKeySize over 16,384', { RsaKeySize: 16_385 }],
          ['a PublicKey that is plain PEM', { PublicKey: pemOf(provider.publicKey) }],
          ['InProduction as a string', { InProduction: 'true' }],
          ['Deprecated as a number', { Deprecated: 0 }],
          ['an unknown member of a secret', { PrivateKey: '' }],
        ] as [string, Record<string, Json>][]
      ).map(([what, changes]): [string, Record<string, Json>] => [
        what,
        { ProviderSecrets: [secret(changes)] },
      ]),
    ];
    for (const [what, changes] of schemaCases) {
      it(`schema: ${what}, though signed`, async () => {
        const name = typeof changes['ProviderName'] === 'string' ? changes['ProviderName'] || 'Acme' : 'Acme';
        const keys = { ...trustedKeys, [name]: provider.publicKey };
        assert.equal(await outcome(resigned(changes), keys), 'schema');
      });
    }

    for (const name of ['ProviderName', 'CreatedUtc', 'ProviderSecrets']) {
      it(`schema: no ${name}`, async () => {
        const rest = Object.fromEntries(Object.entries(manifest()).filter(([member]) => member !== name));
        assert.equal(await outcome(JSON.stringify(signed(rest))), 'schema');
      });
      it(`schema: ${name} in __proto__ only`, async () => {
        const { [name]: value, ...rest } = manifest();
        const content = JSON.stringify(signed(rest)).replace(
          '{',
          `{"__proto__":{"${name}":${JSON.stringify(value)}},`,
        );
        assert.equal(await outcome(content), 'schema');
      });
    }

    it('schema: a member that only a polluted Object.prototype has', async () => {
      const rest = Object.fromEntries(Object.entries(secret()).filter(([name]) => name !== 'Deprecated'));
      const content = resigned({ ProviderSecrets: [rest] });
      Object.defineProperty(Object.prototype, 'Deprecated', { value: false, configurable: true });
      try {
        assert.equal(await outcome(content), 'schema');
      } finally {
        Reflect.deleteProperty(Object.prototype, 'Deprecated');
      }
    });

    it('weak-key and public-key, though signed', async () => {
      const small = base64(pemOf(keyPair('small', 1024).publicKey));
      const large = base64(pemOf(keyPair('large', 3072).publicKey));
      const cubic = base64(pemOf(keyPair('cubic', 2048, 3).publicKey));
      const curve = base64(pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey));
      const vendor = keyPair('vendor');
      const pem = pemOf(vendor.publicKey);
      for (const [what, changes, reason] of [
        ['1,024 bits, and it says so', { PublicKey: small, RsaKeySize: 1024 }, 'weak-key'],
        ['1,024 bits, and it says 2,048', { PublicKey: small }, 'weak-key'],
        ['2,048 bits, and it says 1,024', { RsaKeySize: 1024 }, 'weak-key'],
        ['exponent 3', { PublicKey: cubic }, 'weak-key'],
        ['3,072 bits, and it says 2,048', { PublicKey: large }, 'public-key'],
        ['3,072 bits', { PublicKey: large, RsaKeySize: 3072 }, 'accepted'],
        ['an elliptic curve', { PublicKey: curve }, 'public-key'],
        ['not PEM', { PublicKey: base64('key') }, 'public-key'],
        [
          'DER',
          { PublicKey: vendor.publicKey.export({ type: 'spki', format: 'der' }).toString('base64') },
          'public-key',
        ],
        [
          'PKCS#1 PEM',
          { PublicKey: base64(vendor.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString()) },
          'public-key',
        ],
        [
          'a private key',
          { PublicKey: base64(vendor.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()) },
          'public-key',
        ],
        ['two keys', { PublicKey: base64(pem + pem) }, 'public-key'],
        ['PEM with text before it', { PublicKey: base64(`key\n${pem}`) }, 'public-key'],
        [
          'PEM of nothing',
          { PublicKey: base64('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n') },
          'public-key',
        ],
        ['PEM with CRLF', { PublicKey: base64(pem.replaceAll('\n', '\r\n')) }, 'accepted'],
        ['base64 without padding', { PublicKey: 'AAAAA' }, 'public-key'],
      ] as [string, Record<string, Json>, string][]) {
        assert.equal(await outcome(withSecret(changes)), reason, what);
      }
    });

    it('one bad key refuses the whole manifest', async () => {
      const bad = secret({ PublicKey: base64('key') });
      assert.equal(await outcome(resigned({ ProviderSecrets: [secret(), bad] })), 'public-key');
    });

    it('one bad file never stops the others', async () => {
      const files: Record<string, string | Uint8Array> = { 'middle.json': text };
      cases.forEach(([, content], index) => {
        files[`${index % 2 === 0 ? 'a' : 'z'}${index}.json`] = content;
      });
      const { candidates, rejected } = await load(files);
      assert.deepEqual(
        candidates.map(({ file }) => file),
        ['middle.json'],
      );
      assert.equal(rejected.length, cases.length);
      assert.deepEqual(
        new Map(rejected.map(({ file, reason }) => [file, reason])),
        new Map(cases.map(([, , reason], index) => [`${index % 2 === 0 ? 'a' : 'z'}${index}.json`, reason])),
      );
      assert.deepEqual(
        rejected.map(({ file }) => file),
        rejected.map(({ file }) => file).sort(),
      );
    });

    it('unreadable and too-large, as the reader says', async () => {
      const error = (name: string, reason: string): DirectoryEntry => ({
        name,
        error: { code: 'PERS_8005', reason, message: 'no' },
      });
      const { candidates, rejected } = await load([
        error('b.json', 'permission-denied'),
        error('a.json', 'value-too-large'),
        { name: 'c.json', content: Buffer.from(text) },
      ]);
      assert.equal(candidates[0]?.file, 'c.json');
      assert.deepEqual(rejected, [
        { file: 'a.json', reason: 'too-large', detail: 'value-too-large: no' },
        { file: 'b.json', reason: 'unreadable', detail: 'permission-denied: no' },
      ]);
    });

    it('takes 10,000 files and names the rest', async () => {
      const entries = Array.from({ length: 10_002 }, (_, index): DirectoryEntry => {
        const name = `${String(index).padStart(5, '0')}.json`;
        return { name, content: Buffer.from(index === 9_999 || index === 10_000 ? text : '{}') };
      });
      const { candidates, rejected } = await load(entries.reverse());
      assert.deepEqual(
        candidates.map(({ file }) => file),
        ['09999.json'],
      );
      assert.equal(rejected.filter(({ reason }) => reason === 'schema').length, 9_999);
      assert.deepEqual(
        rejected.filter(({ reason }) => reason === 'too-many-files').map(({ file }) => file),
        ['10000.json', '10001.json'],
      );
    });

    it('takes a file of exactly 1 MiB', async () => {
      assert.equal(await outcome(text.padEnd(manifestLimits.bytesMax)), 'accepted');
    });

    it('keeps the file name as it is and the detail printable', async () => {
      const name = '\u{202e}../\u{1b}[31m\n\u{d800}.json';
      const { rejected } = await load([
        { name, content: Buffer.from(resigned({ ProviderName: `\u{202e}${'x'.repeat(120)}\u{1f600}` })) },
        { name: '__proto__', content: Buffer.from('{"\\u001b\\n":1,"\\u001b\\n":1}') },
      ]);
      assert.deepEqual(
        rejected.map(({ file, reason }) => [file, reason]),
        [
          ['__proto__', 'duplicate-key'],
          [name, 'unknown-provider'],
        ],
      );
      for (const { detail } of rejected) assert.match(detail, /^[^\p{C}\p{Zl}\p{Zp}]{1,300}$/u);
    });
  });

  describe('hostile provider names', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'prototype'];
    for (const name of names) {
      it(`"${name}" is unknown unless the options name it`, async () => {
        const content = JSON.stringify(signed(manifest({ ProviderName: name })));
        assert.equal(await outcome(content), 'unknown-provider');
        assert.equal(await outcome(content, {}), 'unknown-provider');
        const keys = Object.fromEntries([[name, provider.publicKey]]);
        const loaded = await load({ 'a.json': content }, keys);
        assert.equal(loaded.candidates[0]?.providerName, name);
        assert.deepEqual(acceptManifests(loaded, new Map()).updates, [
          { providerName: name, createdUtc: '2026-03-01T12:00:00.000Z' },
        ]);
      });
    }
    it('leave Object.prototype as it was', async () => {
      const before = Object.getOwnPropertyNames(Object.prototype);
      await load({ 'a.json': '{"__proto__":{"ProviderName":"Acme"},"constructor":{"prototype":{"x":1}}}' });
      assert.deepEqual(Object.getOwnPropertyNames(Object.prototype), before);
    });
  });
});
