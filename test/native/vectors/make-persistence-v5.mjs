// Writes persistence_v5.bin, persistence_v5_rotating.bin (a rotation of the DEK is under way) and the seeds of the persistence.bin fuzzer, from the text of docs/format.md alone: an
// implementation of the format beside the core's, over Node's own crypto. Every input is fixed, so that running it
// again changes nothing. Prints the derived keys that persistence_file_test.cc expects.
//
//   node test/native/vectors/make-persistence-v5.mjs
import { createCipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const range = (first, length) => Buffer.from(Array.from({ length }, (_, i) => (first + i) & 0xff));
const u8 = (value) => Buffer.from([value]);
const u16 = (value) => Buffer.from([value & 0xff, value >> 8]);
const u32 = (value) => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};
const u64 = (value) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(value);
  return out;
};
const hkdf = (key, salt, label) => Buffer.from(hkdfSync('sha256', key, salt, label, 32));
const sha256 = (data) => createHash('sha256').update(data).digest();

function seal(key, nonce, associatedData, plaintext) {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associatedData);
  const sealed = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([sealed, cipher.getAuthTag()]);
}

const dek = range(0x00, 32);
const rootKey = range(0x40, 32);
const passwordKek = range(0x60, 32);
const storageId = range(0x80, 16);
const vaultSalt = range(0xa0, 32);
const vendorKey = range(0xc0, 32);
const keyId = 7;

function slot(id, type, parameters, kek) {
  const nonce = range(0x10 * id, 12);
  const associatedData = Buffer.concat([
    storageId,
    u32(id),
    u8(type),
    u32(keyId),
    u32(parameters.length),
    parameters,
  ]);
  const checkValue = createHmac('sha256', kek).update('strongroom/v5 key check').digest().subarray(0, 8);
  return Buffer.concat([
    u32(id),
    u8(type),
    u16(parameters.length),
    parameters,
    nonce,
    seal(kek, nonce, associatedData, dek),
    checkValue,
  ]);
}

const directory = '/var/lib/acme/secrets';
const softwareKek = hkdf(rootKey, storageId, 'strongroom/v5 software kek');
const fileSlot = slot(
  1,
  1,
  Buffer.concat([u8(1), u16(directory.length), Buffer.from(directory)]),
  softwareKek,
);
const serviceSlot = slot(1, 1, Buffer.concat([u8(2), u16(0)]), softwareKek);
const passwordSlot = slot(2, 4, Buffer.concat([range(0xe0, 16), u32(65536), u32(3), u32(1)]), passwordKek);

const previous = Buffer.concat([u32(keyId - 1), range(0x20, 32)]);
const fieldKeys = [
  Buffer.concat([u32(3), range(0x30, 32)]),
  Buffer.concat([u32(keyId - 1), range(0x50, 32)]),
];
const rotating = Buffer.concat([u8(1), u8(fieldKeys.length), previous, ...fieldKeys]);
const rotated = Buffer.concat([u8(0), u8(fieldKeys.length), ...fieldKeys]);

function core({
  witnesses = 3,
  ageMax = 604_800_000n,
  vendor = true,
  name = 'acme-vault.bin',
  former = Buffer.alloc(0),
} = {}) {
  const authority = vendor ? Buffer.concat([u8(1), vendorKey]) : Buffer.alloc(33);
  return Buffer.concat([
    u8(witnesses),
    u64(120_000n),
    u64(ageMax),
    authority,
    vaultSalt,
    u8(name.length),
    Buffer.from(name),
    former,
  ]);
}

function copyOf({ state = 2, instance = 'acme-licensing', slots, plaintext }) {
  const variable = Buffer.concat([
    u8(instance.length),
    Buffer.from(instance),
    ...slots,
    u16(plaintext.length),
  ]);
  const content = 36 + variable.length + 12 + plaintext.length + 16;
  const size = Math.ceil((content + 32) / 4096) * 4096;
  const associatedData = Buffer.concat([
    Buffer.from('SRPERSIS'),
    u16(5),
    u8(state),
    u8(slots.length),
    u32(size),
    storageId,
    u32(keyId),
    variable,
  ]);
  const nonce = range(0xf0, 12);
  const sealed = seal(hkdf(dek, storageId, 'strongroom/v5 core'), nonce, associatedData, plaintext);
  const body = Buffer.concat([associatedData, nonce, sealed, Buffer.alloc(size - 32 - content)]);
  return Buffer.concat([body, sha256(body)]);
}

const golden = copyOf({ slots: [fileSlot, passwordSlot], plaintext: core() });
writeFileSync(here('persistence_v5.bin'), Buffer.concat([golden, golden]));
const pending = copyOf({ slots: [fileSlot, passwordSlot], plaintext: core({ former: rotating }) });
writeFileSync(here('persistence_v5_rotating.bin'), Buffer.concat([pending, pending]));

// The first byte of a seed tells the fuzzer what follows: 0 a file as it is, 1 a file whose checksums it corrects,
// 2 the plaintext of core data.
const seeds = here('../../fuzz/seeds/persistence_file/');
mkdirSync(seeds, { recursive: true });
const service = copyOf({
  state: 1,
  instance: 'default',
  slots: [serviceSlot],
  plaintext: core({ vendor: false }),
});
const damaged = Buffer.from(golden);
damaged[100] ^= 1;
const files = {
  'file-0-complete': [u8(0), golden, golden],
  'file-0-first-copy-damaged': [u8(0), damaged, golden],
  'file-0-cut': [u8(0), golden, golden.subarray(0, 1000)],
  'file-0-copies-differ': [u8(0), golden, service],
  'file-1-complete': [u8(1), golden, golden],
  'file-1-provisioning': [u8(1), service, service],
  'file-0-rotating': [u8(0), pending, pending],
  'core-2-vendor': [u8(2), core()],
  'core-2-rotating': [u8(2), core({ former: rotating })],
  'core-2-rotated': [u8(2), core({ former: rotated })],
  'core-2-password': [u8(2), core({ vendor: false, ageMax: 2n ** 64n - 1n, name: 'vault.bin' })],
};
for (const [name, parts] of Object.entries(files)) writeFileSync(seeds + name, Buffer.concat(parts));

const show = (name, value) => console.log(`${name.padEnd(20)} ${value.toString('hex')}`);
show('CreateGetVaultKey', hkdf(dek, vaultSalt, 'strongroom/v5 vault'));
show('tamper key', hkdf(dek, storageId, 'strongroom/v5 tamper'));
show('witness key', hkdf(dek, storageId, 'strongroom/v5 witness'));
show('software KEK', softwareKek);
show('hash of a copy', sha256(golden));
show('hash while rotating', sha256(pending));
