// The form for a new token on real SoftHSM2 tokens: which PIN each slot wants, what is refused before anything is changed,
// and which token the pages show afterwards.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';

import { backupPassword, bytes, HsmWorld, pin, softhsm, soPin } from '../support/softhsm.js';
import { hsmPath, passwordPath, Rig, type Browser } from './support.js';

describe('the form for a new token', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let rig: Rig | undefined;
  let browser: Browser;
  let lostSerial: string;
  let slotId: number;

  beforeEach(async () => {
    world = new HsmWorld();
    lostSerial = (await world.make()).serial;
    await world.makeStore();
    world.loseTokens();
    slotId = await world.emptySlot();
  });
  afterEach(async () => {
    await rig?.stop();
    rig = undefined;
    await world.closeAll();
  });
  const start = async (options: Parameters<typeof Rig.start>[1] = {}): Promise<void> => {
    rig = await Rig.start(world, options);
    browser = await rig.insider();
  };
  const form = (changes: Record<string, string> = {}): Record<string, string> => ({
    slotId: String(slotId),
    label: 'acme',
    soPin,
    soPinAgain: soPin,
    ...changes,
  });
  const refused = async (changes: Record<string, string>): Promise<any> => {
    const csrf = await browser.csrf(hsmPath());
    const before = world.files();
    const answer = await browser.postJson(hsmPath(), { csrf, ...form(changes) });
    const { status } = answer;
    const view = status === 202 ? await browser.settled() : answer.json();
    assert.equal(view.page, 'hsm');
    assert.deepEqual(world.files(), before);
    assert.ok((await world.list()).every(({ initialised, label }) => !initialised || label === 'other'));
    return { status, ...view.problem };
  };

  it('reports per slot whether the PIN of the security officer is new, and its permitted length', async () => {
    const other = await world.make('other');
    await start();
    const { slots, hasUserPin } = (await browser.json(hsmPath())).json();
    const of = (id: number): any => slots.find((slot: any) => slot.slotId === id);
    assert.deepEqual([of(other.slotId).soPin, of(other.slotId).pinBytes], ['existing', { min: 4, max: 255 }]);
    const empty = await world.emptySlot();
    assert.deepEqual([of(empty).soPin, of(empty).pinBytes], ['new', { min: 4, max: 255 }]);
    assert.equal(hasUserPin, true);
  });

  it('refuses a new PIN that is too short, too long or typed differently, before the token is touched', async () => {
    await start();
    for (const wrong of ['123', 'x'.repeat(256)]) {
      const { status, reason, about, message } = await refused({ soPin: wrong, soPinAgain: wrong });
      assert.deepEqual([status, reason, about], [400, 'pin-length', 'so-pin']);
      assert.match(message, /slot \d+ takes a PIN of 4 to 255 bytes/);
    }
    const { status, about } = await refused({ soPinAgain: `${soPin}x` });
    assert.deepEqual([status, about], [400, 'so-pin-again']);
    assert.equal((await refused({ soPin: '', soPinAgain: '' })).reason, 'pin-missing');
    const page = await browser.submit(hsmPath(), form({ soPinAgain: '' }));
    assert.equal(page.status, 400);
    assert.match(page.text, /The two PINs of the security officer differ/);
    assert.match(page.text, /id="so-pin"[^>]*aria-invalid="true"/);
    assert.ok(!page.text.includes(soPin));
  });

  it('refuses a user PIN of the configuration that does not fit, before the token is touched', async () => {
    await start({ protector: world.protector({ pin: bytes('123') }) });
    const { reason, about, message } = await refused({});
    assert.deepEqual([reason, about], ['pin-length', 'user-pin']);
    assert.match(message, /the user PIN of the configuration has 3 bytes/);
    assert.match(
      (await browser.get(hsmPath())).text,
      /The server’s user PIN has the wrong length for this slot/,
    );
  });

  it('compares no second PIN where the token has its PIN already, or a program sends none', async () => {
    const other = await world.make('other');
    await start();
    await browser.submit(hsmPath(), form({ slotId: String(other.slotId), erase: 'other', soPinAgain: '' }));
    assert.equal((await browser.settled()).page, 'password');
    await rig?.stop();
    world.loseTokens();
    slotId = await world.emptySlot();
    await start();
    const csrf = await browser.csrf(hsmPath());
    const once = { slotId, label: 'acme', soPin };
    assert.equal((await browser.postJson(hsmPath(), { csrf, ...once })).status, 202);
    assert.equal((await browser.settled()).page, 'password');
  });

  it('offers no form without a user PIN in the configuration; a URI with a pin-source has one', async () => {
    await start({ protector: { type: 'pkcs11', module: softhsm, token: 'acme' } });
    assert.equal((await browser.json(hsmPath())).json().hasUserPin, false);
    const page = await browser.get(hsmPath());
    assert.ok(!page.text.includes('<form') && page.text.includes('no user PIN is configured'));
    await rig?.stop();
    const file = join(world.root, 'pin');
    writeFileSync(file, pin);
    await start({
      protector: { type: 'pkcs11', uri: `pkcs11:token=acme?module-path=${softhsm}&pin-source=file:${file}` },
    });
    assert.equal((await browser.json(hsmPath())).json().hasUserPin, true);
    const csrf = await browser.csrf(hsmPath());
    await browser.post(hsmPath(), { csrf, ...form() });
    const view = await browser.settled();
    assert.equal(view.page, 'password');
    assert.ok(view.facts.newToken.serial !== lostSerial);
  });

  it('shows the serial number of the new token and not the lost one, also after a restart', async () => {
    await start();
    await browser.submit(hsmPath(), form());
    const made = (await browser.settled()).facts.newToken;
    const { serial = '' } = (await world.list()).find(({ initialised }) => initialised) ?? {};
    assert.deepEqual(made, { label: 'acme', serial });
    for (const again of [false, true]) {
      if (again) {
        await rig?.stop();
        await start();
      }
      const { text } = await browser.get(passwordPath);
      assert.ok(text.includes(serial) && !text.includes(lostSerial));
    }
    await browser.submit(passwordPath, { password: backupPassword });
    const result = await browser.settled();
    assert.deepEqual([result.page, result.facts.token, result.facts.newToken], ['result', made, undefined]);
  });
});
