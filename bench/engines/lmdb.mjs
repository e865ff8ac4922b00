/**
 * lmdb with encryptionKey: ChaCha8 pages without a MAC, so it is shown beside the authenticated peers.
 *
 * `overlappingSync` is off: with it, the default, a promise resolves before the commit is on disk.
 */
import { Buffer } from 'node:buffer';
import { join } from 'node:path';

/** @param {import('../types.d.ts').OpenOptions} options */
async function open({ directory }) {
  const { open: openLmdb } = await import('lmdb');
  const database = openLmdb({
    path: join(directory, 'store.lmdb'),
    encryptionKey: 'c5'.repeat(16),
    keyEncoding: 'binary',
    encoding: 'binary',
    overlappingSync: false,
  });

  const transaction = (/** @type {Buffer[]} */ keys, /** @type {Buffer[]} */ values) =>
    database.transactionSync(() => {
      for (let index = 0; index < keys.length; index++)
        database.put(/** @type {Buffer} */ (keys[index]), values[index]);
    });

  /** @type {import('../types.d.ts').Store} */
  const store = {
    put: (key, value) => database.put(key, value),
    putSync: (key, value) => database.putSync(key, value),
    putMany: transaction,
    putSeparate: (keys, values) => Promise.all(keys.map((key, index) => database.put(key, values[index]))),
    batch: transaction,
    increment: (keys) =>
      database.transactionSync(() => {
        for (const key of keys) {
          const next = Buffer.alloc(8);
          next.writeBigInt64LE((database.get(key)?.readBigInt64LE() ?? 0n) + 1n);
          database.put(key, next);
        }
      }),
    get: (key) => database.get(key),
    verify: () => {
      let sum = 0;
      for (const { value } of database.getRange({ snapshot: false })) sum += value[0];
      if (sum < 0) throw new Error('unreachable: keeps the values in use');
    },
    crypto: () => 'its own ChaCha8, no MAC',
    close: () => database.close(),
  };
  return store;
}

/** @type {import('../types.d.ts').Engine} */
export default {
  name: 'lmdb',
  role: 'peer',
  authenticated: false,
  package: 'lmdb',
  settings: 'encryptionKey (ChaCha8, no MAC), overlappingSync off',
  open,
};
