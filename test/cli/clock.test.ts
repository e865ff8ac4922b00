// A clock that is wrong when a store is made, when it is opened next, or both: refused or accepted, and once the clock is right
// nobody has to do anything. The processes run under libfaketime.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { pin, HsmWorld, softhsm } from '../support/softhsm.js';
import { json, strongroom, type Outcome } from './support.js';

const faketime = 'libfaketime.so.1';
const wrong = ['-400d', '-1h', '+0', '+2d', '+8d'] as const;
const shim = fileURLToPath(new URL('../support/unsynchronised_clock.c', import.meta.url));

describe('a wrong clock', function () {
  this.timeout(120_000);
  let place: string;
  let libraries: string;
  before(() => {
    place = mkdtempSync(join(tmpdir(), 'strongroom-clock-'));
    libraries = dirname(
      execFileSync('sh', ['-c', `ls /usr/lib/*/faketime/${faketime}`])
        .toString()
        .trim(),
    );
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', join(place, 'unsynchronised.so'), shim]);
  });
  after(() => {
    rmSync(place, { recursive: true, force: true });
  });

  const at = (offset: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
    strongroom(args, {
      env: {
        ...env,
        LD_PRELOAD: `${join(libraries, faketime)}:${join(place, 'unsynchronised.so')}`,
        FAKETIME: offset,
        // The boot clock goes on as it is: only the wall clock is wrong.
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    });
  const reasonOf = ({ stderr }: Outcome): unknown => /\[PERS_\d+ ([a-z-]+)\]/.exec(stderr)?.[1];

  for (const first of wrong) {
    it(`made at ${first}: whatever the next start meets, the right clock opens it`, async () => {
      const directory = join(place, `store${first}`);
      const secrets = ['--secret-store', `file:${join(place, `secrets${first}`)}`];
      const made = await at(first, ['init', directory, '--no-recovery-password', ...secrets]);
      if (first === '-400d') {
        assert.deepEqual([made.code, reasonOf(made)], [4, 'clock-rolled-back'], made.stderr);
        return;
      }
      assert.equal(made.code, 0, made.stderr);
      for (const second of wrong) {
        const opened = await at(second, ['set', directory, 'key', 'value']);
        const reason = opened.code === 0 ? 'ok' : reasonOf(opened);
        assert.ok(
          opened.code === 0 ||
            (opened.code === 4 && ['clock-rolled-back', 'state-stale'].includes(String(reason))),
          `${second}: ${opened.code} ${opened.stderr}`,
        );
        // A clock that is ahead by more than the permitted age says nothing of how old the store is.
        if (second === '+8d' && first !== '+8d') {
          assert.equal(reason, 'state-stale');
          const { stdout } = await at(second, ['status', directory]);
          assert.match(stdout, /not safe to use this\s+state before that is known/);
          assert.doesNotMatch(stdout, /nothing is lost/);
        }
        if (second === '-400d') assert.equal(reason, 'clock-rolled-back');
        const right = await at('+0', ['set', directory, 'key', 'value']);
        assert.equal(right.code, 0, `${second}, then right: ${right.stderr}`);
      }
    });
  }

  it('a clock that is set while the store is open: stamped at once, so that a crash leaves no stale state', async () => {
    const offset = join(place, 'offset');
    writeFileSync(offset, '+0');
    const options = {
      directory: join(place, 'open'),
      secretStore: { type: 'file', directory: join(place, 'open-secrets') },
      recovery: 'none',
    };
    const code = `
      const { open } = await import(${JSON.stringify(fileURLToPath(new URL('../../lib/index.ts', import.meta.url)))});
      const store = await open(${JSON.stringify(options)});
      store.on('vault', ({ op }) => { if (op === 'time') console.log('stamped'); });
      console.log('open');
      setInterval(() => undefined, 1e6);
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        LD_PRELOAD: join(libraries, faketime),
        FAKETIME_TIMESTAMP_FILE: offset,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    });
    const closed = once(child, 'close');
    try {
      const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
      assert.equal((await lines.next()).value, 'open');
      writeFileSync(offset, '+20d');
      assert.equal((await lines.next()).value, 'stamped');
    } finally {
      child.kill('SIGKILL');
      await closed;
    }
    const again = await at('+20d', ['set', options.directory, 'key', 'value']);
    assert.equal(again.code, 0, again.stderr);
  });

  it('the gate waits for a clock that is wrong, and starts the service when it is right', async () => {
    const world = new HsmWorld();
    try {
      await world.make();
      const pinFile = join(world.root, 'pin');
      writeFileSync(pinFile, pin, { mode: 0o600 });
      const env = { SOFTHSM2_CONF: world.configuration, TEST_CLOCK: 'set' };
      const token = ['--module', softhsm, '--pin-file', pinFile];
      const made = await at(
        '+0',
        [
          ...['init', world.directory, '--protector', 'pkcs11', '--token', 'acme', '--no-recovery-password'],
          ...['--secret-store', `file:${world.secrets}`, ...token],
        ],
        env,
      );
      assert.equal(made.code, 0, made.stderr);
      const answers: [string, number | null, ...unknown[]][] = [];
      for (const offset of wrong) {
        const outcome = await at(offset, ['serve-gate', world.directory, ...token], env);
        const { start, reason, retryable } = json(outcome.stdout) as Record<string, unknown>;
        answers.push([offset, outcome.code, start, reason, retryable]);
      }
      const right = await at('+0', ['serve-gate', world.directory, ...token], env);
      assert.deepEqual([right.code, json(right.stdout).start], [0, 'service']);
      assert.deepEqual(answers, [
        ['-400d', 4, 'wait', 'clock-rolled-back', true],
        ['-1h', 4, 'wait', 'clock-rolled-back', true],
        ['+0', 0, 'service', undefined, undefined],
        ['+2d', 0, 'service', undefined, undefined],
        ['+8d', 4, 'wait', 'state-stale', true],
      ]);
    } finally {
      await world.closeAll();
    }
  });
});
