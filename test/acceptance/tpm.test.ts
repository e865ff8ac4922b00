// The TPM's half of the workflow, on a real swtpm: each test has one of its own.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spawn, type ChildProcess } from 'node:child_process';

import type { Reason } from '../../lib/errors.js';
import { CountingRelay } from '../support/swtpm.js';
import { quickKdf, temporaryDirectory } from '../support/stores.js';
import { readTpmSlot } from './forge.js';
import {
  assertNoSecrets,
  assertSame,
  checkAgainstTable,
  day,
  dist,
  hour,
  minute,
  password,
  recovery,
  rejection,
  text,
} from './support.js';
import { TpmPlace } from './tpm-place.js';

const bytes = (value: string): Buffer => Buffer.from(value);

describe('acceptance: TPM', function () {
  this.timeout(120_000);
  let place: TpmPlace;
  beforeEach(async () => {
    place = await TpmPlace.made();
  });
  afterEach(() => place.closeAll());

  /** Opens, writes, and closes in order. */
  const use = (value: string): Promise<void> =>
    place.visit(({ vault }) => vault.set('seats/1', bytes(value)));

  /** Refused as no attack, with nothing changed on disk, and telling nothing secret. */
  const refusedAsFault = async (reason: Reason): Promise<void> => {
    const error = await place.refused(reason);
    assert.equal(error.code, 'PERS_8005');
    assert.equal((await place.inspect({ storage: { type: 'tpm', ...place.tpmOptions } })).verdict, reason);
  };

  /** After a reseal by the password the store is what it was. */
  const reseals = async (storage: object = {}, continuity = 'proven'): Promise<void> => {
    const store = await place.act('reseal', { password }, { storage: { type: 'tpm', ...storage } });
    assert.equal(text(store.vault.get('seats/1')), 'value 1');
    assert.equal(store.status().continuity, continuity);
    await store.close();
    await place.visit(({ vault }) => {
      assert.equal(text(vault.get('seats/1')), 'value 1');
    });
  };

  describe('TPM and no-TPM', () => {
    it('TPM and no-TPM: storage tpm says what it is, and needs no SecretStore', async () => {
      await place.made();
      const store = await place.open();
      const { storage, securityLevel, tpm, witnesses, secretStore } = store.status();
      // A swtpm must not pass for a chip.
      assert.deepEqual([storage, securityLevel, secretStore], ['tpm', 'tpm-virtual', undefined]);
      assert.deepEqual(
        witnesses.map(({ name, lagGenerations }) => [name, lagGenerations]),
        [
          ['tamper-file', 0],
          ['tpm-counter', 0],
        ],
      );
      assert.match(tpm!.description, /^IBM SW TPM/);
      // COLDSTART made one to have a value that nobody else has had; then its open and close, and this open.
      assert.equal(tpm!.wear.increments, 4);
      assert.ok(tpm!.counterIndex >= 0x01800000 && tpm!.counterIndex <= 0x01bfffff);
      await store.close();
      const [index] = place.tpm.handles('handles-nv-index');
      assert.equal(Number(index), tpm!.counterIndex);
      const attributes = place.tpm.tool('nvreadpublic', index!);
      assert.match(attributes, /friendly: authwrite\|nt=0x1\|ownerread\|authread\|no_da\|written/);
    });

    it('TPM and no-TPM: files of the same hour, one minute old or younger, are refused', async () => {
      await place.made();
      for (const age of [hour / 2, minute, 1000, 0]) {
        const backup = place.snapshot();
        await use('before');
        place.clock.advance(age);
        await use('after');
        const newest = place.snapshot();
        place.restore(backup);
        const error = await place.refused('vault-rolled-back');
        assert.equal(error.code, 'PERS_8003');
        place.restore(newest);
        await place.visit();
      }
    });

    it('TPM and no-TPM: files copied while open, before a clean close, are refused', async () => {
      await place.made();
      const store = await place.open();
      await store.vault.set('seats/1', bytes('newer'));
      const copied = place.snapshot();
      await store.close();
      const newest = place.snapshot();
      place.restore(copied);
      await place.refused('vault-rolled-back');
      place.restore(newest);
      await place.visit(({ vault }) => {
        assert.equal(text(vault.get('seats/1')), 'newer');
      });
    });

    it('TPM and no-TPM: each file alone from before is refused', async () => {
      await place.made();
      const backup = place.snapshot();
      await use('newer');
      const newest = place.snapshot();
      for (const file of ['store/vault.bin', 'store/persistence.bin']) {
        place.restore(newest);
        place.restore(backup, (name) => name === file);
        const error = await rejection(place.open());
        assert.equal(error.code, 'PERS_8003', file);
      }
      // An older tmtmp.bin alone merely lags.
      place.restore(newest);
      place.restore(backup, (name) => name === 'store/tmtmp.bin');
      await place.visit();
    });

    it('TPM and no-TPM: tmtmp.bin missing has no fallback where no SecretStore vouches', async () => {
      await place.made();
      place.remove('tmtmp.bin');
      const error = await place.refused('witness-missing');
      assert.equal(error.code, 'PERS_8003');
      const store = await place.act('reanchor', { password });
      await store.close();
      await place.visit();
    });

    it('TPM and no-TPM: the state of a vTPM restored with the files goes unnoticed, as its level says', async () => {
      await place.made();
      await place.tpm.stop();
      const [files, state] = [place.snapshot(), join(temporaryDirectory(), 'state')];
      place.tpm.copyState(state);
      await place.tpm.start();
      await use('newer');
      await place.tpm.stop();
      place.tpm.restoreState(state);
      await place.tpm.start();
      place.restore(files);
      await place.visit(({ vault }) => {
        assert.equal(text(vault.get('seats/1')), 'value 1');
      });
    });
  });

  describe('TPM counter', () => {
    it('TPM counter: all files deleted with the counter in place is no new trial; decommission makes one', async () => {
      await place.made();
      const whole = place.snapshot();
      place.restore(new Map());
      const error = await place.refused('partial-restore', () => place.open({ recovery }));
      assert.equal(error.code, 'PERS_8003');
      place.restore(whole);
      await place.act('decommission', { password });
      assert.deepEqual(place.tpm.handles('handles-nv-index'), []);
      await place.made();
      await place.visit();
    });

    it('TPM counter: another directory under the same instance name is no new trial either', async () => {
      await place.made();
      const error = await rejection(place.open({ directory: join(place.root, 'other'), recovery }));
      assert.deepEqual([error.code, error.reason], ['PERS_8003', 'partial-restore']);
      assert.match(error.message, /'test'/);
      assert.match(error.remedy, /choose a different one/);
      const other = await place.open({ directory: join(place.root, 'other'), recovery, instance: 'other' });
      await other.close();
      await place.visit();
    });

    it('TPM counter: indices of others are never touched', async () => {
      await place.made();
      const store = await place.open();
      const { counterIndex } = store.status().tpm!;
      await store.close();
      await place.act('decommission', { password });
      const foreign = `0x${counterIndex.toString(16)}`;
      place.tpm.tool('nvdefine', foreign, '-C', 'o', '-s', '8', '-a', 'ownerwrite|ownerread');
      writeFileSync(join(place.tpm.directory, 'value'), 'whoever!');
      place.tpm.tool('nvwrite', foreign, '-C', 'o', '-i', 'value');
      await place.made();
      const again = await place.open();
      assert.notEqual(again.status().tpm!.counterIndex, counterIndex);
      await again.close();
      await place.act('decommission', { password });
      assert.equal(place.tpm.tool('nvread', foreign, '-C', 'o', '-s', '8'), 'whoever!');
    });

    it('TPM counter: taken away it is a missing witness, put back by another it is a replaced one', async () => {
      await place.made();
      const index = place.tpm.handles('handles-nv-index')[0]!;
      place.tpm.tool('nvundefine', index, '-C', 'o');
      assert.equal((await place.refused('witness-missing')).code, 'PERS_8003');
      place.tpm.tool(
        'nvdefine',
        index,
        '-C',
        'o',
        '-s',
        '8',
        '-a',
        'nt=counter|authwrite|authread|ownerread|no_da',
      );
      place.tpm.tool('nvincrement', index);
      assert.equal((await place.refused('witness-replaced')).code, 'PERS_8003');
      place.tpm.tool('nvundefine', index, '-C', 'o');
      const store = await place.act('reanchor', { password });
      assert.equal(text(store.vault.get('seats/1')), 'value 1');
      await store.close();
      await place.visit();
    });

    it('TPM counter: one witnessed commit is enough, also when node is killed after it', async () => {
      place.clock.setWall(Date.now());
      const load = await WitnessedLoad.started(place);
      await load.acknowledged(3);
      load.pause();
      const older = place.snapshot();
      load.resume();
      await load.acknowledged(load.acknowledgedCount + 3);
      await load.kill();
      place.tpm.flush();
      const killed = place.snapshot();
      place.clock.setWall(Date.now());
      place.restore(older);
      const error = await place.refused('vault-rolled-back');
      assert.equal(error.code, 'PERS_8003');
      place.restore(killed);
      await place.visit(({ vault }) => {
        const found = Number(text(vault.get('count')));
        assert.ok(found >= load.acknowledgedCount, `${found} of ${load.acknowledgedCount}`);
      });
    });

    it('TPM counter: the swtpm killed under load costs a retry, and locks nothing', async () => {
      place.clock.setWall(Date.now());
      for (let death = 0; death < 3; ++death) {
        const load = await WitnessedLoad.started(place);
        await load.acknowledged(3);
        await place.tpm.kill();
        const failed = await load.failed;
        assert.match(failed, /^witness-not-moved true|^tpm-unavailable/);
        await load.kill();
        place.clock.setWall(Date.now());
        await refusedWhileAbsent();
        await place.tpm.start();
        await place.visit(({ vault }) => {
          assert.ok(Number(text(vault.get('count'))) >= load.acknowledgedCount);
        });
      }
      assert.match(place.tpm.tool('getcap', 'properties-variable'), /inLockout:\s+0/);
    });

    const refusedWhileAbsent = async (): Promise<void> => {
      const error = await place.refused('tpm-unavailable');
      assert.deepEqual([error.code, error.retryable], ['PERS_8005', true]);
    };

    it('TPM counter: it is witnessed commits, anchor(), open and close that move it', async () => {
      await place.made();
      const store = await place.open();
      const count = (): number => store.status().tpm!.wear.increments;
      const before = count();
      for (let i = 0; i < 50; ++i) await store.vault.set(`key/${i}`, bytes('value'));
      await store.vault.set('key', bytes('value'), { durability: 'journal' });
      assert.equal(count(), before);
      assert.ok(store.status().window.generations >= 50);
      await store.vault.anchor();
      assert.equal(count(), before + 1);
      assert.deepEqual(store.status().window, { generations: 0, seconds: 0 });
      await Promise.all(
        Array.from({ length: 64 }, (_, i) =>
          store.vault.set(`key/${i}`, bytes('newer'), { durability: 'witnessed' }),
        ),
      );
      assert.ok(count() <= before + 4, `${count() - before} increments for one group`);
      await store.close();
      assert.ok(store.status().tpm!.wear.increments <= before + 5);
    });
  });

  describe('TPM root', () => {
    it('TPM root: other PCR values are told, and reseal brings the store back', async () => {
      place.tpmOptions = { pcrs: [16, 23] };
      await place.made();
      place.tpm.extend(16);
      await refusedAsFault('tpm-pcr-changed');
      await rejection(place.act('reseal', { password: bytes('wrong') })).then((error) =>
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
      assert.match(error.message, /storage\.pcrs/);
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
      assert.equal((await rejection(place.act('reseal', { password }))).reason, 'pin-missing');
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
      const accepted = await place.act('reanchor', { password });
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
      assert.equal(store.status().rewindableBy, 'nobody');
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
      assert.equal(place.tpm.handles('handles-nv-index').length, 1);
      await place.visit();
    });

    it('TPM root: switching to software, or naming a SecretStore, is refused', async () => {
      await place.made();
      const secretStore = { type: 'file', directory: place.secrets } as const;
      for (const changes of [
        { storage: { type: 'software' }, secretStore },
        { storage: undefined, secretStore },
        { storage: { type: 'software' } },
      ]) {
        await place.refused('invalid-option', () => place.open(changes as never));
      }
    });
  });

  describe('TPM epoch', () => {
    it('TPM epoch: tpm2-tools unseal the root of a persistence.bin in its time, and never after', async () => {
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
      assert.equal((await rejection(place.act('reseal', { password }))).reason, 'vault-rolled-back');
      const store = await place.act('reanchor', { password });
      assert.equal(store.startup, 'WARMSTART');
      await store.close();
      await place.visit();
      // Once at a point: the counter is part of it, so the same files are another point now, and refused again.
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

  describe('time', () => {
    it('`ValidateTimeTamperAge()`: with a TPM an old state is recorded, not refused: the counter proves it current', async () => {
      await place.made();
      for (const [off, excused] of [
        [7 * day - hour, false],
        [8 * day, true],
        [400 * day, true],
      ] as const) {
        place.clock.reboot(off);
        const store = await place.open();
        assert.equal(store.status().time.excused, excused);
        const notices: string[] = [];
        store.on('notice', ({ kind }) => notices.push(kind));
        await store.vault.set('key', bytes('value'));
        await new Promise(setImmediate);
        await store.close();
        assert.deepEqual(notices, excused ? ['age-excused'] : []);
      }
    });

    it('scenario 4, rollback test: with a TPM a backup one minute old is refused, of whatever subset', async () => {
      await place.made();
      const backup = place.snapshot();
      place.clock.advance(minute);
      await use('newer');
      const newest = place.snapshot();
      for (const names of [
        ['vault.bin'],
        ['vault.bin', 'tmtmp.bin'],
        ['persistence.bin'],
        ['persistence.bin', 'vault.bin', 'tmtmp.bin'],
      ]) {
        place.restore(newest);
        place.restore(backup, (name) => names.includes(name.replace('store/', '')));
        const before = place.snapshot();
        const error = await rejection(place.open());
        assert.equal(error.code, 'PERS_8003', names.join());
        checkAgainstTable(error);
        assertSame(before, place.snapshot());
      }
    });

    it('scenario 5, clock rollback test: with a TPM the clock set backwards is refused, and heals', async () => {
      await place.made();
      const right = place.clock.wallMs();
      for (const back of [3 * minute, day, 365 * day]) {
        place.clock.setWall(right - back);
        const error = await place.refused('clock-rolled-back');
        assert.deepEqual([error.code, error.retryable], ['PERS_8003', true]);
        place.clock.reboot(0);
        place.clock.setWall(right - back);
        await place.refused('clock-rolled-back');
      }
      place.clock.setWall(right);
      await place.visit();
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

/** A process that commits with `witnessed` for ever. */
class WitnessedLoad {
  acknowledgedCount = 0;
  /** The first failure of a commit: its reason, and `committed`. */
  readonly failed: Promise<string>;
  readonly #child: ChildProcess;
  #waiting: { count: number; resolve: () => void } | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.failed = new Promise((resolve) => {
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const [word, rest] = [line.split(' ', 1)[0]!, line.slice(line.indexOf(' ') + 1)];
        if (word === 'failed') resolve(rest);
        if (word !== 'acknowledged') return;
        this.acknowledgedCount = Number(rest);
        if (this.#waiting !== undefined && this.acknowledgedCount >= this.#waiting.count)
          this.#waiting.resolve();
      });
    });
  }

  static started({ directory, tcti }: TpmPlace): Promise<WitnessedLoad> {
    const script = `
      import { writeSync } from 'node:fs';
      const { open } = await import(${JSON.stringify(dist)});
      const kdf = ${JSON.stringify(quickKdf)};
      const store = await open({ directory: ${JSON.stringify(directory)}, instance: 'test',
        storage: { type: 'tpm', tcti: ${JSON.stringify(tcti)} }, recovery: { password: Buffer.from(${JSON.stringify(password.toString())}), kdf } });
      let count = Number(store.vault.get('count') ?? 0);
      for (;;) {
        count += 1;
        try {
          await store.vault.set('count', Buffer.from(String(count)), { durability: 'witnessed' });
          writeSync(1, 'acknowledged ' + count + '\\n');
        } catch (error) {
          writeSync(1, 'failed ' + error.reason + ' ' + error.committed + ' ' + error.message + '\\n');
          await new Promise((resolve) => setTimeout(resolve, 1e6));
        }
      }`;
    const file = join(temporaryDirectory(), 'load.mjs');
    writeFileSync(file, script);
    return Promise.resolve(
      new WitnessedLoad(spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] })),
    );
  }

  async acknowledged(count: number): Promise<void> {
    const start = this.acknowledgedCount;
    if (start >= count) return;
    const reached = new Promise<void>(
      (resolve) => (this.#waiting = { count: start === 0 ? 1 : count, resolve }),
    );
    const ended = once(this.#child, 'exit').then(() => assert.fail('the load ended'));
    await Promise.race([reached, ended]);
    if (this.acknowledgedCount < start + count && start === 0) {
      const more = this.acknowledgedCount + count;
      await new Promise<void>((resolve) => (this.#waiting = { count: more, resolve }));
    }
  }

  pause(): void {
    this.#child.kill('SIGSTOP');
  }
  resume(): void {
    this.#child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
