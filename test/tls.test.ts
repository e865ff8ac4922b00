// The TLS credential: what is stored, what is refused, and what comes out as files.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';

import type { OpenStore } from '../lib/store/open-store.js';
import { makeCertificates } from './support/certificates.js';
import { rejectsReason } from './support/errors.js';
import { temporaryDirectory, World } from './support/stores.js';

describe('TLS credential', () => {
  let world: World;
  let store: OpenStore;
  let directory: string;
  const one = makeCertificates();
  const two = makeCertificates('ed25519');

  beforeEach(async () => {
    world = new World();
    store = await world.open();
    directory = temporaryDirectory();
  });
  afterEach(() => world.closeAll());

  const read = (name: string): string => readFileSync(join(directory, name), 'utf8');
  const files = (): string[] => readdirSync(directory).sort();
  const holds = ({ key, certificate, chain }: typeof one): void => {
    assert.equal(read('tls.key'), key);
    assert.equal(read('tls.crt'), certificate);
    assert.equal(read('chain.pem'), chain);
  };

  it('TLS extraction: gives back key, certificate and chain byte for byte, each with mode 0600', async () => {
    await store.tls.set(one);
    await store.close();
    store = await world.open();
    assert.deepEqual(await store.tls.certificate(), { certificate: one.certificate, chain: one.chain });
    await store.tls.extract({ directory });
    holds(one);
    assert.deepEqual(files(), ['chain.pem', 'tls.crt', 'tls.key']);
    for (const name of files()) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
  });

  it('takes every usual kind of key, as text or as bytes', async () => {
    for (const algorithm of ['rsa:2048', 'ec', 'ed25519'] as const) {
      const made = makeCertificates(algorithm);
      const key = Buffer.from(made.key);
      await store.tls.set({
        key,
        certificate: Buffer.from(made.certificate),
        chain: Buffer.from(made.chain),
      });
      assert.equal(key.toString(), made.key, "the caller's bytes are the caller's");
      await store.tls.extract({ directory });
      holds(made);
    }
  });

  it('replaces files over former ones, with an inode of their own, and removes the chain that is no more', async () => {
    await store.tls.set(one);
    await store.tls.extract({ directory });
    const inode = statSync(join(directory, 'tls.key')).ino;
    await store.tls.set({ key: two.key, certificate: two.certificate });
    await store.tls.extract({ directory });
    assert.equal(read('tls.key'), two.key);
    assert.equal(read('tls.crt'), two.certificate);
    assert.deepEqual(files(), ['tls.crt', 'tls.key']);
    assert.notEqual(statSync(join(directory, 'tls.key')).ino, inode);
    await store.tls.extract({ directory });
  });

  it('gives files that a TLS server serves', async () => {
    await store.tls.set(one);
    await store.tls.extract({ directory });
    const server = createServer({ key: read('tls.key'), cert: read('tls.crt') + read('chain.pem') });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect({ port: (server.address() as AddressInfo).port, rejectUnauthorized: false });
    await once(client, 'secureConnect');
    const { raw, issuerCertificate } = client.getPeerCertificate(true);
    const body = (pem: string): string => pem.replaceAll(/-----[^-]*-----|\s/g, '');
    assert.equal(raw.toString('base64'), body(one.certificate));
    assert.equal(issuerCertificate.raw.toString('base64'), body(one.chain));
    client.destroy();
    server.close();
    await once(server, 'close');
  });

  it('refuses a certificate of another key and what cannot be read, and keeps what was set', async () => {
    await store.tls.set(one);
    const { key, certificate, chain } = one;
    await rejectsReason(store.tls.set({ key, certificate: two.certificate, chain }), 'certificate-mismatch');
    for (const wrong of [
      { key: certificate, certificate, chain },
      { key: '', certificate, chain },
      { key: key + two.key, certificate, chain },
      { key, certificate: certificate + chain, chain: '' },
      { key, certificate: '', chain },
      { key, certificate, chain: key },
      { key, certificate, chain: 'x'.repeat(262_145) },
      { key: 'x'.repeat(16_385), certificate, chain },
    ]) {
      await rejectsReason(store.tls.set(wrong), 'invalid-argument');
    }
    for (const wrong of [{ key, certificate: 7 }, { certificate }, { key, certificate, extra: 1 }]) {
      await rejectsReason(store.tls.set(wrong as never), 'invalid-option');
    }
    await store.tls.extract({ directory });
    holds(one);
  });

  it('answers tls-not-set when there is none, also after it was removed; files stay', async () => {
    await rejectsReason(store.tls.extract({ directory }), 'tls-not-set');
    assert.equal(await store.tls.certificate(), undefined);
    assert.deepEqual(files(), []);
    await store.tls.set(one);
    await store.tls.extract({ directory });
    await store.tls.remove();
    assert.equal(await store.tls.certificate(), undefined);
    await rejectsReason(store.tls.extract({ directory }), 'tls-not-set');
    holds(one);
  });

  it('leaves the former files when it fails', async () => {
    await store.tls.set(one);
    await store.tls.extract({ directory });
    await store.tls.set(two);
    // What is no plain file is not replaced, and is met before anything is renamed.
    rmSync(join(directory, 'tls.crt'));
    mkdirSync(join(directory, 'tls.crt'));
    await rejectsReason(store.tls.extract({ directory }), 'unsafe-path');
    assert.equal(read('tls.key'), one.key);
    assert.equal(read('chain.pem'), one.chain);
    rmSync(join(directory, 'tls.crt'), { recursive: true });
    symlinkSync('/etc/passwd', join(directory, 'tls.crt'));
    await rejectsReason(store.tls.extract({ directory }), 'unsafe-path');
    assert.equal(read('tls.key'), one.key);
    assert.deepEqual(files(), ['chain.pem', 'tls.crt', 'tls.key']);
    rmSync(join(directory, 'tls.crt'));
    await store.tls.extract({ directory });
    holds(two);
  });

  it('overwrites what an extraction that was killed left behind', async () => {
    for (const name of ['tls.key.new', 'tls.crt.new', 'chain.pem.new'])
      writeFileSync(join(directory, name), 'half');
    await store.tls.set(one);
    await store.tls.extract({ directory });
    holds(one);
    assert.deepEqual(files(), ['chain.pem', 'tls.crt', 'tls.key']);
  });

  it('writes only into a directory that is there and that nobody else may write to', async () => {
    await store.tls.set(one);
    await rejectsReason(store.tls.extract({ directory: join(directory, 'none') }), 'not-found');
    chmodSync(directory, 0o777);
    await rejectsReason(store.tls.extract({ directory }), 'unsafe-path');
    assert.deepEqual(files(), []);
    for (const wrong of ['', 7, undefined, 'a\0b']) {
      await rejectsReason(store.tls.extract({ directory: wrong as never }), 'invalid-option');
    }
  });

  it('leaves no part of the key in the files of the store, and changes nothing where only reading is allowed', async () => {
    await store.tls.set(one);
    const line = one.key.split('\n')[1]!;
    for (const place of [world.directory, world.secrets]) {
      for (const name of readdirSync(place)) assert.ok(!readFileSync(join(place, name)).includes(line), name);
    }
    const reader = await world.open({ readOnly: true });
    await rejectsReason(reader.tls.set(two), 'read-only');
    await rejectsReason(reader.tls.remove(), 'read-only');
    await reader.tls.extract({ directory });
    holds(one);
    await store.close();
    await rejectsReason(store.tls.extract({ directory }), 'closed');
    await rejectsReason(store.tls.set(two), 'closed');
  });
});
