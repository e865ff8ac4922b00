// Key protector 'pkcs11' before any token is asked: which options contradict each other, and the PIN out of its file.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { NativePkcs11Protector } from '../lib/native-binding.js';
import type { GivenProtector } from '../lib/protectors/protector.js';
import { readProtector } from '../lib/protectors/registry.js';
import { findLeftovers } from '../lib/operations/leftovers.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { HsmWorld, pin } from './support/softhsm.js';
import { binding, removeDirectory, temporaryDirectory } from './support/stores.js';

describe('protector pkcs11: options', () => {
  const root = temporaryDirectory();
  after(() => {
    removeDirectory(root);
  });
  const file = join(root, 'pin');
  const read = (given: object): GivenProtector => readProtector({ type: 'pkcs11', ...given })!;
  const locateIn = (protector: GivenProtector): Promise<NativePkcs11Protector> =>
    protector.token!.locate({ binding, signal: undefined });
  const locate = (given: object): Promise<NativePkcs11Protector> => locateIn(read(given));

  for (const [what, given, name] of [
    ['a module by a relative path', { module: 'softhsm2.so' }, /protector\.module/],
    ['a label with a NUL', { token: 'a\0b' }, /protector\.token/],
    ['a token that nothing names', { token: {} }, /protector\.token/],
    ['a time limit beyond an hour', { timeLimitMs: 3_600_001 }, /protector\.timeLimitMs/],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.match(throwsReason(() => read(given), 'invalid-option').message, name);
    });
  }

  it('refuses a PIN as a string', () => {
    assert.match(throwsReason(() => read({ pin: '1234' }), 'invalid-argument').message, /protector\.pin/);
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
        const protector = read({ uri: `pkcs11:token=a?pin-source=${source}` });
        const located = await locateIn(protector);
        assert.equal(Buffer.from(located.pin!).toString(), pin);
        protector.forget();
        assert.ok(located.pin!.every((byte) => byte === 0));
      }
    }
    for (const nothing of ['', '\n', '\r\n']) {
      writeFileSync(file, nothing);
      await rejectsReason(locate({ uri: `pkcs11:token=a?pin-source=${file}` }), 'invalid-option');
    }
  });

  it('reads the file of a PIN once, however often a start asks for it', async () => {
    writeFileSync(file, '1234');
    const protector = read({ uri: `pkcs11:token=a?pin-source=${file}` });
    await locateIn(protector);
    writeFileSync(file, 'another');
    const { pin } = await locateIn(protector);
    assert.equal(Buffer.from(pin!).toString(), '1234');
    protector.forget();
    assert.ok(pin!.every((byte) => byte === 0));
  });

  it('names the newline of a PIN that is refused while leftovers are looked for', async function () {
    this.timeout(60_000);
    const world = new HsmWorld();
    try {
      await world.make();
      await world.makeStore();
      const { secretStore } = world.options();
      const protector = world.protector({ pin: () => Buffer.from(`${pin.slice(0, -1)}\n`) });
      const directory = join(world.root, 'elsewhere');
      const { message } = await rejectsReason(
        findLeftovers(binding, { directory, instance: 'test', protector, secretStore }),
        'pin-wrong',
      );
      assert.match(message, /ends in a newline/);
    } finally {
      await world.closeAll();
    }
  });

  it('refuses an option of another kind by the kind that has it', () => {
    const of = (given: object): string => throwsReason(() => read(given), 'invalid-option').message;
    assert.match(of({ tcti: 'swtpm' }), /protector\.tcti belongs to the type 'tpm'/);
    assert.match(of({ type: 'disk' }), /'software', 'tpm', 'pkcs11' or 'external'/);
    assert.match(of({ colour: 1 }), /there is no option 'colour'/);
  });
});
