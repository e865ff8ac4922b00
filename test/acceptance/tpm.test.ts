// The TPM's half of the workflow, on a real swtpm: each test has one of its own.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spawn, type ChildProcess } from 'node:child_process';

import { quickKdf, temporaryDirectory } from '../support/stores.js';
import {
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

  describe('TPM and no-TPM', () => {
    it('TPM and no-TPM: protector tpm says what it is, and needs no SecretStore', async () => {
      await place.made();
      const store = await place.open();
      const { protector, securityLevel, tpm, witnesses, secretStore } = store.status();
      // A swtpm must not pass for a chip.
      assert.deepEqual([protector, securityLevel, secretStore], ['tpm', 'tpm-virtual', undefined]);
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
      // No counter was ever in this TPM.
      assert.equal(tpm!.counterBegan, 1);
      await store.close();
      const [index, extendIndex] = place.tpm.handles('handles-nv-index');
      assert.deepEqual([Number(index), Number(extendIndex)], [tpm!.counterIndex, tpm!.extendIndex]);
      // Nobody reads it who does not know its secret.
      assert.match(
        place.tpm.tool('nvreadpublic', extendIndex!),
        /friendly: authwrite\|nt=0x\d\|authread\|no_da\|written/,
      );
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
      const store = await place.perform('reanchor', { password });
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
      await place.decommission({ password });
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
      await place.decommission({ password });
      const foreign = `0x${counterIndex.toString(16)}`;
      place.tpm.tool('nvdefine', foreign, '-C', 'o', '-s', '8', '-a', 'ownerwrite|ownerread');
      writeFileSync(join(place.tpm.directory, 'value'), 'whoever!');
      place.tpm.tool('nvwrite', foreign, '-C', 'o', '-i', 'value');
      await place.made();
      const again = await place.open();
      assert.notEqual(again.status().tpm!.counterIndex, counterIndex);
      await again.close();
      await place.decommission({ password });
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
      const store = await place.perform('reanchor', { password });
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
      assert.deepEqual(store.status().window, {
        generations: 0,
        seconds: 0,
        waitingMs: 0,
        maxMs: 86_400_000,
      });
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
        protector: { type: 'tpm', tcti: ${JSON.stringify(tcti)} }, recovery: { password: Buffer.from(${JSON.stringify(password.toString())}), kdf } });
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
