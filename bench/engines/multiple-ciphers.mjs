/** better-sqlite3-multiple-ciphers: SQLite with a page cipher and a MAC on every page, once for each cipher. */
import { join } from 'node:path';

/** A fixed raw key: key derivation from a password would swamp the times of opening. */
const KEY = 'c5'.repeat(32);

/**
 * @param {string} cipher
 * @param {string[]} pragmas
 * @returns {(options: import('../types.d.ts').OpenOptions) => Promise<import('../types.d.ts').Store>}
 */
function opener(cipher, pragmas) {
  return async ({ directory }) => {
    const { default: Database } = await import('better-sqlite3-multiple-ciphers');
    const database = new Database(join(directory, 'store.db'));
    for (const pragma of pragmas) database.pragma(pragma);
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.exec('CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID');
    const select = database.prepare('SELECT v FROM kv WHERE k = ?').pluck();
    const get = (/** @type {Buffer} */ key) => /** @type {Buffer | undefined} */ (select.get(key));
    const upsert = database.prepare(
      'INSERT INTO kv (k, v) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v',
    );

    const batch = database.transaction((/** @type {Buffer[]} */ keys, /** @type {Buffer[]} */ values) => {
      for (let index = 0; index < keys.length; index++) upsert.run(keys[index], values[index]);
    });
    const increment = database.transaction((/** @type {Buffer[]} */ keys) => {
      for (const key of keys) {
        const next = Buffer.alloc(8);
        next.writeBigInt64LE((get(key)?.readBigInt64LE() ?? 0n) + 1n);
        upsert.run(key, next);
      }
    });

    return {
      put: (key, value) => upsert.run(key, value),
      putSync: (key, value) => upsert.run(key, value),
      putMany: batch,
      putSeparate: (keys, values) => keys.forEach((key, index) => upsert.run(key, values[index])),
      batch,
      increment,
      get,
      // quick_check reads every page of the table, and no page is read without its MAC being checked.
      verify: () => {
        const verdict = database.pragma('quick_check', { simple: true });
        if (verdict !== 'ok') throw new Error(`quick_check: ${verdict}`);
      },
      crypto: () => {
        const version = database.prepare('SELECT sqlite3mc_version()').pluck().get();
        return `${version} (its own ${cipher}), SQLite ${database.prepare('SELECT sqlite_version()').pluck().get()}`;
      },
      close: () => database.close(),
    };
  };
}

/** @type {import('../types.d.ts').Engine[]} */
export default [
  {
    name: 'mc-aegis',
    role: 'peer',
    authenticated: true,
    package: 'better-sqlite3-multiple-ciphers',
    settings: 'AEGIS-256 pages, raw key, WAL, synchronous=FULL, WITHOUT ROWID, default caches',
    open: opener('AEGIS-256', ["cipher = 'aegis'", `key = 'raw:${KEY}'`]),
  },
  {
    name: 'mc-sqlcipher',
    role: 'peer',
    authenticated: true,
    package: 'better-sqlite3-multiple-ciphers',
    settings:
      'SQLCipher 4 pages (AES-256-CBC, HMAC-SHA-512), raw key, WAL, synchronous=FULL, WITHOUT ROWID, default caches',
    open: opener('AES-256-CBC and HMAC-SHA-512', ["cipher = 'sqlcipher'", `key = "x'${KEY}'"`]),
  },
];
