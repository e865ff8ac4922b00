// Our copies of passwords, PINs and private keys: wiped once they were used, whatever came of it. The caller's own bytes are
// left alone.
import assert from 'node:assert/strict';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { decommissionStore, performOperation } from '../lib/operations/administrative.js';
import { inspectStore } from '../lib/operations/inspection.js';
import type { OpenStore } from '../lib/store/open-store.js';
import { PersistenceService } from '../lib/store/persistence-service.js';
import type { Pkcs11ProtectorOptions } from '../lib/protectors/pkcs11.js';
import { restoreStore } from '../lib/restore/restore.js';
import { readPassword } from '../lib/options/secrets.js';
import { makeToken } from '../lib/restore/token-setup.js';
import { detectLoss } from '../lib/restore/world.js';
import { makeCertificates } from './support/certificates.js';
import { rejectsReason, throwsReason } from './support/errors.js';
import { backupPassword, bytes, HsmWorld, pin, softhsm, soPin } from './support/softhsm.js';
import { quickKdf, World } from './support/stores.js';
import { readWizardOptions } from '../lib/wizard/options.js';
import { listen } from '../lib/wizard/server.js';
import { hsmPath, passwordPath, Rig } from './wizard/support.js';
import { SecretWatch } from './support/watching.js';

describe('copies of secrets are wiped', function () {
  this.timeout(60_000);
  let watch: SecretWatch;
  beforeEach(() => {
    watch = new SecretWatch();
  });
  afterEach(() => {
    watch.stop();
  });

  it('a copy is made of bytes and wiped; bytes that a function gives are its own', async () => {
    const own = bytes('correct horse');
    const source = readPassword(own, 'password')!;
    const copy = await source.take();
    assert.equal(Buffer.from(copy).toString(), 'correct horse');
    source.forget();
    assert.ok(copy.every((byte) => byte === 0));
    assert.equal(own.toString(), 'correct horse');
    const given = readPassword(() => own, 'password')!;
    assert.equal(await given.take(), own);
    given.forget();
    assert.equal(own.toString(), 'correct horse');
  });

  describe('of a store without hardware', () => {
    let world: World;
    const password = bytes('correct horse');
    const wrong = bytes('wrong');
    const next = bytes('battery staple');
    beforeEach(() => {
      world = new World();
    });
    afterEach(async () => {
      await world.closeAll();
      assert.deepEqual([password, wrong, next].map(String), ['correct horse', 'wrong', 'battery staple']);
    });
    const open = async (changes: object = {}): Promise<OpenStore> => {
      const service = new PersistenceService(
        watch.binding,
        world.options({ recovery: { password, kdf: quickKdf }, ...changes }),
        { clock: world.clock },
      );
      return service.initialize();
    };

    it('the password of a COLDSTART, before the first file is written and when it is refused', async () => {
      const steps: string[] = [];
      const store = await open({
        trace: (step: string) => {
          steps.push(step);
          if (step === 'SetupPersistenceFiles') watch.assertWiped('correct horse');
        },
      });
      assert.ok(steps.includes('SetupPersistenceFiles'));
      await store.close();
      await rejectsReason(open({ signal: AbortSignal.abort() }), 'aborted');
      watch.assertGone('correct horse');
      await (await open()).close();
      watch.assertGone('correct horse');
      await world.closeAll();
      world = new World();
      const long = Buffer.alloc(4097, 'x');
      await rejectsReason(open({ recovery: { password: long } }), 'invalid-argument');
      watch.assertWiped(long.toString());
    });

    it('a PIN beside an option that is refused', () => {
      const { directory, instance, secretStore } = world.options();
      const protector = { type: 'tpm', pin: bytes('2580-PIN') };
      for (const [more, reason] of [
        [{ secretStore }, 'invalid-option'],
        [{ recovery: { password: 'a string' } }, 'invalid-argument'],
      ] as const) {
        throwsReason(
          () => new PersistenceService(watch.binding, { directory, instance, protector, ...more }),
          reason,
        );
        watch.assertGone('2580-PIN');
      }
    });

    it('those of the calls for passwords and of a rotation', async () => {
      const store = await open();
      watch.assertWiped('correct horse');
      await store.verifyPassword(password);
      watch.assertWiped('correct horse');
      await rejectsReason(store.verifyPassword(wrong), 'password-wrong');
      watch.assertWiped('wrong');
      await store.addPassword(password, next);
      watch.assertWiped('correct horse', 'battery staple');
      await rejectsReason(store.addPassword(wrong, next), 'password-wrong');
      watch.assertWiped('wrong', 'battery staple');
      await store.removePassword(password, 3);
      watch.assertWiped('correct horse');
      await rejectsReason(store.changePassword(wrong, next), 'password-wrong');
      watch.assertWiped('wrong', 'battery staple');
      await store.rotateDek({ password });
      watch.assertWiped('correct horse');
      await rejectsReason(store.rotateDek({ password: wrong }), 'password-wrong');
      watch.assertWiped('wrong');
      await store.close();
    });

    it('that of a credential', async () => {
      await (await open()).close();
      watch.assertWiped('correct horse');
      const options = (given: Buffer) => ({ ...world.options(), credential: { password: given } });
      const { clock } = world;
      const act = (kind: 'reanchor' | 'recover', given: Buffer) =>
        performOperation(watch.binding, kind, options(given), { clock });
      await rejectsReason(act('reanchor', password), 'nothing-to-do');
      watch.assertWiped('correct horse');
      for (const name of readdirSync(world.secrets)) rmSync(join(world.secrets, name));
      await rejectsReason(act('recover', wrong), 'password-wrong');
      watch.assertWiped('wrong');
      await (await act('recover', password)).close();
      watch.assertWiped('correct horse');
      await decommissionStore(watch.binding, options(password), { clock });
      watch.assertWiped('correct horse');
    });

    it('a PIN of the options, where the password of a credential cannot be read or is not waited for', async () => {
      const { directory } = world.options();
      const protector = { type: 'tpm', pin: bytes('2580-PIN') } as const;
      const missing = { file: join(world.root, 'missing') };
      const never = (): Promise<Uint8Array> => new Promise(() => undefined);
      for (const [source, reason, signal] of [
        [missing, 'not-found', undefined],
        [never, 'aborted', AbortSignal.timeout(1)],
      ] as const) {
        const credential = { password: source };
        const options = { directory, protector, credential, ...(signal && { signal }) };
        await rejectsReason(performOperation(watch.binding, 'reanchor', options), reason);
        watch.assertGone('2580-PIN');
        await rejectsReason(restoreStore(watch.binding, options), reason);
        watch.assertGone('2580-PIN');
      }
    });

    it("a web server's key, where it was a string", async () => {
      const { key, certificate } = makeCertificates();
      const store = await open();
      watch.assertWiped('correct horse');
      await store.tls.set({ key, certificate });
      watch.assertWiped(key);
      await rejectsReason(store.tls.set({ key: 'no key', certificate }), 'invalid-argument');
      watch.assertWiped('no key');
      const own = bytes(key);
      await store.tls.set({ key: own, certificate });
      assert.equal(own.toString(), key);
      await store.close();
    });
  });

  describe('of a store in a token', () => {
    let world: HsmWorld;
    beforeEach(async () => {
      world = new HsmWorld();
      await world.make();
      await world.makeStore();
    });
    afterEach(() => world.closeAll());

    it('the PIN of a start, an inspection and a look at what is lost, from bytes or a file', async () => {
      const file = join(world.root, 'pin');
      writeFileSync(file, pin);
      const { pin: given, ...place } = world.protector();
      assert.ok(given instanceof Uint8Array);
      for (const protector of [
        world.protector(),
        { ...place, uri: `pkcs11:token=acme?pin-source=${file}` },
      ]) {
        const service = new PersistenceService(watch.binding, world.options({ protector }));
        await service.initialize();
        watch.assertWiped(pin);
        await service.close();
        await inspectStore(watch.binding, world.directory, { protector });
        watch.assertWiped(pin);
        await detectLoss(watch.binding, { directory: world.directory, protector });
        watch.assertWiped(pin);
      }
    });

    it('PINs and password of a new token and a restore, the refused one too', async () => {
      world.loseTokens();
      const plan = { module: softhsm, slotId: await world.emptySlot(), label: 'acme' };
      await rejectsReason(
        makeToken(watch.binding, { ...plan, soPin: bytes('#?!'), pin: bytes(pin) }),
        'pin-length',
      );
      watch.assertWiped('#?!', pin);
      const setUp = { label: plan.label, soPin: bytes(soPin) };
      const file = join(world.root, 'pin');
      const restore = async (
        password: string,
        protector: Pkcs11ProtectorOptions = world.protector(),
      ): Promise<OpenStore> =>
        restoreStore(
          watch.binding,
          {
            ...world.options({ protector }),
            setUp: { ...setUp, slotId: await world.emptySlot() },
            credential: { password: bytes(password) },
          },
          { throttle: world.throttle },
        );
      await rejectsReason(restore('wrong'), 'password-wrong');
      watch.assertWiped(pin, 'wrong');
      await (await restore(backupPassword)).close();
      watch.assertWiped(pin, soPin, backupPassword);
      world.loseTokens();
      writeFileSync(file, pin);
      const place = { type: 'pkcs11', module: softhsm } as const;
      const uri = `pkcs11:token=acme?pin-source=${file}`;
      await (await restore(backupPassword, { ...place, uri })).close();
      watch.assertWiped(pin, soPin, backupPassword);
    });
  });

  describe('of the restore page', () => {
    let world: HsmWorld;
    let rig: Rig | undefined;
    beforeEach(async () => {
      world = new HsmWorld();
      await world.make();
      await world.makeStore();
    });
    afterEach(async () => {
      await rig?.stop();
      rig = undefined;
      await world.closeAll();
    });
    const until = (name: string): Promise<unknown> => rig!.until(({ event }) => event === name);

    it('those in its options', () => {
      const { directory } = world;
      readWizardOptions({ directory, protector: world.protector(), soPin: bytes(soPin) });
      watch.assertGone(pin, soPin);
    });

    it('the key of its certificate', async () => {
      const { listening, close } = await listen(
        watch.binding,
        () => undefined,
        { names: [], origin: undefined },
        { port: 0 },
      );
      await close();
      const [key = ''] = watch.given;
      assert.match(key, /PRIVATE KEY/);
      assert.match(listening.url, /^https:/);
      watch.assertWiped(key);
    });

    it('a password, as a form and as JSON, the wrong one too', async () => {
      world.destroyKek();
      rig = await Rig.start(world);
      const browser = await rig.insider();
      const csrf = await browser.csrf(passwordPath);
      const assertGone = async (...texts: string[]): Promise<void> => {
        await browser.settled();
        watch.assertGone(...texts);
      };
      await browser.post(passwordPath, { csrf, password: 'a wrong password' });
      await assertGone('a wrong password', 'a+wrong+password');
      await browser.postJson(passwordPath, { csrf, password: 'another wrong one' });
      await assertGone('another wrong one');
      const broken = await browser.ask('POST', passwordPath, {
        headers: { 'content-type': 'application/json' },
        body: '{"password":"with a broken escape \\u12"}',
      });
      assert.equal(broken.status, 400);
      await assertGone('with a broken escape');
      const foreign = { csrf, password: 'of another site' };
      const refused = await browser.post(passwordPath, foreign, { origin: 'https://evil.example' });
      assert.equal(refused.status, 403);
      await assertGone('of another site', 'of+another+site');
      await browser.post(passwordPath, { csrf: 'x', password: 'of another form' });
      await assertGone('of another form', 'of+another+form');
      await browser.post(passwordPath, { csrf, password: backupPassword });
      assert.equal((await browser.settled()).page, 'result');
      watch.assertGone(backupPassword, backupPassword.replaceAll(' ', '+'));
    });

    it("a security officer's PIN", async () => {
      world.loseTokens();
      rig = await Rig.start(world);
      const browser = await rig.insider();
      const slotId = String(await world.emptySlot());
      await browser.submit(hsmPath(), { slotId, label: 'acme', soPin, soPinAgain: soPin });
      await until('token');
      await browser.settled();
      watch.assertGone(soPin, pin);
    });

    it('a body that came through somebody else’s server', async () => {
      world.destroyKek();
      rig = await Rig.start(world);
      const text = 'password=of+the+body';
      for (const broken of [false, true]) {
        const chunk = new TextEncoder().encode(text);
        const body = new ReadableStream<Uint8Array>({
          start(controller) {
            controller.enqueue(chunk);
          },
          pull(controller) {
            if (broken) controller.error(new Error('the client went away'));
            else controller.close();
          },
        });
        const { status } = await rig.wizard.fetch(
          new Request(`https://localhost${passwordPath}`, {
            method: 'POST',
            headers: {
              'content-length': String(text.length),
              'content-type': 'application/x-www-form-urlencoded',
              origin: 'https://localhost',
            },
            body,
            duplex: 'half',
          }),
        );
        assert.equal(status, broken ? 500 : 403);
        assert.ok(chunk.every((byte) => byte === 0));
        watch.assertGone('of the body', text);
      }
    });
  });
});
