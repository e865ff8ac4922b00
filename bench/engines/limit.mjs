/**
 * What the machine allows: the same bytes with no index, no chain, no recovery and (for writes) no cipher.
 *
 * - put: one pwrite of key and value, one fdatasync, into a file whose blocks are already written.
 * - 64 puts: the same with 64 records in one pwrite.
 * - get: a fresh copy of 256 bytes at a random place in memory.
 * - open-verify: read a file of all records once and open it with AES-256-GCM in pieces of 16 KiB.
 */
import { Buffer } from 'node:buffer';
import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { KEY_BYTES, VALUE_BYTES } from '../lib/records.mjs';

const LOG_BYTES = 64 << 20;
const PIECE_BYTES = 16 << 10;
const RECORD_BYTES = KEY_BYTES + VALUE_BYTES + 16;
const key = createSecretKey(Buffer.alloc(32, 0xc5));

/**
 * A file whose blocks are written already, from an earlier open or now.
 *
 * @param {string} path
 */
function preallocated(path) {
  if (fs.existsSync(path)) return fs.openSync(path, 'r+');
  const file = fs.openSync(path, 'w+', 0o600);
  const zeros = Buffer.alloc(1 << 20);
  for (let at = 0; at < LOG_BYTES; at += zeros.length) fs.writeSync(file, zeros, 0, zeros.length, at);
  fs.fsyncSync(file);
  return file;
}

/**
 * @param {string} path
 * @param {number} bytes
 */
function writeSealed(path, bytes) {
  const file = fs.openSync(path, 'w', 0o600);
  const piece = Buffer.alloc(PIECE_BYTES, 0x5a);
  const nonce = Buffer.alloc(12);
  for (let at = 0, index = 0; at < bytes; at += PIECE_BYTES, index++) {
    nonce.writeUInt32BE(index, 8);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    fs.writeSync(file, cipher.update(piece));
    cipher.final();
    fs.writeSync(file, cipher.getAuthTag());
  }
  fs.closeSync(file);
}

/** @param {string} path */
function readSealed(path) {
  const content = fs.readFileSync(path);
  const nonce = Buffer.alloc(12);
  for (let at = 0, index = 0; at < content.length; at += PIECE_BYTES + 16, index++) {
    nonce.writeUInt32BE(index, 8);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce);
    decipher.setAuthTag(content.subarray(at + PIECE_BYTES, at + PIECE_BYTES + 16));
    decipher.update(content.subarray(at, at + PIECE_BYTES));
    decipher.final();
  }
}

/** @param {import('../types.d.ts').OpenOptions} options */
async function open({ directory, records }) {
  const log = preallocated(join(directory, 'log'));
  const sealed = join(directory, 'sealed');
  if (!fs.existsSync(sealed)) writeSealed(sealed, records * RECORD_BYTES);
  const memory = Buffer.allocUnsafeSlow(records * VALUE_BYTES).fill(0x5a);
  const scratch = Buffer.alloc(64 * 1024);
  let end = 0;

  const append = (/** @type {number} */ bytes) => {
    if (end + bytes > LOG_BYTES) end = 0;
    fs.writeSync(log, scratch, 0, bytes, end);
    fs.fdatasyncSync(log);
    end += bytes;
  };
  const put = (/** @type {Buffer} */ recordKey, /** @type {Buffer} */ value) => {
    recordKey.copy(scratch, 0);
    value.copy(scratch, KEY_BYTES);
    append(KEY_BYTES + VALUE_BYTES);
  };
  const putMany = (/** @type {Buffer[]} */ keys, /** @type {Buffer[]} */ values) => {
    let at = 0;
    for (let index = 0; index < keys.length; index++) {
      at += /** @type {Buffer} */ (keys[index]).copy(scratch, at);
      at += /** @type {Buffer} */ (values[index]).copy(scratch, at);
    }
    append(at);
  };

  /** @type {import('../types.d.ts').Store} */
  const store = {
    put,
    putSync: put,
    putMany,
    batch: putMany,
    increment: (keys) => append(keys.length * (KEY_BYTES + 8)),
    get: (recordKey) => {
      let index = 0;
      for (let digit = KEY_BYTES - 7; digit < KEY_BYTES; digit++) {
        index = index * 10 + /** @type {number} */ (recordKey[digit]) - 48;
      }
      const at = index * VALUE_BYTES;
      return Buffer.from(memory.subarray(at, at + VALUE_BYTES));
    },
    verify: () => readSealed(sealed),
    crypto: () => `OpenSSL ${process.versions.openssl} (Node's), open-verify only`,
    close: () => fs.closeSync(log),
  };
  return store;
}

/** @type {import('../types.d.ts').Engine} */
export default {
  name: 'limit',
  role: 'limit',
  authenticated: false,
  settings: 'pwrite + fdatasync to a preallocated file; copies from memory; one read and GCM',
  open,
};
