// The TPM as the root of a store: sealing, its refusals and the way back, what it enforces itself. Each test has a swtpm of its own.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Reason } from '../../lib/errors.js';
import { CountingRelay } from '../support/swtpm.js';
import { readTpmSlot } from './forge.js';
import { assertNoSecrets, password, recovery, rejection, text } from './support.js';
import { TpmPlace } from './tpm-place.js';

const bytes = (value: string): Buffer => Buffer.from(value);

describe('acceptance: TPM root', function () {
  this.timeout(120_000);
  let place: TpmPlace;
  beforeEach(async () => {
    place = await TpmPlace.made();
  });
  afterEach(() => place.closeAll());

  /** Refused as no attack, with nothing changed on disk, and telling nothing secret. */
  const refusedAsFault = async (reason: Reason): Promise<void> => {
    const error = await place.refused(reason);
    assert.equal(error.code, 'PERS_8005');
    assert.equal((await place.inspect({ protector: { type: 'tpm', ...place.tpmOptions } })).verdict, reason);
  };

  /** After a reseal by the password the store is what it was. */
  const reseals = async (protector: object = {}, continuity = 'proven'): Promise<void> => {
    const store = await place.perform('reseal', { password }, { protector: { type: 'tpm', ...protector } });
    assert.equal(text(store.vault.get('seats/1')), 'value 1');
    assert.equal(store.status().continuity, continuity);
    await store.close();
    await place.visit(({ vault }) => {
      assert.equal(text(vault.get('seats/1')), 'value 1');
    });
  };

  describe('TPM root', () => {
    it('TPM root: other PCR values are told, and reseal brings the store back', async () => {
      place.tpmOptions = { pcrs: [16, 23] };
      await place.made();
      place.tpm.extend(16);
      await refusedAsFault('tpm-pcr-changed');
      await rejection(place.perform('reseal', { password: bytes('wrong') })).then((error) =>
        assert.equal(error.reason, 'password-wrong'),
      );
      await refusedAsFault('tpm-pcr-changed');
      await reseals();
      // The next boot has the old values again.
      await place.tpm.restart();
      await refusedAsFault('tpm-pcr-changed');
      place.tpmOptions = { pcrs: [0, 23] };
      await reseals(place.tpmOptions);
      place.tpmOptions = { pcrs: [0] };
      const error = await rejection(place.open());
      assert.equal(error.reason, 'invalid-option');
      assert.match(error.message, /protector\.pcrs/);
    });

    it('TPM root: PIN missing and PIN wrong are told apart, lock nothing, and show in nothing', async () => {
      const pin = bytes('2580');
      place.tpmOptions = { pin };
      await place.made();
      place.tpmOptions = {};
      await refusedAsFault('pin-missing');
      place.tpmOptions = { pin: bytes('0852') };
      for (let i = 0; i < 40; ++i) {
        const error = await rejection(place.open());
        assert.equal(error.reason, 'pin-wrong');
        assertNoSecrets(error, [bytes('0852')]);
      }
      await refusedAsFault('pin-wrong');
      place.tpmOptions = { pin: () => Promise.resolve(pin) };
      await place.visit((store) => {
        assert.equal(store.status().tpm!.pin, true);
        assertNoSecrets(store.status(), [pin]);
      });
      // Forgotten: the password sets another, or takes it away.
      place.tpmOptions = { pin: bytes('1397') };
      await reseals({ pin: bytes('1397') });
      place.tpmOptions = {};
      assert.equal((await rejection(place.perform('reseal', { password }))).reason, 'pin-missing');
      await reseals({ pin: 'none' });
    });

    it('TPM root: the PIN is asked for only where there is one', async () => {
      await place.made();
      let asked = 0;
      place.tpmOptions = {
        pin: () => {
          asked += 1;
          return bytes('1');
        },
      };
      await place.visit();
      assert.equal(asked, 0);
    });

    it('TPM root: an absent TPM is waited for, a replaced and a cleared one are told apart', async () => {
      await place.made();
      await place.tpm.kill();
      const absent = await place.refused('tpm-unavailable');
      assert.deepEqual([absent.code, absent.retryable], ['PERS_8005', true]);
      await place.tpm.start();
      await place.visit();
      await place.tpm.replace();
      await refusedAsFault('tpm-replaced');
      await reseals({}, 'unproven');
      const accepted = await place.perform('reanchor', { password });
      await accepted.close();
      place.tpm.clear();
      await refusedAsFault('tpm-cleared');
      await reseals({}, 'unproven');
      await place.tpm.restart();
      await place.visit();
    });

    it('TPM root: an owner password is refused by name', async () => {
      place.tpm.tool('changeauth', '-c', 'owner', 'secret');
      const error = await rejection(place.open({ recovery }));
      assert.deepEqual([error.code, error.reason], ['PERS_8005', 'tpm-refused']);
      assert.match(error.message, /owner/);
      assert.deepEqual(place.snapshot(), new Map());
    });

    it('TPM root: dictionary-attack lockout does not reach a store', async () => {
      place.tpmOptions = { pin: bytes('2580') };
      await place.made();
      lockOut(place);
      await place.visit();
      place.tpmOptions = { pin: bytes('0852') };
      await refusedAsFault('pin-wrong');
    });

    it('TPM root: a COLDSTART without a backup password must be asked for in so many words', async () => {
      const error = await rejection(place.open());
      assert.equal(error.reason, 'invalid-option');
      assert.deepEqual(place.snapshot(), new Map());
      assert.deepEqual(place.tpm.handles('handles-nv-index'), []);
      const store = await place.open({ recovery: 'none' });
      assert.equal(store.status().rewindableBy, 'no-one');
      await store.close();
    });

    it('TPM root: an interrupted COLDSTART is begun again', async () => {
      for (const step of ['CreateAndLoadVault', 'InitializeStorageIdentifier', 'UpdateTimeTamper']) {
        const trace = (name: string): void => {
          if (name === step) throw new Error('cut');
        };
        assert.equal((await rejection(place.open({ recovery, trace }))).reason, 'initialization-failed');
        place.tpm.flush();
      }
      await place.made();
      assert.equal(place.tpm.handles('handles-nv-index').length, 2);
      await place.visit();
    });

    it('TPM root: switching to software, or naming a SecretStore, is refused', async () => {
      await place.made();
      const secretStore = { type: 'file', directory: place.secrets } as const;
      for (const changes of [
        { protector: { type: 'software' }, secretStore },
        { protector: undefined, secretStore },
        { protector: { type: 'software' } },
      ]) {
        await place.refused('invalid-option', () => place.open(changes as never));
      }
    });
  });

  describe('TPM seal epoch', () => {
    it('TPM seal epoch: tpm2-tools unseal the root of a persistence.bin in its time, and never after', async () => {
      // A persistent storage key, so that the tools need not make the same primary key.
      const srk = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt';
      place.tpm.tool(
        'createprimary',
        '-C',
        'o',
        '-g',
        'sha256',
        '-G',
        'ecc256:aes128cfb',
        '-a',
        srk,
        '-c',
        'srk.ctx',
      );
      place.tpm.tool('evictcontrol', '-C', 'o', '-c', 'srk.ctx', '0x81000001');
      place.tpm.flush();
      await place.made();
      const slot = readTpmSlot(place.read('persistence.bin'));
      const backup = place.snapshot();

      const inItsTime = unsealByTools(place, slot);
      assert.equal(inItsTime.status, 0, inItsTime.stderr);
      const root = Buffer.from(inItsTime.stdout.trim(), 'hex');
      const dek = slot.unwrap(root);
      assert.equal(dek.length, 32);

      await place.visit();
      const after = unsealByTools(place, slot);
      assert.notEqual(after.status, 0);
      assert.match(after.stderr, /policy/i);
      // And the present one opens the same DEK by another root.
      const present = readTpmSlot(place.read('persistence.bin'));
      const now = unsealByTools(place, present);
      assert.equal(now.status, 0, now.stderr);
      assert.ok(present.unwrap(Buffer.from(now.stdout.trim(), 'hex')).equals(dek));
      assert.notEqual(now.stdout, inItsTime.stdout);
      // Whoever leaves the counter out of the policy does not get far either.
      assert.notEqual(unsealByTools(place, present, false).status, 0);

      place.restore(backup);
      await place.refused('vault-rolled-back');
      assert.equal((await rejection(place.perform('reseal', { password }))).reason, 'vault-rolled-back');
      const store = await place.perform('reanchor', { password });
      assert.equal(store.startup, 'WARMSTART');
      await store.close();
      await place.visit();
      // Once at a checkpoint: the counter is part of it, so the same files are another checkpoint now, and refused again.
      place.restore(backup);
      await place.refused('vault-rolled-back');
    });
  });

  describe('TPM path', () => {
    it('TPM path: no command of the TPM on the path of a default-durability write', async () => {
      const relay = await CountingRelay.started(place.tpm);
      try {
        place.tpmOptions = { tcti: relay.tcti };
        await place.made();
        relay.commands.length = 0;
        const store = await place.open();
        const [start, ms] = [relay.commands.length, performance.now()];
        for (let i = 0; i < 1000; ++i) await store.vault.set(`key/${i % 100}`, bytes(String(i)));
        const took = performance.now() - ms;
        assert.equal(relay.commands.length, start, 'commands during 1,000 set()s');
        await store.vault.set('key', bytes('value'), { durability: 'witnessed' });
        const witnessed = relay.commands.length - start;
        assert.ok(witnessed > 0);
        await store.close();
        console.log(
          `      warm start: ${start} commands; 1,000 journal set()s: 0 in ${took.toFixed(0)} ms; ` +
            `one witnessed set(): ${witnessed}; close: ${relay.commands.length - start - witnessed}`,
        );
      } finally {
        await relay.stop();
      }
    });
  });
});

/** Objects of others under dictionary-attack protection are guessed at until the TPM locks itself. */
function lockOut({ tpm }: TpmPlace): void {
  tpm.tool('createprimary', '-C', 'o', '-c', 'p.ctx');
  tpm.tool('flushcontext', '--transient-object');
  writeFileSync(join(tpm.directory, 'data'), 'data');
  tpm.tool('create', '-C', 'p.ctx', '-i', 'data', '-p', 'right', '-u', 'o.pub', '-r', 'o.priv');
  tpm.tool('load', '-C', 'p.ctx', '-u', 'o.pub', '-r', 'o.priv', '-c', 'o.ctx');
  for (let i = 0; i < 40; ++i) {
    tpm.flush();
    tpm.tryTool('unseal', '-c', 'o.ctx', '-p', 'wrong');
    if (/inLockout:\s+1/.test(tpm.tool('getcap', 'properties-variable'))) break;
  }
  tpm.flush();
  assert.match(tpm.tool('getcap', 'properties-variable'), /inLockout:\s+1/);
}

/** The attacker's own tool: satisfies the policy of a sealed root, and unseals it. `stdout` is hexadecimal. */
function unsealByTools(
  { tpm }: TpmPlace,
  { publicArea, privateArea, counterIndex, atMost }: ReturnType<typeof readTpmSlot>,
  withCounter = true,
): { status: number | null; stdout: string; stderr: string } {
  writeFileSync(join(tpm.directory, 'root.pub'), publicArea);
  writeFileSync(join(tpm.directory, 'root.priv'), privateArea);
  const operand = Buffer.alloc(8);
  operand.writeBigUInt64BE(atMost);
  writeFileSync(join(tpm.directory, 'operand'), operand);
  tpm.flush();
  tpm.tool('load', '-C', '0x81000001', '-u', 'root.pub', '-r', 'root.priv', '-c', 'root.ctx');
  tpm.tool('flushcontext', '--transient-object');
  tpm.tool('startauthsession', '--policy-session', '-S', 'session.ctx');
  const index = `0x${counterIndex.toString(16)}`;
  if (withCounter) {
    const policy = tpm.tryTool('policynv', '-S', 'session.ctx', '-C', 'o', '-i', 'operand', index, 'ule');
    if (policy.status !== 0) return policy;
  }
  const unsealed = tpm.tryTool('unseal', '-c', 'root.ctx', '-p', 'session:session.ctx', '-o', 'root.bin');
  tpm.flush();
  if (unsealed.status !== 0) return unsealed;
  return { ...unsealed, stdout: readFileSync(join(tpm.directory, 'root.bin')).toString('hex') };
}
