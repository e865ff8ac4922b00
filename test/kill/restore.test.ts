// kill -9 at every step of a restore and of a rotation of the KEK, on real tokens; then the act is gone on with by another
// process. Whatever the step, the state at the end is the same.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { backupPassword, bytes, HsmWorld, pin, softhsm, soPin } from '../support/softhsm.js';
import { quickKdf } from '../support/stores.js';
import type { RestorePart } from './restore-worker.js';

const worker = fileURLToPath(new URL('restore-worker.ts', import.meta.url));

interface End {
  readonly signal: NodeJS.Signals | null;
  readonly said: string;
}

async function run(world: HsmWorld, part: Partial<RestorePart>): Promise<End> {
  const whole: RestorePart = {
    act: 'restore',
    directory: world.directory,
    secrets: world.secrets,
    module: softhsm,
    token: 'acme',
    pin,
    password: backupPassword,
    ...part,
  };
  const child = spawn(process.execPath, ['--import', 'tsx', worker, JSON.stringify(whole)], {
    env: world.environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { signal, said };
}

// As they begin: the core's, and those of the layer above.
const restoreSteps = [
  'password begun',
  'witnesses begun',
  'token begun',
  'begin',
  'kek',
  'witness',
  'commit',
  'file',
  'settle',
  'strays',
  'tls begun',
  'tls done',
  'hook begun',
  'hook done',
  'completed begun',
  'completed done',
];

describe('kill -9 in a restore', function () {
  this.timeout(300_000);
  let world: HsmWorld;
  let tls: string;
  let hook: string;
  const totals = { kills: 0, lost: 0, faults: 0 };

  const prepare = async (): Promise<void> => {
    world = new HsmWorld();
    await world.make();
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await Promise.all(Array.from({ length: 50 }, (_, n) => service.vault.set(`k${n}`, bytes(`v${n}`))));
    await service.keys.generate({ id: 'hsm-key', algorithm: 'EC-P256', location: 'hsm' });
    const key = join(world.root, 'key.pem');
    execFileSync(
      'openssl',
      ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', key],
      {
        stdio: 'ignore',
      },
    );
    const certificate = execFileSync(
      'openssl',
      ['req', '-x509', '-key', key, '-subj', '/CN=acme', '-days', '9'],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    await service.tls.set({ key: readFileSync(key), certificate });
    await service.close();
    tls = join(world.root, 'tls');
    mkdirSync(tls, { mode: 0o700 });
    hook = join(world.root, 'hook');
    writeFileSync(hook, `#!/bin/sh\necho ran >> ${world.root}/hook-ran\n`, { mode: 0o700 });
  };

  const expectWhole = async (signing: 'active' | 'deactivated'): Promise<void> => {
    assert.equal(world.keks(), 1, 'exactly one KEK');
    const service = await world.open();
    for (let n = 0; n < 50; n += 1) {
      if (service.vault.get(`k${n}`)?.toString() !== `v${n}`) totals.lost += 1;
    }
    assert.equal(service.restore?.completed ?? true, true);
    assert.equal(service.keys.get('hsm-key').state, signing);
    assert.equal(service.status().continuity, 'proven');
    await service.verify();
    await service.close();
    assert.equal(totals.lost, 0);
  };

  afterEach(async () => {
    await world.closeAll();
  });
  after(() => {
    console.log(
      `    kill -9 in a restore or rotation: ${totals.kills} kills, ${totals.lost} records lost, ${totals.faults} faults`,
    );
    assert.ok(totals.kills >= 2 * restoreSteps.length + 4);
  });

  for (const scenario of [1, 2] as const) {
    it(`scenario ${scenario}, at each of ${restoreSteps.length} steps`, async () => {
      for (const killAt of restoreSteps) {
        await prepare();
        const part: Partial<RestorePart> = { tlsDirectory: tls, hook };
        if (scenario === 1) {
          world.destroyKek();
        } else {
          world.loseTokens();
          Object.assign(part, { soPin, slotId: await world.emptySlot() });
        }
        const killed = await run(world, { ...part, killAt });
        assert.equal(killed.signal, 'SIGKILL', `${killAt}: ${killed.said}`);
        totals.kills += 1;
        const next = await world.detect();
        const finished = killAt === 'completed done';
        if (finished) {
          assert.equal(next.state, 'WIZARD_COMPLETED', killAt);
        } else {
          assert.match(next.state, /^WIZARD_(AUTO_RESTORE_PASSWORD|SETUP_HSM_AUTORESTORE)$/, killAt);
          const resumed = await run(world, part);
          if (resumed.said !== 'done\n') totals.faults += 1;
          assert.equal(resumed.said, 'done\n', killAt);
        }
        assert.ok(readFileSync(join(tls, 'tls.key'), 'utf8').includes('PRIVATE KEY'), killAt);
        assert.match(readFileSync(join(world.root, 'hook-ran'), 'utf8'), /^(ran\n)+$/);
        await expectWhole(scenario === 1 ? 'active' : 'deactivated');
        await world.closeAll();
      }
    });
  }

  it('a hook that fails and a kill after it: the restore is gone on with', async () => {
    await prepare();
    world.destroyKek();
    writeFileSync(hook, '#!/bin/sh\nexit 9\n');
    const failed = await run(world, { hook });
    assert.match(failed.said, /^hook-failed: .*exit code 9/);
    const killed = await run(world, { hook, killAt: 'hook begun' });
    assert.equal(killed.signal, 'SIGKILL');
    totals.kills += 1;
    assert.equal((await world.detect()).found.journal, 'pending');
    writeFileSync(hook, '#!/bin/sh\nexit 0\n');
    assert.equal((await run(world, { hook })).said, 'done\n');
    await expectWhole('active');
  });

  it('rotation of the KEK, at each of its steps', async () => {
    await prepare();
    for (const killAt of ['begin', 'kek', 'commit', 'strays']) {
      const before = (await world.detect()).token?.kekId;
      const killed = await run(world, { act: 'rotate', killAt });
      assert.equal(killed.signal, 'SIGKILL', killAt);
      totals.kills += 1;
      assert.equal((await run(world, { act: 'rotate' })).said, 'done\n', killAt);
      assert.notEqual((await world.detect()).token?.kekId, before);
      await expectWhole('active');
    }
  });
});
