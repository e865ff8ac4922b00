// The pages of the auto-restore workflow, over real TLS, on real SoftHSM2 tokens.
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { makeWizard } from '../../lib/wizard/index.js';
import { rejectsReason } from '../support/errors.js';
import { makeCertificates } from '../support/certificates.js';
import { backupPassword, bytes, HsmWorld, soPin, softhsm } from '../support/softhsm.js';
import { binding, quickKdf } from '../support/stores.js';
import {
  codePath,
  hsmPath,
  passwordPath,
  progressPath,
  resultPath,
  Rig,
  type Browser,
} from '../wizard/support.js';

describe('acceptance: auto-restore, the pages', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let rig: Rig | undefined;
  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
  });
  afterEach(async () => {
    await rig?.stop();
    rig = undefined;
    await world.closeAll();
  });

  const start = async (
    ...args: Parameters<typeof Rig.start> extends [unknown, ...infer Rest] ? Rest : never
  ) => {
    rig = await Rig.start(world, ...args);
    return rig;
  };
  const kekLost = async (): Promise<void> => {
    await world.makeStore();
    world.destroyKek();
  };
  const tokenLost = async (): Promise<void> => {
    await world.makeStore();
    world.loseTokens();
  };
  const opens = async (): Promise<void> => {
    const service = await world.open();
    assert.equal(service.vault.get('seats')?.toString(), '12');
    await service.close();
  };
  const setUpForm = (slotId: number, changes: Record<string, string> = {}) => ({
    slotId: String(slotId),
    label: 'acme',
    soPin,
    ...changes,
  });

  it('user accesses the web: nothing without the code of the log; with it the store is restored, and the page is closed', async () => {
    await kekLost();
    const { wizard, site, ...served } = await start();
    const code = served.events.find((event) => event.event === 'code')?.code ?? '';
    assert.match(code, /^([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}$/);

    const browser = rig!.browser();
    for (const path of ['/setup-wizard/', passwordPath, hsmPath(), progressPath, resultPath]) {
      const answer = await browser.get(path);
      assert.deepEqual([answer.status, answer.headers.location], [303, codePath], path);
    }
    const asked = await browser.get(codePath);
    assert.equal(asked.status, 200);
    const { storageId } = await world.detect();
    for (const told of ['acme', 'test', storageId!, world.root]) assert.ok(!asked.text.includes(told), told);
    assert.deepEqual((await browser.json(passwordPath)).json(), { page: 'code' });
    assert.equal((await browser.json(passwordPath)).status, 401);

    await browser.enter(code.toLowerCase().replaceAll('-', ' '));
    const entered = await browser.get(passwordPath);
    assert.equal(entered.status, 200);
    assert.ok(entered.text.includes('acme'));
    assert.equal((await browser.submit(passwordPath, { password: backupPassword })).status, 303);
    const view = await browser.settled();
    assert.equal(view.page, 'result');
    assert.deepEqual(
      view.steps.map(({ step, state }: any) => `${step} ${state}`),
      [
        ...['detect', 'password', 'witnesses', 'token', 'kek', 'witness', 'commit'].map(
          (step) => `${step} done`,
        ),
        'tls skipped',
        'hook skipped',
        'completed done',
      ],
    );
    assert.equal(await wizard.finished, 'restored');
    await assert.rejects(rig!.browser().get(codePath), { code: 'ECONNREFUSED' });
    assert.ok(site.port > 0);
    await opens();
    // The next start is scenario 3, and has no page.
    await rejectsReason(
      makeWizard(binding, { directory: world.directory, protector: world.protector() }),
      'nothing-to-do',
    );
  });

  it('user accesses the web: an outage asks for nothing and heals by itself', async () => {
    await world.makeStore();
    world.takeAway();
    const healthy = readFileSync(world.configuration);
    writeFileSync(
      world.configuration,
      `directories.tokendir = ${world.root}/nowhere\nobjectstore.backend = file\n`,
    );
    const { wizard } = await start({ detectEveryMs: 50 });
    assert.equal(wizard.state, 'OUTAGE');
    const browser = await rig!.insider();
    const page = await browser.get(progressPath);
    assert.equal(page.status, 200);
    assert.ok(!page.text.includes('type="password"'));
    const { page: name, problem } = (await browser.json(progressPath)).json();
    assert.deepEqual([name, problem.reason], ['outage', 'hsm-unreachable']);
    const refused = await browser.post(passwordPath, { csrf: 'x', password: backupPassword });
    assert.equal(refused.status, 403);

    const before = world.files();
    world.bringBack();
    writeFileSync(world.configuration, healthy);
    await rig!.until((event) => event.event === 'state' && event.state === 'WIZARD_COMPLETED');
    const result = await browser.settled();
    assert.deepEqual([result.page, result.healed], ['result', true]);
    assert.equal(await wizard.finished, 'healed');
    for (const [path, content] of before) assert.equal(world.files().get(path), content, path);
    await opens();
  });

  it('entrypoint skips unwrap and config: the files stay as they are, all else is 503, and the certificate is the logged one', async () => {
    await kekLost();
    const tls = join(world.root, 'tls');
    mkdirSync(tls);
    for (const name of ['tls.key', 'tls.crt']) writeFileSync(join(tls, name), 'live');
    const before = world.files();
    const { site, events } = await start({ tls: { directory: tls }, hook: '/bin/false' });
    const logged = events.find((event) => event.event === 'listening');
    assert.ok(logged?.event === 'listening');
    assert.equal(logged.url, `https://127.0.0.1:${site.port}/setup-wizard/`);
    const socket = await rig!.socket();
    const peer = socket.getPeerX509Certificate()!;
    assert.equal(logged.fingerprint, peer.fingerprint256);
    assert.match(socket.getProtocol() ?? '', /^TLSv1\.[23]$/);
    socket.destroy();

    const browser = rig!.browser();
    for (const path of [
      '/',
      '/healthz',
      '/index.html',
      '/setup-wizard.php',
      '/setup-wizard/admin/',
      '/api/vault',
    ]) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        const answer = await browser.ask(method, path, { headers: { origin: browser.origin } });
        assert.equal(answer.status, 503, `${method} ${path}`);
        assert.match(answer.headers['retry-after'] ?? '', /^\d+$/);
        assert.ok(answer.text.length < 100);
      }
    }
    await rejectsReason(world.open(), 'kek-missing');
    assert.deepEqual(world.files(), before);
    for (const name of ['tls.key', 'tls.crt']) assert.equal(readFileSync(join(tls, name), 'utf8'), 'live');
    // No key of the certificate lies anywhere.
    assert.ok(
      ![...world.files().values()].some((hex) => hex.includes(Buffer.from('PRIVATE KEY').toString('hex'))),
    );
  });

  it('entrypoint skips unwrap and config: protector software has no page, whatever module is named', async () => {
    await world.makeStore({ protector: { type: 'software' } });
    const options = {
      directory: world.directory,
      protector: world.protector({ module: '/nowhere/module.so' }),
    };
    await rejectsReason(makeWizard(binding, options), 'nothing-to-do');
    await rejectsReason(
      makeWizard(binding, { directory: world.directory, protector: { type: 'software' } }),
      'nothing-to-do',
    );
    await rejectsReason(
      makeWizard(binding, { directory: join(world.root, 'none'), protector: world.protector() }),
      'no-store',
    );
  });

  it('WIZARD_COMPLETED: comes last: a hook that fails leaves the store closed, and the page says so and goes on', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.vault.set('seats', bytes('12'));
    const credential = makeCertificates();
    await service.tls.set(credential);
    await service.close();
    world.destroyKek();
    const tls = join(world.root, 'tls');
    mkdirSync(tls);
    const hook = join(world.root, 'hook');
    writeFileSync(
      hook,
      `#!/bin/sh\ntest -e ${world.root}/mended || { echo bad configuration >&2; exit 7; }\n`,
      {
        mode: 0o755,
      },
    );
    const { wizard } = await start({ tls: { directory: tls }, hook });
    const browser = await rig!.insider();
    await browser.submit(passwordPath, { password: backupPassword });
    const failed = await browser.settled();
    assert.deepEqual([failed.page, failed.resumes, failed.problem.reason], ['password', true, 'hook-failed']);
    assert.match(failed.problem.message, /exit code 7: bad configuration/);
    assert.equal(failed.steps.find(({ step }: any) => step === 'hook').state, 'failed');
    await rejectsReason(world.open(), 'restore-required');
    assert.equal(readFileSync(join(tls, 'tls.crt'), 'utf8'), credential.certificate);

    writeFileSync(join(world.root, 'mended'), '');
    await browser.submit(passwordPath, { password: backupPassword });
    const done = await browser.settled();
    assert.equal(done.page, 'result');
    assert.equal(
      done.tlsFingerprint,
      createHash('sha256').update(new X509Certificate(credential.certificate).raw).digest('hex'),
    );
    await wizard.finished;
    assert.equal(world.keks(), 1);
    await opens();
  });

  it('`/setup-wizard/auto_restore_password/`: a form in its state, else a redirect; never stored; other methods are 405', async () => {
    await kekLost();
    await start();
    const browser = await rig!.insider();
    const form = await browser.get(passwordPath);
    assert.equal(form.status, 200);
    assert.equal(form.headers['cache-control'], 'no-store');
    assert.match(
      form.text,
      /<input[^>]*name="password"[^>]*type="password"|type="password"[^>]*name="password"/,
    );
    for (const path of [
      hsmPath(),
      hsmPath('physical'),
      progressPath,
      resultPath,
      codePath,
      '/setup-wizard/',
    ]) {
      const answer = await browser.get(path);
      const aim = path === codePath ? '/setup-wizard/' : passwordPath;
      assert.deepEqual([answer.status, answer.headers.location], [303, aim], path);
      assert.equal(answer.headers['cache-control'], 'no-store');
    }
    const head = await browser.ask('HEAD', passwordPath);
    assert.deepEqual([head.status, head.text], [200, '']);
    const before = world.files();
    for (const method of ['PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
      const answer = await browser.ask(method, passwordPath, { headers: { origin: browser.origin } });
      assert.equal(answer.status, 405, method);
      assert.equal(answer.headers.allow, 'GET, HEAD, POST');
    }
    assert.deepEqual(world.files(), before);
  });

  it('`/setup-wizard/auto_restore_password/`: POST needs the CSRF token; wrong passwords change nothing and make one wait', async () => {
    await kekLost();
    await start();
    const browser = await rig!.insider();
    const token = await browser.csrf(passwordPath);
    const before = world.files();
    for (const csrf of [undefined, '', 'x', token.slice(1), `${token}A`, token.toUpperCase()]) {
      const answer = await browser.post(passwordPath, {
        password: backupPassword,
        ...(csrf !== undefined && { csrf }),
      });
      assert.equal(answer.status, 403);
    }
    assert.deepEqual(world.files(), before);
    for (let wrong = 1; wrong <= 3; ++wrong) {
      assert.equal(
        (await browser.post(passwordPath, { csrf: token, password: `wrong ${wrong}` })).status,
        303,
      );
      const view = await browser.settled();
      assert.deepEqual(
        [view.page, view.problem.reason, view.wrongAttempts],
        ['password', 'password-wrong', wrong],
      );
    }
    assert.deepEqual(world.files(), before);
    const html = await browser.post(passwordPath, { csrf: token, password: backupPassword });
    assert.equal(html.status, 429);
    assert.equal(html.headers['retry-after'], '1');
    const answer = await browser.postJson(
      passwordPath,
      { password: backupPassword },
      { 'x-csrf-token': token },
    );
    assert.equal(answer.status, 429);
    const { problem } = answer.json();
    assert.equal(problem.reason, 'password-throttled');
    assert.ok(problem.retryAfterMs > 0 && problem.retryAfterMs <= 1000);
    await new Promise((resolve) => setTimeout(resolve, problem.retryAfterMs));
    assert.equal((await browser.post(passwordPath, { csrf: token, password: backupPassword })).status, 303);
    assert.equal((await browser.settled()).page, 'result');
  });

  it('`/setup-wizard/auto_restore_password/`: a second POST at the same time is RESTORE_BUSY, and one KEK exists afterwards', async () => {
    await kekLost();
    await start({ resultGraceMs: 5000 });
    const browser = await rig!.insider();
    const csrf = await browser.csrf(passwordPath);
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        i % 2 === 0
          ? browser.post(passwordPath, { csrf, password: backupPassword })
          : browser.postJson(passwordPath, { csrf, password: backupPassword }),
      ),
    );
    const begun = answers.filter(({ status }) => status === 303 || status === 202);
    assert.equal(begun.length, 1);
    for (const answer of answers) {
      if (begun.includes(answer)) continue;
      assert.equal(answer.status, 409);
      if (answer.headers['content-type']?.includes('json') === true)
        assert.equal(answer.json().problem.reason, 'restore-busy');
    }
    assert.equal((await browser.settled()).page, 'result');
    assert.equal(world.keks(), 1);
    await opens();
  });

  it('`/setup-wizard/auto-restore-hsm-setup/<hsm_type>/`: softhsm and physical are the same page, an unknown type is 404', async () => {
    await tokenLost();
    await start();
    const browser = await rig!.insider();
    assert.equal((await browser.get('/setup-wizard/')).headers.location, hsmPath('softhsm'));
    const slotId = await world.emptySlot();
    for (const type of ['softhsm', 'physical']) {
      const view = (await browser.json(hsmPath(type))).json();
      assert.deepEqual([view.page, view.hsmType, view.given.label], ['hsm', type, 'acme']);
      const { description } = view.slots[0];
      assert.deepEqual(view.slots, [{ slotId, description, soPin: 'new', pinBytes: { min: 4, max: 255 } }]);
      assert.equal(view.facts.token.label, 'acme');
    }
    for (const type of ['tpm', 'SoftHSM', 'softhsm2', 'softhsm/x', '']) {
      const path = `/setup-wizard/auto-restore-hsm-setup/${type}${type === '' ? '' : '/'}`;
      assert.equal((await browser.get(path)).status, 404, path);
      assert.equal((await browser.post(path, {})).status, 404, path);
    }
    const put = await browser.ask('PUT', hsmPath(), { headers: { origin: browser.origin } });
    assert.deepEqual([put.status, put.headers.allow], [405, 'GET, HEAD, POST']);
    assert.equal((await browser.get(passwordPath)).headers.location, hsmPath('softhsm'));

    assert.equal((await browser.post(hsmPath('physical'), setUpForm(slotId))).status, 403);
    assert.equal((await browser.submit(hsmPath('physical'), setUpForm(slotId))).status, 303);
    const next = await browser.settled();
    assert.deepEqual([next.page, next.problem], ['password', undefined]);
    await browser.submit(passwordPath, { password: backupPassword });
    assert.equal((await browser.settled()).page, 'result');
    await opens();
  });

  it('`/setup-wizard/auto-restore-hsm-setup/<hsm_type>/`: shows what would be erased, and erases it only by its label', async () => {
    await tokenLost();
    const other = await world.make('other');
    await start();
    const browser = await rig!.insider();
    const { slots } = (await browser.json(hsmPath())).json();
    assert.deepEqual(slots.find(({ slotId }: any) => slotId === other.slotId).erases, {
      label: 'other',
      serial: other.serial,
    });
    const page = await browser.get(hsmPath());
    assert.ok(page.text.includes('other') && page.text.includes(other.serial));
    const before = world.files();
    for (const changes of [{}, { erase: 'acme' }, { erase: 'Other' }, { erase: 'other ' }]) {
      await browser.submit(hsmPath(), setUpForm(other.slotId, changes));
      const view = await browser.settled();
      assert.deepEqual([view.page, view.problem.reason], ['hsm', 'token-not-confirmed']);
    }
    // Another label than the configured one, a slot that is not there, a label that is none.
    const empty = await world.emptySlot();
    const refusals = [
      [setUpForm(empty, { label: 'another' }), 'invalid-option'],
      [setUpForm(4_000_000_123), 'token-missing'],
    ] as const;
    for (const [form, reason] of refusals) {
      await browser.submit(hsmPath(), form);
      assert.equal((await browser.settled()).problem.reason, reason);
    }
    for (const label of ['', 'x'.repeat(33), 'a\r\nb', 'a\0b']) {
      assert.equal((await browser.submit(hsmPath(), setUpForm(empty, { label }))).status, 400);
    }
    assert.equal((await browser.submit(hsmPath(), setUpForm(empty, { slotId: '-1' }))).status, 400);
    assert.equal((await browser.submit(hsmPath(), setUpForm(empty, { soPin: '' }))).status, 400);
    assert.deepEqual(world.files(), before);
    // The token itself counts it, and stays.
    await browser.submit(hsmPath(), setUpForm(other.slotId, { erase: 'other', soPin: '00000000-no' }));
    assert.equal((await browser.settled()).problem.reason, 'pin-wrong');
    assert.equal((await world.list()).find(({ label }) => label === 'other')?.serial, other.serial);

    await browser.submit(hsmPath(), setUpForm(other.slotId, { erase: 'other' }));
    assert.equal((await browser.settled()).page, 'password');
    assert.deepEqual(
      (await world.list()).filter(({ initialised }) => initialised).map(({ label }) => label),
      ['acme'],
    );
  });

  it('`/setup-wizard/auto-restore-hsm-setup/<hsm_type>/`: the slot counts when two tokens exist; lost keys are told', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.vault.set('seats', bytes('12'));
    await service.keys.generate({ id: 'ca', algorithm: 'EC-P256', location: 'hsm' });
    await service.close();
    world.loseTokens();
    const [first, second] = [await world.make('first'), await world.make('second')];
    await start({
      soPin: bytes(soPin),
      protector: { type: 'pkcs11', module: softhsm, pin: world.protector().pin! },
    });
    const browser = await rig!.insider();
    assert.equal((await browser.json(hsmPath())).json().asksSoPin, false);
    await browser.submit(hsmPath(), setUpForm(second.slotId, { erase: 'second', label: 'first' }));
    assert.equal((await browser.settled()).problem.reason, 'token-exists');
    await browser.submit(hsmPath(), setUpForm(second.slotId, { erase: 'second', label: 'third', soPin: '' }));
    assert.equal((await browser.settled()).page, 'password');
    const tokens = (await world.list()).filter(({ initialised }) => initialised);
    assert.deepEqual(tokens.map(({ label }) => label).sort(), ['first', 'third']);
    assert.equal(tokens.find(({ label }) => label === 'first')?.serial, first.serial);
    await browser.submit(passwordPath, { password: backupPassword });
    const result = await browser.settled();
    assert.equal(result.page, 'result');
    assert.equal(result.facts.token.label, 'third');
    assert.deepEqual(
      result.deactivatedKeys.map(({ id }: any) => id),
      ['ca'],
    );
    assert.ok(result.deactivatedKeys[0].why.length > 0);
    await rig!.wizard.finished;
    const again = await world.open({
      protector: { type: 'pkcs11', module: softhsm, pin: world.protector().pin! },
    });
    assert.equal(again.vault.get('seats')?.toString(), '12');
  });

  it('Done: the log of the wizard tells the story, and neither it nor a page holds a secret', async () => {
    await tokenLost();
    await start({ resultGraceMs: 5000 });
    const browser: Browser = await rig!.insider();
    const seen: string[] = [];
    await browser.submit(hsmPath(), setUpForm(await world.emptySlot()));
    await browser.settled();
    await browser.submit(passwordPath, { password: 'a wrong password' });
    seen.push(JSON.stringify(await browser.settled()), (await browser.get(passwordPath)).text);
    await browser.submit(passwordPath, { password: backupPassword });
    seen.push(JSON.stringify(await browser.settled()), (await browser.get(resultPath)).text);
    const told = rig!.events.map(({ event }) => event);
    for (const event of ['code', 'listening', 'state', 'session', 'token', 'failed', 'step'])
      assert.ok(told.includes(event as (typeof told)[number]), event);
    const log = JSON.stringify(rig!.events);
    for (const secret of [backupPassword, 'a wrong password', soPin, '1234-user']) {
      assert.ok(!log.includes(secret), secret);
      assert.ok(!seen.some((text) => text.includes(secret)), secret);
    }
    assert.ok(existsSync(world.directory));
  });
});
