/** The subject: the built package of this checkout, with its defaults, in software protection. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

/** @param {import('../types.d.ts').OpenOptions} options */
async function open({ directory }) {
  const strongroom = await import(new URL('../../dist/index.js', import.meta.url).href);
  const secrets = join(directory, 'secrets');
  await mkdir(secrets, { recursive: true, mode: 0o700 });
  const persistence = await strongroom.open({
    directory: join(directory, 'store'),
    instance: 'bench',
    protector: { type: 'software' },
    secretStore: { type: 'file', directory: secrets },
    recovery: 'none',
  });
  const { vault, validator } = persistence;

  /** @type {import('../types.d.ts').Store} */
  const store = {
    put: (key, value) => vault.set(key, value),
    putSync: (key, value) => vault.setSync(key, value),
    putMany: (keys, values) => Promise.all(keys.map((key, index) => vault.set(key, values[index]))),
    batch: (keys, values) =>
      vault.batch(keys.map((key, index) => ({ type: 'set', key, value: values[index] }))),
    increment: (keys) => Promise.all(keys.map((key) => vault.increment(key, 1n))),
    get: (key) => vault.get(key),
    validate: () => validator.validateBeforeWrite(),
    crypto: () => String(strongroom.libraryVersion?.() ?? persistence.status().library ?? 'not stated'),
    close: () => persistence.close(),
  };
  return store;
}

/** @type {import('../types.d.ts').Engine} */
export default {
  name: 'strongroom',
  role: 'subject',
  authenticated: true,
  settings: 'AES-256-GCM, durability journal, SecretStore file',
  open,
};
