// The wizard within somebody else's server, and its JSON twin without a browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { makeWizard, type Wizard, type WizardEvent } from '../../lib/wizard/index.js';
import { rejectsReason } from '../support/errors.js';
import { backupPassword, HsmWorld } from '../support/softhsm.js';
import { binding } from '../support/stores.js';
import { codePath, passwordPath, progressPath, Rig } from './support.js';

describe('the wizard within another server', function () {
  this.timeout(30_000);
  const origin = 'https://vault.example';
  let world: HsmWorld;
  let wizard: Wizard;
  let events: WizardEvent[];

  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
    await world.makeStore();
    world.destroyKek();
    events = [];
  });
  afterEach(async () => {
    await wizard.close();
    await world.closeAll();
  });
  const create = async (): Promise<void> => {
    wizard = await makeWizard(
      binding,
      {
        directory: world.directory,
        protector: world.protector(),
        origin,
        resultGraceMs: 0,
        onEvent: (event) => events.push(event),
      },
      { throttle: world.throttle },
    );
  };
  const code = (): string => events.flatMap((event) => (event.event === 'code' ? [event.code] : [])).at(-1)!;

  it('answers as a fetch handler; JSON alone is enough to restore', async () => {
    await create();
    let cookie = '';
    const ask = async (path: string, document?: object, headers: Record<string, string> = {}) => {
      const body = document === undefined ? undefined : JSON.stringify(document);
      const answer = await wizard.fetch(
        new Request(origin + path, {
          method: body === undefined ? 'GET' : 'POST',
          headers: {
            accept: 'application/json',
            ...(cookie !== '' && { cookie }),
            ...(body !== undefined && {
              'content-type': 'application/json',
              'content-length': String(Buffer.byteLength(body)),
            }),
            ...headers,
          },
          ...(body !== undefined && { body }),
        }),
      );
      const [set] = answer.headers.getSetCookie();
      if (set !== undefined) cookie = set.split(';')[0]!;
      return answer;
    };
    const asked = await ask(codePath);
    assert.deepEqual(await asked.json(), { page: 'code' });
    const visitor = asked.headers.get('x-csrf-token')!;
    assert.equal((await ask(codePath, { code: code() })).status, 403);
    const entered = await ask(codePath, { code: code() }, { 'x-csrf-token': visitor });
    assert.deepEqual([entered.status, entered.headers.get('location')], [200, passwordPath]);

    const form = await ask(passwordPath);
    const view = (await form.json()) as any;
    assert.equal(view.page, 'password');
    assert.ok(view.facts.lastGoodMs > Date.now() - 60_000 && view.facts.lastGoodMs <= Date.now());
    assert.ok(!('csrf' in view));
    const csrf = form.headers.get('x-csrf-token')!;
    const before = world.files();
    assert.equal((await ask(passwordPath, { password: backupPassword })).status, 403);
    assert.equal((await ask(passwordPath, { password: '', csrf })).status, 400);
    assert.deepEqual(world.files(), before);
    const begun = await ask(passwordPath, { password: backupPassword, csrf });
    assert.equal(begun.status, 202);
    assert.equal(begun.headers.get('location'), progressPath);
    assert.equal(((await begun.json()) as any).page, 'progress');
    // No socket is in between that would let anything else come to its turn.
    while ((await ask(progressPath)).status === 200) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(((await (await ask('/setup-wizard/result/')).json()) as any).page, 'result');
    assert.equal(await wizard.finished, 'restored');
    assert.equal((await ask(codePath)).status, 404);
    await (await world.open()).close();
  });

  it('answers behind a proxy that ends TLS, by the name that browsers see', async () => {
    await create();
    const server: Server = createServer(wizard.listener).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const ask = (
      method: string,
      path: string,
      headers: Record<string, string>,
      body?: string,
    ): Promise<any> =>
      new Promise((resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (answer) => {
          let text = '';
          answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
          answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
        });
        sent.on('error', reject).end(body);
      });
    const page = await ask('GET', codePath, { host: 'vault.example' });
    assert.equal(page.status, 200);
    const cookie = page.headers['set-cookie'][0].split(';')[0];
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)![1]!;
    const form = (from: string) =>
      ask(
        'POST',
        codePath,
        { host: 'vault.example', origin: from, cookie, 'content-type': 'application/x-www-form-urlencoded' },
        new URLSearchParams({ csrf, code: code() }).toString(),
      );
    assert.equal((await form('http://vault.example')).status, 403);
    assert.equal((await form(`http://127.0.0.1:${port}`)).status, 403);
    assert.equal((await form(origin)).status, 303);
    const other = await ask('GET', '/healthz', { host: 'vault.example' });
    assert.deepEqual([other.status, other.headers['retry-after']], [503, '10']);
    const astray = await ask('GET', codePath, { host: 'evil.example' });
    assert.equal(astray.status, 421);
    assert.ok(astray.text.includes(`${origin}/setup-wizard/`), astray.text);
    server.close();
  });

  it('refuses options that are none before anything is served', async () => {
    await create();
    const given = { directory: world.directory, protector: world.protector() };
    for (const changes of [
      { protector: undefined },
      { protector: { type: 'pkcs11', module: 'relative.so' } },
      { names: ['a b'] },
      { names: 'localhost' },
      { origin: 'vault.example' },
      { origin: 'https://vault.example/path' },
      { hook: 1 },
      { hookTimeLimitMs: 0 },
      { sessionIdleMs: 1.5 },
      { tls: 'dir' },
      { onEvent: 1 },
      { signal: {} },
      { password: Buffer.from('x') },
    ])
      await rejectsReason(makeWizard(binding, { ...given, ...changes } as any), 'invalid-option');
    await rejectsReason(makeWizard(binding, { ...given, soPin: '12345678' } as any), 'invalid-argument');
  });

  it('ends at once by a signal that was given before', async () => {
    const rig = await Rig.start(world, { signal: AbortSignal.abort() });
    assert.equal(await rig.wizard.finished, 'closed');
  });

  it('ends by its signal, waits for a restore that is under way, and says where it cannot listen', async () => {
    const stop = new AbortController();
    const rig = await Rig.start(world, { signal: stop.signal });
    wizard = rig.wizard;
    await rejectsReason(rig.wizard.listen({ port: rig.site.port }), 'io-error');
    await rejectsReason(rig.wizard.listen({ host: 'no such host', port: 0 }), 'invalid-option');
    const browser = await rig.insider();
    await browser.submit(passwordPath, { password: backupPassword });
    stop.abort();
    assert.equal(await rig.wizard.finished, 'closed');
    assert.ok(
      rig.events.some(
        (event) => event.event === 'step' && event.step === 'completed' && event.state === 'done',
      ),
    );
    browser.close();
    await (await world.open()).close();
  });

  it('a failure that nobody expected is an event, and tells the browser nothing of itself', async () => {
    await create();
    const body = new ReadableStream({
      pull(controller) {
        controller.error(new Error('what only the log may know'));
      },
    });
    const headers = {
      'content-length': '10',
      'content-type': 'application/x-www-form-urlencoded',
      origin,
    };
    const answer = await wizard.fetch(
      new Request(origin + passwordPath, { method: 'POST', headers, body, duplex: 'half' }),
    );
    assert.equal(answer.status, 500);
    assert.ok(!(await answer.text()).includes('what only'));
    assert.ok(events.some((event) => event.event === 'failed' && event.reason === 'internal'));
  });

  it('an exception of onEvent stops nothing', async () => {
    wizard = await makeWizard(binding, {
      directory: world.directory,
      protector: world.protector(),
      onEvent: () => {
        throw new Error('of the caller');
      },
    });
    assert.equal((await wizard.fetch(new Request('https://localhost/setup-wizard/code/'))).status, 200);
  });
});
