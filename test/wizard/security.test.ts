// What must be refused, and that nothing has changed then: files, SecretStore and tokens are compared byte by byte.
import assert from 'node:assert/strict';

import { PasswordThrottle } from '../../lib/restore/throttle.js';
import { backupPassword, bytes, HsmWorld } from '../support/softhsm.js';
import type { Browser } from './support.js';
import { codePath, hsmPath, passwordPath, progressPath, resultPath, Rig, type Answer } from './support.js';

const idle = 2000;

describe('the wizard refuses', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let rig: Rig;
  let before: Map<string, string>;

  const start = async (
    options: Parameters<typeof Rig.start>[1] = {},
    parts: Parameters<typeof Rig.start>[2] = {},
  ): Promise<void> => {
    rig = await Rig.start(world, options, parts);
  };
  const formOf = (form: Record<string, string>): string => new URLSearchParams(form).toString();

  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
    await world.makeStore();
    world.destroyKek();
    before = world.files();
  });
  afterEach(async () => {
    await rig.stop();
    await world.closeAll();
  });
  const unchanged = (): void => {
    assert.deepEqual(world.files(), before);
    assert.equal(world.keks(), 0);
  };

  it('a form without a CSRF token, with a wrong one, and with that of another session', async () => {
    await start();
    const insider = await rig.insider();
    const stranger = rig.browser();
    const foreign = await stranger.csrf(codePath);
    for (const csrf of [undefined, '', foreign, 'x'.repeat(43)]) {
      const form = { password: backupPassword, ...(csrf !== undefined && { csrf }) };
      assert.equal((await insider.post(passwordPath, form)).status, 403);
      assert.equal((await insider.postJson(passwordPath, form)).status, 403);
    }
    // The right token with no session, and the code's form with a foreign token.
    const csrf = await insider.csrf(passwordPath);
    assert.equal((await stranger.post(passwordPath, { csrf, password: backupPassword })).status, 403);
    assert.equal((await stranger.post(codePath, { csrf, code: rig.code })).status, 403);
    unchanged();
  });

  it('a form of another site', async () => {
    await start();
    const browser = await rig.insider();
    const csrf = await browser.csrf(passwordPath);
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: `http://127.0.0.1:${rig.site.port}` },
      { origin: `https://127.0.0.1:${rig.site.port + 1}` },
      { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
      { origin: '' },
      { origin: 'https://evil.example', 'content-type': 'text/plain' },
      { origin: 'https://evil.example', 'content-type': 'multipart/form-data; boundary=x' },
    ]) {
      const answer = await browser.post(passwordPath, { csrf, password: backupPassword }, headers);
      assert.equal(answer.status, 403, JSON.stringify(headers));
    }
    for (const type of ['text/xml', 'application/octet-stream', 'application/json;']) {
      const answer = await browser.post(passwordPath, { csrf, password: 'x' }, { 'content-type': type });
      assert.ok([400, 415].includes(answer.status), type);
    }
    unchanged();
  });

  it('a host that is not its own', async () => {
    await start({ names: ['vault.example'] });
    const browser = rig.browser();
    const codeFrom = (host: string) => browser.ask('GET', codePath, { headers: { host } });
    for (const host of [
      'evil.example',
      `evil.example:${rig.site.port}`,
      'localhost.evil.example',
      'vault.example.',
    ]) {
      assert.equal((await codeFrom(host)).status, 421, host);
    }
    for (const host of ['evil.example/x', 'a@b', 'evil.example?x', 'evil .example'])
      assert.ok((await codeFrom(host)).status >= 400, host);
    for (const host of [
      'localhost',
      'LOCALHOST:8443',
      'vault.example:1',
      '127.0.0.1',
      '[::1]:8443',
      '10.1.2.3',
    ])
      assert.equal((await codeFrom(host)).status, 200, host);
    const astray = await browser.ask('GET', '/', { headers: { host: 'evil.example' } });
    assert.equal(astray.status, 421);
    // By the name, and with the port that listens.
    assert.equal(rig.site.url, `https://vault.example:${rig.site.port}/setup-wizard/`);
    assert.ok(rig.events.some((event) => event.event === 'listening' && event.url === rig.site.url));
    assert.ok(astray.text.includes(rig.site.url) && !astray.text.includes('href="/setup-wizard/"'));
    const headers = { host: 'evil.example', accept: 'application/json' };
    assert.equal((await browser.ask('GET', codePath, { headers })).json().address, rig.site.url);
    unchanged();
  });

  it('a code that was used, a wrong code, and too many of them', async () => {
    await start();
    const used = rig.code;
    const first = await rig.insider();
    const second = rig.browser();
    const again = await second.submit(codePath, { code: used });
    assert.equal(again.status, 403);
    assert.equal(again.headers.location, undefined);
    assert.equal((await second.get(passwordPath)).headers.location, codePath);
    assert.equal((await first.get(passwordPath)).status, 200);
    await second.submit(codePath, { code: '' });
    await second.submit(codePath, { code: '0000-0000-0000-0000-0000' });
    const throttled = await second.submit(codePath, { code: used });
    assert.equal(throttled.status, 429);
    assert.equal(throttled.headers['retry-after'], '1');
    assert.match(throttled.text, /Too many wrong codes\. Try again in 1 s\./);
    const refused = rig.events.filter(({ event }) => event === 'code-refused');
    assert.equal(refused.length, 3);
    unchanged();
  });

  it('the session of before, once a new code was asked for or nothing was done for long', async () => {
    await start({ sessionIdleMs: 300 });
    const first = await rig.insider();
    const csrf = await first.csrf(passwordPath);
    const used = rig.code;
    rig.wizard.renewCode();
    assert.notEqual(rig.code, used);
    assert.equal((await first.get(passwordPath)).headers.location, codePath);
    assert.equal((await first.post(passwordPath, { csrf, password: backupPassword })).status, 403);
    const second = await rig.insider();
    assert.equal((await second.get(passwordPath)).status, 200);
    const codes = (): number => rig.events.filter(({ event }) => event === 'code').length;
    const told = codes();
    await rig.until(() => codes() > told);
    assert.equal((await second.get(passwordPath)).headers.location, codePath);
    unchanged();
  });

  it('a session that was chosen by somebody else', async () => {
    await start();
    const browser = rig.browser();
    const name = '__Secure-strongroom-wizard';
    browser.cookies.set(name, 'chosen-by-somebody-else');
    const csrf = await browser.csrf(codePath);
    const visitor = browser.cookies.get(name);
    assert.notEqual(visitor, 'chosen-by-somebody-else');
    const answer = await browser.post(codePath, { csrf, code: rig.code });
    assert.equal(answer.status, 303);
    assert.notEqual(browser.cookies.get(name), visitor);
    const [cookie = ''] = answer.headers['set-cookie'] ?? [];
    for (const part of ['HttpOnly', 'Secure', 'SameSite=Strict', 'Path=/setup-wizard'])
      assert.ok(cookie.includes(`; ${part}`), cookie);
    assert.ok(!/domain|expires|max-age/i.test(cookie), cookie);
    for (const id of ['chosen-by-somebody-else', visitor!]) {
      const other = rig.browser();
      other.cookies.set(name, id);
      assert.equal((await other.get(passwordPath)).headers.location, codePath);
    }
    unchanged();
  });

  it('a body that is too large, has no length, or is not understood', async () => {
    await start();
    const browser = await rig.insider();
    const csrf = await browser.csrf(passwordPath);
    const large = await browser.post(passwordPath, { csrf, password: 'x'.repeat(16_384) });
    assert.equal(large.status, 413);
    const host = `Host: 127.0.0.1:${rig.site.port}\r\n`;
    const head = `POST ${passwordPath} HTTP/1.1\r\n${host}Origin: ${browser.origin}\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
    const huge = await rig.raw(`${head}Content-Length: 99999999999\r\n\r\npassword=`, (text) =>
      text.includes('\r\n\r\n'),
    );
    assert.match(huge, /^HTTP\/1\.1 413 /);
    const chunked = await rig.raw(
      `${head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    );
    assert.match(chunked, /^HTTP\/1\.1 411 /);
    for (const body of [
      formOf({ csrf, password: 'a' }) + '&password=b',
      formOf({ csrf, password: 'a' }) + '&' + Array.from({ length: 40 }, (_, i) => `f${i}=`).join('&'),
      'csrf=%ff',
    ]) {
      const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: browser.origin };
      assert.equal((await browser.ask('POST', passwordPath, { headers, body })).status, 400);
    }
    for (const body of [
      '',
      '[]',
      '"x"',
      '{',
      '{"password":1}',
      '{"password":"a","password":"b"}',
      '{"p\\u0061ssword":"a"}',
      '{"x":{"password":"a"}}',
    ]) {
      const headers = { 'content-type': 'application/json', accept: 'application/json' };
      const answer = await browser.ask('POST', passwordPath, { headers, body });
      assert.equal(answer.status, 400, body);
    }
    unchanged();
  });

  it('paths that mean another one', async () => {
    await start();
    const browser = await rig.insider();
    const port = rig.site.port;
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const tricks = [
      '/setup-wizard/../setup-wizard/auto_restore_password/',
      '/x/../setup-wizard/auto_restore_password/',
      '/setup-wizard/./auto_restore_password/',
      '/setup-wizard/%2e%2e/setup-wizard/auto_restore_password/',
      '/setup-wizard/%2E/auto_restore_password/',
      '/setup-wizard/auto%5Frestore_password/',
      '/setup-wizard/%61uto_restore_password/',
      '/setup-wizard%2fauto_restore_password/',
      '/setup-wizard/auto_restore_password%2f',
      '//setup-wizard/auto_restore_password/',
      '/setup-wizard//auto_restore_password/',
      '/setup-wizard\\auto_restore_password/',
      '/setup-wizard/auto_restore_password/%00',
      '/setup-wizard/auto_restore_password/%0d%0aSet-Cookie:x=1',
      '/setup-wizard/auto-restore-hsm-setup/softhsm%2f',
      '/setup-wizard/auto-restore-hsm-setup/..%2f..%2f..%2fetc%2fpasswd/',
      '/setup-wizard/auto-restore-hsm-setup/%0d%0aX-Evil:1/',
      '/setup-wizard/auto_restore_password',
      '/SETUP-WIZARD/auto_restore_password/',
      '/setup-wizard/auto_restore_password/;x',
      '/setup-wizard/style.css/',
      `https://127.0.0.1:${port}/setup-wizard/auto_restore_password/`,
      'setup-wizard/auto_restore_password/',
      '*',
      '/setup-wizard/auto_restore_password/#x',
      '/setup-wizard/auto_restore_\xffpassword/',
    ];
    for (const path of tricks) {
      const text = await rig.raw(
        Buffer.from(
          `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`,
          'latin1',
        ),
      );
      assert.match(text, /^HTTP\/1\.1 (400|404|503) /, path);
      assert.ok(!text.includes('name="password"'), path);
      assert.ok(!/^(set-cookie|x-evil|location):/im.test(text), path);
    }
    const raw = await rig.raw(`GET /setup-wizard/\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
    assert.match(raw, /^HTTP\/1\.1 400 /);
    unchanged();
  });

  it('two lengths, a length beside chunks, a folded or a foreign header: one request must not be two', async () => {
    await start();
    const browser = await rig.insider();
    const csrf = await browser.csrf(passwordPath);
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const body = formOf({ csrf, password: backupPassword });
    const inner = `POST ${passwordPath} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n`;
    const common = `Host: 127.0.0.1:${rig.site.port}\r\nOrigin: ${browser.origin}\r\nCookie: ${cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
    for (const framing of [
      `Content-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n${inner}`,
      `Transfer-Encoding: chunked\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      `Content-Length: ${body.length}\r\nContent-Length: 5\r\n\r\n${body}`,
      `Content-Length: ${body.length}, ${body.length}\r\n\r\n${body}`,
      `Content-Length: +${body.length}\r\n\r\n${body}`,
      `Content-Length: 0x10\r\n\r\n${body}`,
      `Content-Length : ${body.length}\r\n\r\n${body}`,
      `Transfer-Encoding: xchunked\r\n\r\n${body}`,
      `Transfer-Encoding: chunked, identity\r\n\r\n${body}`,
      `X: a\rY: b\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      `X: a\nContent-Length: 5\r\n\r\n${body}`,
      `Host: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ]) {
      const text = await rig.raw(`POST ${passwordPath} HTTP/1.1\r\n${common}Connection: close\r\n${framing}`);
      assert.match(text, /^HTTP\/1\.1 4\d\d /, framing);
      // One answer, if the connection was not simply cut.
      assert.equal(text.split(/HTTP\/1\.1 \d\d\d /).length, 2, framing);
    }
    const long = await rig.raw(`GET ${codePath} HTTP/1.1\r\n${common}X: ${'y'.repeat(9000)}\r\n\r\n`);
    assert.match(long, /^HTTP\/1\.1 431 /);
    unchanged();
  });

  it('methods that are none of a page, TRACE among them', async () => {
    await start();
    const browser = await rig.insider();
    for (const path of [
      passwordPath,
      hsmPath(),
      codePath,
      progressPath,
      resultPath,
      '/setup-wizard/style.css',
    ]) {
      for (const method of ['TRACE', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'SEARCH']) {
        const answer = await browser.ask(method, path, {
          headers: { origin: browser.origin, 'x-secret': 'not to be echoed' },
        });
        assert.equal(answer.status, 405, `${method} ${path}`);
        assert.match(answer.headers.allow ?? '', /^GET, HEAD(, POST)?$/);
        assert.ok(!answer.text.includes('not to be echoed'));
      }
    }
    const connect = await rig.raw(`CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
    assert.equal(connect, '');
    const track = await rig.raw(`TRACK ${codePath} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
    assert.match(track, /^HTTP\/1\.1 (400|405) /);
    unchanged();
  });

  it('to be framed, sniffed, cached or scripted', async () => {
    await start();
    const browser = await rig.insider();
    const answers: Answer[] = [];
    for (const path of [
      passwordPath,
      '/setup-wizard/',
      '/setup-wizard/style.css',
      '/setup-wizard/live.js',
      '/x',
      '/setup-wizard/x',
    ])
      answers.push(await browser.get(path));
    answers.push(await browser.post(passwordPath, { csrf: 'x' }), await browser.json(passwordPath));
    for (const { headers, status } of answers) {
      const policy = headers['content-security-policy'] ?? '';
      for (const part of [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        'img-src data:',
      ])
        assert.ok(String(policy).includes(part), `${status}: ${part}`);
      assert.equal(headers['x-frame-options'], 'DENY');
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['cache-control'], 'no-store');
      assert.equal(headers.vary, 'Accept');
      assert.equal(headers['referrer-policy'], 'same-origin');
      assert.equal(headers['strict-transport-security'], undefined);
      assert.equal(headers['access-control-allow-origin'], undefined);
    }
    unchanged();
  });

  it('what was typed to be markup or a header', async () => {
    await start({ detectEveryMs: 20 });
    const browser = await rig.insider();
    world.loseTokens();
    await rig.until((event) => event.event === 'state' && event.state === 'WIZARD_SETUP_HSM_AUTORESTORE');
    const slotId = String(await world.emptySlot());
    const label = '"><script>alert(1)</script>'.slice(0, 32);
    const soPin = '12345678-so';
    const answer = await browser.submit(hsmPath(), { slotId, label, soPin });
    assert.equal(answer.status, 303);
    await browser.settled();
    const { text } = await browser.get(hsmPath());
    assert.ok(text.includes('&quot;&gt;&lt;script&gt;'), text);
    assert.ok(!text.includes('<script>alert'));
    for (const code of ['x\r\nSet-Cookie: a=b', '<script>']) {
      const refused = await rig.browser().submit(codePath, { code });
      assert.equal(refused.status, 403);
      assert.ok(
        !refused.text.includes('<script>alert') &&
          !(refused.headers['set-cookie'] ?? []).join().includes('a=b'),
      );
    }
  });

  it('to wait for clients that are slow, and to let one address take all connections', async () => {
    await start(
      {},
      { limits: { headersTimeout: idle, requestTimeout: idle, connectionsCheckingInterval: 100 } },
    );
    const browser = await rig.insider();
    const host = `Host: 127.0.0.1:${rig.site.port}\r\n`;
    const began = performance.now();
    const slow = [
      rig.raw(`GET ${codePath} HTTP/1.1\r\n${host}X: `),
      rig.raw(`POST ${passwordPath} HTTP/1.1\r\n${host}Content-Length: 1000\r\n\r\npassword=`),
      rig.raw(''),
      rig.raw('G'),
    ];
    // From an address of its own: 40 at once, of which 32 are let in.
    const crowd = await Promise.allSettled(Array.from({ length: 40 }, () => rig.socket('127.0.0.2')));
    assert.equal(crowd.filter(({ status }) => status === 'fulfilled').length, 32);
    assert.equal((await browser.get(passwordPath)).status, 200);
    for (const text of await Promise.all(slow)) assert.match(text, /^(HTTP\/1\.1 408 |$)/);
    assert.ok(performance.now() - began < idle * 3);
    // Each that goes makes room for another one, while others stay.
    const open = crowd.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    for (const socket of open.slice(1)) socket.destroy();
    for (let room = false; !room;) {
      room = await rig.socket('127.0.0.2').then(
        (socket) => Boolean(socket.destroy()),
        () => false,
      );
    }
    open[0]!.destroy();
    unchanged();
  });

  it('to be held by a client that does not end its request', async () => {
    await start();
    const held = rig.raw(`GET ${codePath} HTTP/1.1\r\nX: `);
    await rig.browser().get(codePath);
    await rig.wizard.close();
    assert.equal(await held, '');
    unchanged();
  });

  it('a slot that is none and a label that no token could have, before anything is begun', async () => {
    await start({ detectEveryMs: 20 });
    const browser = await rig.insider();
    world.loseTokens();
    await rig.until((event) => event.event === 'state' && event.state === 'WIZARD_SETUP_HSM_AUTORESTORE');
    const slotId = String(await world.emptySlot());
    const csrf = await browser.csrf(hsmPath());
    for (const [form, said] of [
      [{ slotId: '1x', label: 'acme' }, 'No slot is chosen'],
      [{ slotId: '', label: 'acme' }, 'No slot is chosen'],
      [{ slotId, label: '' }, '1 to 32 bytes'],
      [{ slotId, label: 'ü'.repeat(17) }, '1 to 32 bytes'],
      [{ slotId, label: 'a\u202eb' }, '1 to 32 bytes'],
    ] as const) {
      const answer = await browser.post(hsmPath(), { csrf, soPin: '12345678-so', ...form });
      assert.equal(answer.status, 400, JSON.stringify(form));
      assert.ok(answer.text.includes(said), answer.text);
    }
    assert.ok((await world.list()).every(({ initialised }) => !initialised));
  });

  it('1,000 wrong passwords side by side: one key derivation at a time, bounded memory, and nothing changed', async () => {
    await rig?.stop().catch(() => undefined);
    await world.closeAll();
    world = new HsmWorld();
    await world.make();
    // With the key derivation of everyday: 64 MiB each.
    const service = await world.open({ recovery: { password: bytes(backupPassword) } });
    await service.close();
    world.destroyKek();
    before = world.files();
    const counts = { now: 0, most: 0, all: 0 };
    class Counting extends PasswordThrottle {
      override attempt<T>(store: string, work: () => Promise<T>): Promise<T> {
        return super.attempt(store, async () => {
          counts.now += 1;
          counts.all += 1;
          counts.most = Math.max(counts.most, counts.now);
          try {
            return await work();
          } finally {
            counts.now -= 1;
          }
        });
      }
    }
    await start({}, { throttle: new Counting() });
    const browser: Browser = await rig.insider();
    const csrf = await browser.csrf(passwordPath);
    const startBytes = process.memoryUsage.rss();
    let mostBytes = startBytes;
    const statuses = new Map<number, number>();
    await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const { status } = await browser.post(passwordPath, { csrf, password: `wrong ${i}` });
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        mostBytes = Math.max(mostBytes, process.memoryUsage.rss());
      }),
    );
    const view = await browser.settled();
    assert.equal(view.problem.reason, 'password-wrong');
    const grownMiB = (mostBytes - startBytes) / 2 ** 20;
    console.log(
      `      ${[...statuses].map(([status, count]) => `${status}: ${count}`).join(', ')}; ${counts.all} derivations, ${counts.most} at once, ${grownMiB.toFixed(0)} MiB more at most`,
    );
    assert.deepEqual(new Set(statuses.keys()), new Set([303, 409, ...(statuses.has(429) ? [429] : [])]));
    assert.equal(counts.most, 1);
    assert.equal(statuses.get(303), counts.all);
    assert.ok(grownMiB < 200, `${grownMiB} MiB`);
    unchanged();
    assert.equal((await browser.get(passwordPath)).status, 200);
  });
});
