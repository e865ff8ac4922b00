/** classic-level (LevelDB) with every value sealed in JavaScript: AES-256-GCM, the key of the record authenticated. */
import { Buffer } from 'node:buffer';
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import process from 'node:process';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const SYNC = { sync: true };

/** value = nonce (12) | tag (16) | ciphertext. Nonces count up from a random start per open. */
class Sealer {
  #key = createSecretKey(Buffer.alloc(32, 0xc5));
  #nonce = randomBytes(NONCE_BYTES);
  #count = 0;

  /**
   * @param {Buffer} recordKey
   * @param {Buffer} value
   */
  seal(recordKey, value) {
    this.#nonce.writeUIntBE(++this.#count, NONCE_BYTES - 6, 6);
    const cipher = createCipheriv('aes-256-gcm', this.#key, this.#nonce);
    cipher.setAAD(recordKey);
    const sealed = Buffer.allocUnsafe(NONCE_BYTES + TAG_BYTES + value.length);
    cipher.update(value).copy(sealed, NONCE_BYTES + TAG_BYTES);
    cipher.final();
    this.#nonce.copy(sealed, 0);
    cipher.getAuthTag().copy(sealed, NONCE_BYTES);
    return sealed;
  }

  /**
   * @param {Buffer} recordKey
   * @param {Buffer} sealed
   */
  unseal(recordKey, sealed) {
    const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, NONCE_BYTES));
    decipher.setAAD(recordKey);
    decipher.setAuthTag(sealed.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    const value = decipher.update(sealed.subarray(NONCE_BYTES + TAG_BYTES));
    decipher.final();
    return value;
  }
}

/** @param {import('../types.d.ts').OpenOptions} options */
async function open({ directory }) {
  const { ClassicLevel } = await import('classic-level');
  // Sealed values do not compress; trying would only slow the peer down.
  const settings = { keyEncoding: 'buffer', valueEncoding: 'buffer', compression: false };
  /** @type {import('classic-level').ClassicLevel<Buffer, Buffer>} */
  const database = new ClassicLevel(join(directory, 'store.level'), settings);
  await database.open();
  const sealer = new Sealer();

  const put = (/** @type {Buffer} */ key, /** @type {Buffer} */ value) =>
    database.put(key, sealer.seal(key, value), SYNC);
  const batch = (/** @type {Buffer[]} */ keys, /** @type {Buffer[]} */ values) =>
    database.batch(
      keys.map((key, index) => ({
        type: /** @type {const} */ ('put'),
        key,
        value: sealer.seal(key, /** @type {Buffer} */ (values[index])),
      })),
      SYNC,
    );

  /** @type {import('../types.d.ts').Store} */
  const store = {
    put,
    putMany: batch,
    putSeparate: (keys, values) =>
      Promise.all(keys.map((key, index) => put(key, /** @type {Buffer} */ (values[index])))),
    batch,
    increment: async (keys) => {
      const found = await database.getMany(keys);
      const next = keys.map((key, index) => {
        const sealed = found[index];
        const value = Buffer.alloc(8);
        value.writeBigInt64LE((sealed === undefined ? 0n : sealer.unseal(key, sealed).readBigInt64LE()) + 1n);
        return value;
      });
      await batch(keys, next);
    },
    get: (key) => {
      const sealed = database.getSync(key);
      return sealed === undefined ? undefined : sealer.unseal(key, sealed);
    },
    verify: async () => {
      const iterator = database.iterator();
      for (;;) {
        const entries = await iterator.nextv(1000);
        if (entries.length === 0) break;
        for (const [key, sealed] of entries) sealer.unseal(key, sealed);
      }
      await iterator.close();
    },
    crypto: () => `OpenSSL ${process.versions.openssl} (Node's)`,
    close: () => database.close(),
  };
  return store;
}

/** @type {import('../types.d.ts').Engine} */
export default {
  name: 'classic-level',
  role: 'peer',
  authenticated: true,
  package: 'classic-level',
  settings: 'sync: true, AES-256-GCM per value in JavaScript, no compression, default caches',
  open,
};
