// What the wizard shows while a look at the store is under way: each test holds that look where it lists the tokens.
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';

import type { NativeBinding } from '../../lib/native-binding.js';
import { PersistenceError } from '../../lib/errors.js';
import { PasswordThrottle } from '../../lib/restore/throttle.js';
import { readWizardOptions } from '../../lib/wizard/options.js';
import { Progress } from '../../lib/wizard/progress.js';
import { bytes, HsmWorld, pin } from '../support/softhsm.js';
import { binding } from '../support/stores.js';
import { until } from '../deploy/support.js';

describe("the wizard's looks at the store", function () {
  this.timeout(30_000);
  let world: HsmWorld;
  let progress: Progress | undefined;
  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
    await world.makeStore();
  });
  afterEach(async () => {
    await progress?.close();
    progress = undefined;
    await world.closeAll();
  });

  const begin = async (seen: (at: Progress) => Promise<void> | void, changes = {}): Promise<Progress> => {
    const watched: NativeBinding = {
      ...binding,
      listTokens: async (protector) => {
        if (progress !== undefined) await seen(progress);
        return binding.listTokens(protector);
      },
    };
    progress = await Progress.begin(
      readWizardOptions({
        directory: world.directory,
        protector: world.protector(),
        detectEveryMs: 1,
        ...changes,
      }),
      { binding: watched, throttle: world.throttle },
    );
    return progress;
  };

  it('an outage that is over has no form: after its page comes the result', async () => {
    const away = `${world.tokens}-away`;
    renameSync(world.tokens, away);
    const pages = new Set<string>();
    const at = await begin((shown) => void pages.add(shown.show().page));
    await until('a look', () => pages.has('outage'));
    renameSync(away, world.tokens);
    await until('the result', () => pages.add(at.show().page).has('result'));
    assert.deepEqual([...pages], ['outage', 'result']);
  });

  it('a wait after wrong passwords is told as every other one', async () => {
    world.destroyKek();
    let nowMs = 0;
    const throttle = new PasswordThrottle(() => nowMs);
    const wrong = (): Promise<never> =>
      Promise.reject(new PersistenceError('password-wrong', 'the password is wrong'));
    for (let i = 0; i < 10; ++i) {
      nowMs += 300_000;
      await throttle.attempt(world.directory, wrong).catch(() => undefined);
    }
    const options = { directory: world.directory, protector: world.protector() };
    progress = await Progress.begin(readWizardOptions(options), { binding, throttle });
    assert.throws(() => progress!.restore(bytes('a password')), /wrong passwords: try again in 2 min 8 s$/);
  });

  it('nothing is begun while it is being closed', async () => {
    world.destroyKek();
    let looking: () => void = () => undefined;
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (looking = resolve));
    const release = new Promise<void>((resolve) => (goOn = resolve));
    const at = await begin(() => {
      looking();
      return release;
    });
    await held;
    const closed = at.close();
    assert.throws(() => {
      at.restore(bytes('any'));
    }, /restore-busy|being restored/);
    goOn();
    await closed;
    assert.equal(await at.finished, 'closed');
  });

  it('what a look found wrong is over with the next one that finds nothing wrong', async () => {
    world.destroyKek();
    const source = { fails: false };
    const given = (): Promise<Buffer> =>
      source.fails ? Promise.reject(new Error('not there')) : Promise.resolve(bytes(pin));
    const at = await begin(() => undefined, { protector: world.protector({ pin: given }) });
    const problem = (): unknown => {
      const shown = at.show();
      assert.equal(shown.page, 'password');
      return 'problem' in shown ? shown.problem : undefined;
    };
    assert.equal(problem(), undefined);
    source.fails = true;
    await until('a problem', () => problem() !== undefined);
    source.fails = false;
    await until('it is over', () => problem() === undefined);
  });
});
