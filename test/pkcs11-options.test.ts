// Key protector 'pkcs11' before any token is asked: which options contradict each other, and the PIN out of its file.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { locateToken, readPkcs11Protector } from '../lib/pkcs11-options.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { binding, removeDirectory, temporaryDirectory } from './support/stores.js';

describe('protector pkcs11: options', () => {
  const root = temporaryDirectory();
  after(() => {
    removeDirectory(root);
  });
  const file = join(root, 'pin');
  const locate = (given: object): ReturnType<typeof locateToken> => {
    const { native, pin } = readPkcs11Protector({ type: 'pkcs11', ...given });
    return locateToken(binding, native, pin?.take);
  };

  for (const [what, given, name] of [
    ['a module by a relative path', { module: 'softhsm2.so' }, /protector\.module/],
    ['a label with a NUL', { token: 'a\0b' }, /protector\.token/],
    ['a token that nothing names', { token: {} }, /protector\.token/],
    ['a time limit beyond an hour', { timeLimitMs: 3_600_001 }, /protector\.timeLimitMs/],
  ] as const) {
    it(`refuses ${what}`, () => {
      const read = (): unknown => readPkcs11Protector({ type: 'pkcs11', ...given });
      assert.match(throwsReason(read, 'invalid-option').message, name);
    });
  }

  it('refuses a PIN as a string', () => {
    const read = (): unknown => readPkcs11Protector({ type: 'pkcs11', pin: '1234' });
    assert.match(throwsReason(read, 'invalid-argument').message, /protector\.pin/);
  });

  for (const [what, given, said] of [
    ['a label that is another in the URI', { uri: 'pkcs11:token=a', token: 'b' }, /label/],
    ['an id in the URI', { uri: 'pkcs11:token=a;id=%01' }, /'id'/],
    [
      'two sources of a PIN',
      { uri: `pkcs11:token=a?pin-source=${file}`, pin: Buffer.from('1') },
      /exclude each other/,
    ],
    ['a PIN of nothing', { token: 'a', pin: Buffer.alloc(0) }, /1 to 4096 bytes/],
    ['a PIN beyond 4,096 bytes', { token: 'a', pin: Buffer.alloc(4097, '1') }, /1 to 4096 bytes/],
    ['a relative pin-source', { uri: 'pkcs11:token=a?pin-source=pin' }, /absolute path/],
    ['a pin-source on another machine', { uri: 'pkcs11:token=a?pin-source=file://b/pin' }, /this machine/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      assert.match((await rejectsReason(locate(given), 'invalid-option')).message, said);
    });
  }

  it('takes a PIN from its file without one newline at the end, and none from an empty one', async () => {
    for (const [content, pin] of [
      ['1234', '1234'],
      ['1234\n', '1234'],
      ['1234\r\n', '1234'],
      ['1234\n\n', '1234\n'],
    ] as const) {
      writeFileSync(file, content);
      for (const source of [file, `file:${file}`]) {
        const { protector, wipe } = await locate({ uri: `pkcs11:token=a?pin-source=${source}` });
        assert.equal(Buffer.from(protector.pin!).toString(), pin);
        wipe();
        assert.ok(protector.pin!.every((byte) => byte === 0));
      }
    }
    for (const nothing of ['', '\n', '\r\n']) {
      writeFileSync(file, nothing);
      await rejectsReason(locate({ uri: `pkcs11:token=a?pin-source=${file}` }), 'invalid-option');
    }
  });
});
