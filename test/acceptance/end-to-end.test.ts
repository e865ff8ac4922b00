// The auto-restore workflow from the entrypoint to the served certificate: the real entrypoint.sh, Debian's Apache on
// loopback, the wizard in a real Chromium, and curl, which trusts one root only. The tests go on with each other's world.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';

import type { Browser, Page } from 'playwright-core';

import { Account, Container } from '../deploy/entrypoint.js';
import { enter, launchFor, restoreLostToken } from '../deploy/restore-page.js';
import { Apache, freePort, install, isRoot, makeCredential, type Credential } from '../deploy/support.js';
import { backupPassword, bytes, HsmWorld, pin, softhsm, soPin, snapshot } from '../support/softhsm.js';
import { quickKdf } from '../support/stores.js';

describe('acceptance: end to end', function () {
  this.timeout(90_000);
  let world: HsmWorld;
  let account: Account;
  let apache: Apache;
  let container: Container;
  let browser: Browser | undefined;
  let wizardPort: number;
  const credentials: Credential[] = [];
  const running: Container[] = [];

  before(async () => {
    world = new HsmWorld();
    const { root } = world;
    await world.make();
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.vault.set('seats', bytes('12'));
    for (const name of ['first', 'second', 'third']) credentials.push(makeCredential(join(root, name)));
    const { key, certificate, chain } = credentials[0]!;
    await service.tls.set({ key: bytes(key), certificate, chain });
    await service.keys.generate({ id: 'ca', algorithm: 'EC-P256', location: 'hsm' });
    await service.close();

    const backendPort = await freePort();
    wizardPort = await freePort();
    apache = new Apache(root, await freePort(), backendPort);
    const { libexec, etc } = install(root);
    writeFileSync(join(etc, 'web-server.conf'), apache.settings(), { mode: 0o600 });
    const pinFile = join(root, 'pin');
    writeFileSync(pinFile, pin, { mode: 0o600 });
    // The service: answers with what it reads in the store.
    writeFileSync(
      join(root, 'service.mjs'),
      `import { execFileSync } from 'node:child_process';
       import { createServer } from 'node:http';
       const [, , directory, pin, port] = process.argv;
       const seats = execFileSync('strongroom', ['get', directory, 'seats', '--pin-file', pin]);
       createServer((_, response) => response.end('seats: ' + seats)).listen(port, '127.0.0.1', () => console.log('serving'));`,
    );
    account = new Account(root, libexec, {
      SOFTHSM2_CONF: world.configuration,
      STRONGROOM_PKCS11_MODULE: softhsm,
    });
    account.own(world.directory, world.secrets, world.tokens, apache.tls, pinFile);
    start = () => {
      container = new Container(
        account,
        {
          STRONGROOM_DIR: world.directory,
          STRONGROOM_PIN_FILE: pinFile,
          STRONGROOM_TLS_DIR: apache.tls,
          STRONGROOM_ON_RESTORED: account.hook,
          STRONGROOM_LISTEN: `127.0.0.1:${wizardPort}`,
          STRONGROOM_RETRY_S: '1',
        },
        process.execPath, join(root, 'service.mjs'), world.directory, pinFile, String(backendPort),
      ); // prettier-ignore
      running.push(container);
    };
  });
  // Each goes on where the one before it ended.
  let broken = false;
  beforeEach(() => {
    assert.ok(!broken, 'the one before it failed');
  });
  afterEach(function () {
    broken ||= this.currentTest?.state === 'failed';
  });
  after(async () => {
    await browser?.close();
    for (const each of running) await each.stop();
    await apache.stop();
    await world.closeAll();
  });

  let start: () => void;
  /** The back end's answer through Apache, verified by this root and no other. */
  const served = async ({ root }: Credential, expected = /^seats: 12\n200$/): Promise<void> => {
    const { code, stdout, stderr } = await apache.curl(root);
    assert.equal(code, 0, stderr);
    assert.match(stdout, expected);
  };
  const notServed = async ({ root }: Credential): Promise<void> => {
    assert.equal((await apache.curl(root)).code, 60);
  };
  const files = (): Map<string, string> =>
    snapshot(world.directory, world.secrets, world.tokens, apache.tls, apache.directory);
  /** Apache's own files: its log, and nothing else, may grow. */
  const withoutLog = (all: Map<string, string>): Map<string, string> =>
    new Map([...all].filter(([name]) => !name.includes('/apache/run/')));
  const strongroom = async (code: number, ...args: string[]): Promise<string> => {
    const outcome = await account.run('strongroom', ...args, '--pin-file', join(world.root, 'pin'));
    assert.equal(outcome.code, code, outcome.stdout + outcome.stderr);
    return outcome.stdout;
  };

  /** What the log says of the wizard. */
  let code: string;
  let fingerprint: string;
  const wizardIsThere = async (): Promise<void> => {
    [, fingerprint = ''] = await container.said(/certificate +SHA-256 ([0-9A-F:]{95})\n/);
    [, code = ''] = await container.said(/^code +(\S+)\n/m);
    await container.said(new RegExp(`^page +https://127\\.0\\.0\\.1:${wizardPort}/setup-wizard/`, 'm'));
  };
  const ask = (path: string, method = 'GET'): Promise<{ status: number; retryAfter: string | undefined }> =>
    new Promise((resolve, reject) => {
      request(
        { port: wizardPort, host: '127.0.0.1', path, method, rejectUnauthorized: false },
        (response) => {
          response
            .resume()
            .once('end', () =>
              resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] }),
            );
        },
      )
        .once('error', reject)
        .end();
    });

  const browse = async (): Promise<Page> => {
    browser = await launchFor(wizardPort, fingerprint);
    return browser.newPage();
  };

  it('auto-restore scenario 3: the entrypoint starts the service, and curl verifies the certificate from the vault', async () => {
    start();
    await container.said(/^serving$/m);
    assert.match(container.log, /"start":"service","state":"WIZARD_COMPLETED","scenario":3/);
    assert.equal(account.isUnprivileged, isRoot, 'by a user who may do nothing but run the hook');
    await served(credentials[0]!);
    // Another is stored; Apache is to have it from the next start on.
    const { key, certificate, chain } = credentials[1]!;
    const names = ['key', 'certificate', 'chain'].map((name) => join(world.root, `new.${name}`));
    [key, certificate, chain].forEach((text, at) => writeFileSync(names[at]!, text, { mode: 0o600 }));
    account.own(...names);
    await strongroom(
      0, 'tls', 'set', world.directory, '--key-file', names[0]!, '--certificate-file', names[1]!, '--chain-file', names[2]!,
    ); // prettier-ignore
    assert.equal(await container.stop(), 'SIGTERM');
  });

  it('entrypoint skips unwrap and config: in a restore state there is the wizard, 503 to all else, and all is as it was', async () => {
    account.own(world.tokens);
    world.destroyKek();
    account.own(world.tokens);
    const { pid } = apache;
    const before = withoutLog(files());
    start();
    await wizardIsThere();
    assert.match(container.log, /"start":"wizard","state":"WIZARD_AUTO_RESTORE_PASSWORD","scenario":1/);
    assert.match(container.log, /"path":"\/setup-wizard\/auto_restore_password\/"/);
    for (const path of [
      '/',
      '/index.html',
      '/api/seats',
      '/setup-wizardry/',
      '/.well-known/x',
      '/server-status',
    ])
      assert.deepEqual(await ask(path), { status: 503, retryAfter: '10' }, path);
    assert.equal((await ask('/api/seats', 'POST')).status, 503);
    // Apache goes on with the certificate that it has, before a service that is not there.
    await served(credentials[0]!, /\n503$/);
    await notServed(credentials[1]!);
    assert.deepEqual(withoutLog(files()), before, 'no file, no object, no configuration');
    assert.equal(apache.pid, pid);
    assert.ok(!container.log.includes('starting'));
  });

  let page: Page;
  it('user accesses the web: with the code from the log, once; the password page comes first', async () => {
    page = await browse();
    const wizard = `https://127.0.0.1:${wizardPort}`;
    await page.goto(`${wizard}/setup-wizard/auto_restore_password/`);
    assert.equal(new URL(page.url()).pathname, '/setup-wizard/code/', 'nothing is told without it');
    assert.ok(!(await page.content()).includes('acme'));
    await enter(page, { code: 'AAAA-AAAA-AAAA-AAAA-AAAA' });
    await page.locator('#problem').waitFor();
    await enter(page, { code });
    await page.waitForURL('**/setup-wizard/auto_restore_password/');
    const text = await page.locator('body').innerText();
    assert.match(text, /acme/);
    // By another browser it does not work a second time.
    const other = await browser!.newContext();
    const theirs = await other.newPage();
    await theirs.goto(`${wizard}/setup-wizard/`);
    await enter(theirs, { code });
    await theirs.locator('#problem').waitFor();
    await other.close();
  });

  it('Apache & TLS config, then WIZARD_COMPLETED: a wrong configuration keeps the old one serving, and nothing is completed', async () => {
    apache.breakConfiguration();
    const { pid } = apache;
    await enter(page, { password: 'not this one' });
    await page.locator('#problem').waitFor();
    await enter(page, { password: backupPassword });
    await container.said(/^failed .*hook-failed/m);
    await page.waitForURL('**/setup-wizard/auto_restore_password/');
    assert.match(await page.locator('#problem').innerText(), /exit code 12/);
    assert.equal(apache.pid, pid);
    await served(credentials[0]!, /\n503$/);
    assert.match(container.log, /^step +tls done$/m, 'the files are there, and Apache has not taken them');
    assert.equal(readFileSync(join(apache.tls, 'tls.crt'), 'utf8'), credentials[1]!.certificate);
    assert.equal(
      JSON.parse(await strongroom(5, 'serve-gate', world.directory, '--json')).reason,
      'restore-required',
    );
    await strongroom(5, 'get', world.directory, 'seats');
  });

  it('Apache & TLS config, then WIZARD_COMPLETED: repaired, one click without the password completes it; Apache serves the restored certificate', async () => {
    const { pid } = apache;
    apache.mendConfiguration();
    assert.equal(await page.locator('input[type=password]').count(), 0);
    await enter(page, {});
    await page.waitForURL('**/setup-wizard/result/');
    const text = await page.locator('body').innerText();
    const { fingerprint256 } = new X509Certificate(credentials[1]!.certificate);
    const plain = (words: string): string => words.replace(/[\s:]/g, '').toLowerCase();
    assert.ok(plain(text).includes(plain(fingerprint256)), text);
    assert.match(container.log, /^step +hook done\nstep +completed done$/m);
    await container.said(/^serving$/m);
    assert.equal(apache.pid, pid, 'reloaded, not started anew');
    await served(credentials[1]!);
    await notServed(credentials[0]!);
    // The wizard is closed, and this life of the container went on to the service.
    await assert.rejects(ask('/setup-wizard/'), /ECONNREFUSED/);
    await browser!.close();
  });

  it('Done: the next start is scenario 3, and neither the log nor the audit log holds a secret', async () => {
    const { log } = container;
    await container.stop();
    start();
    await container.said(/^serving$/m);
    assert.match(container.log, /"start":"service","state":"WIZARD_COMPLETED","scenario":3/);
    assert.ok(!container.log.includes('wizard'));
    await served(credentials[1]!);
    await container.stop();
    const story = await strongroom(0, 'log', world.directory);
    assert.match(
      story,
      /restore-detected[^]*restore-password[^]*restore-token[^]*restore-tls[^]*restore-hook[^]*restore-completed/,
    );
    for (const secret of [backupPassword, pin, soPin]) assert.ok(!(log + story).includes(secret));
  });

  it('auto-restore scenario 2: the HSM is lost; a token is set up on the page, then the password; TLS is back, curl verifies it', async () => {
    const { key, certificate, chain } = credentials[2]!;
    const names = ['key', 'certificate', 'chain'].map((name) => join(world.root, `new.${name}`));
    [key, certificate, chain].forEach((text, at) => writeFileSync(names[at]!, text, { mode: 0o600 }));
    await strongroom(
      0, 'tls', 'set', world.directory, '--key-file', names[0]!, '--certificate-file', names[1]!, '--chain-file', names[2]!,
    ); // prettier-ignore
    world.loseTokens();
    account.own(world.tokens);
    start();
    await wizardIsThere();
    assert.match(container.log, /"start":"wizard","state":"WIZARD_SETUP_HSM_AUTORESTORE","scenario":2/);
    await served(credentials[1]!, /\n503$/);
    page = await browse();
    await restoreLostToken(page, wizardPort, { code, label: 'acme anew', soPin, password: backupPassword });
    assert.match(await page.locator('body').innerText(), /\bca\b[^]*lost with the token 'acme'/);
    await container.said(/^serving$/m);
    await served(credentials[2]!);
    await notServed(credentials[1]!);
    await strongroom(0, 'verify', world.directory);
    await container.stop();
    start();
    await container.said(/^serving$/m);
    assert.match(container.log, /"scenario":3/);
    await served(credentials[2]!);
  });
});
