// The other half of `SetupPersistenceFiles()`: no key material in the JavaScript heap, in logs, in errors, in the status
// or on a command line.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { temporaryDirectory } from '../support/stores.js';
import { secretValue } from './forge.js';
import { assertNoSecrets, password, Place, rejection, runChild, spellings } from './support.js';

describe('acceptance: secrecy', () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.closeAll());

  it('`SetupPersistenceFiles()`: no key material in the JavaScript heap, on the command line or in the environment', async () => {
    const passwordFile = join(temporaryDirectory(), 'password');
    const secretPassword = Buffer.from('uncommonly-long-backup-password-0193');
    writeFileSync(passwordFile, secretPassword, { mode: 0o600 });
    const heap = join(temporaryDirectory(), 'heap.heapsnapshot');
    const child = await runChild(
      place,
      `import { readFileSync } from 'node:fs';
       import { writeHeapSnapshot } from 'node:v8';
       globalThis.control = 'control:the-snapshot-is-searched';
       const password = () => readFileSync(${JSON.stringify(passwordFile)});
       const store = await strongroom.open({ ...options, recovery: { password } });
       await store.vault.set('seats/1', Buffer.from('value'), { durability: 'witnessed' });
       await store.verifyPassword(password);
       await store.verifyPassword(Buffer.from('wrong')).catch((error) => { globalThis.refusal = error; });
       await store.verify();
       globalThis.status = store.status();
       tell(readFileSync('/proc/self/cmdline', 'latin1') + readFileSync('/proc/self/environ', 'latin1'));
       writeHeapSnapshot(${JSON.stringify(heap)});
       await store.close();`,
    );
    assert.equal(child.end, 0, child.stderr);
    const root = secretValue(readFileSync(place.path('secrets/test.RootKey')));
    const { dek, vaultSalt } = place.forge();
    const snapshot = readFileSync(heap, 'latin1');
    assert.ok(snapshot.includes('control:the-snapshot-is-searched'), 'the search finds what is there');
    for (const secret of [root, dek, vaultSalt, place.forge().vaultKey(), secretPassword]) {
      for (const spelling of spellings(secret)) {
        assert.ok(!snapshot.includes(spelling), 'in the heap');
        assert.ok(!child.lines.join('\n').includes(spelling), 'on the command line or in the environment');
        assert.ok(!child.stderr.includes(spelling), 'on standard error');
      }
      assert.ok(!snapshot.includes([...secret].join(',')), 'as an array of numbers');
    }
  });

  it('`SetupPersistenceFiles()`: no key material in the status, the audit log, a report, an event or an error', async () => {
    await place.made();
    const material = place.keyMaterial();
    assert.equal(material.length, 3);
    const store = await place.open();
    const events: unknown[] = [];
    store.on('vault', (event) => events.push(event));
    await store.vault.set('seats/1', Buffer.from('value'), { durability: 'witnessed' });
    for (const value of [
      store,
      store.status(),
      await store.auditLog(),
      await store.verify(),
      store.vault,
      store.validator,
      await rejection(store.verifyPassword(Buffer.from('no'))),
      await rejection(store.changePassword(Buffer.from('no'), password)),
      await rejection(store.addPassword(Buffer.from('no'), password)),
      await rejection(store.addPassword(password, password)),
      JSON.stringify(store.status()),
      events,
    ]) {
      assertNoSecrets(value, material);
    }
    await store.close();
    assertNoSecrets(await place.inspect(), material);
  });

  it("`SetupPersistenceFiles()`: a caller's password is copied and the copy wiped; the caller's own is left alone", async () => {
    const own = Buffer.from(password);
    const store = await place.open({ recovery: { password: own, kdf: { memoryKiB: 64, passes: 1 } } });
    assert.ok(own.equals(password));
    await store.verifyPassword(own);
    assert.ok(own.equals(password));
    await store.close();
  });
});
