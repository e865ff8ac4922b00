// `strongroom wizard` as a process of its own.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';

import { program, start, strongroom } from '../cli/support.js';
import { backupPassword, HsmWorld, pin, softhsm, soPin } from '../support/softhsm.js';
import { Browser, hsmPath, passwordPath } from './support.js';

describe('strongroom wizard', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let files: { readonly pin: string; readonly soPin: string };
  const place = (): string[] => ['--module', softhsm, '--pin-file', files.pin];

  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
    await world.makeStore();
    files = { pin: join(world.root, 'pin'), soPin: join(world.root, 'so-pin') };
    writeFileSync(files.pin, `${pin}\n`);
    writeFileSync(files.soPin, `${soPin}\n`);
  });
  afterEach(() => world.closeAll());

  /** The process, its events as they come, and a browser that trusts the certificate of the logged fingerprint. */
  const serve = (args: readonly string[] = [], nodeArguments: readonly string[] = program) => {
    const child = start(
      ['wizard', world.directory, '--listen', '127.0.0.1:0', '--json', ...place(), ...args],
      { env: world.environment() },
      nodeArguments,
    );
    const events: any[] = [];
    const lines = createInterface({ input: child.stdout! });
    const waiting: (() => void)[] = [];
    lines.on('line', (line) => {
      events.push(JSON.parse(line));
      for (const wake of waiting.splice(0)) wake();
    });
    let errors = '';
    child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const until = async (fits: (event: any) => boolean): Promise<any> => {
      for (;;) {
        const found = events.find(fits);
        if (found !== undefined) return found;
        if (child.exitCode !== null) throw new Error(errors);
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    };
    const browse = async (): Promise<Browser> => {
      const { url, fingerprint } = await until(({ event }) => event === 'listening');
      const port = Number(new URL(url).port);
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const certificate = socket.getPeerX509Certificate()!;
      socket.destroy();
      assert.equal(certificate.fingerprint256, fingerprint);
      return new Browser({ url, port, certificate: certificate.toString(), fingerprint });
    };
    const ended = once(child, 'exit').then(([code]) => code as number);
    return { child, events, until, browse, ended, errors: () => errors };
  };

  it('restores over the lost token and ends with 0; its arguments and its output hold no secret', async () => {
    world.loseTokens();
    const hook = join(world.root, 'hook');
    writeFileSync(hook, `#!/bin/sh\necho called >> ${world.root}/called\n`, { mode: 0o755 });
    const { child, events, until, browse, ended } = serve([
      '--so-pin-file',
      files.soPin,
      '--on-restored',
      hook,
    ]);
    const browser = await browse();
    const { code } = await until(({ event }) => event === 'code');
    await browser.enter(code);
    const line = readFileSync(`/proc/${child.pid!}/cmdline`, 'latin1');
    const [slot] = (await browser.json(hsmPath())).json().slots;
    await browser.submit(hsmPath(), { slotId: String(slot.slotId), label: 'acme', soPin: '' });
    assert.equal((await browser.settled()).page, 'password');
    await browser.submit(passwordPath, { password: backupPassword });
    assert.equal((await browser.settled()).page, 'result');
    assert.equal(await ended, 0);
    browser.close();
    assert.equal(readFileSync(join(world.root, 'called'), 'utf8'), 'called\n');
    assert.deepEqual(events.at(-1), { event: 'finished', outcome: 'restored' });
    for (const secret of [pin, soPin, backupPassword])
      assert.ok(!line.includes(secret) && !JSON.stringify(events).includes(secret));
    const service = await world.open();
    assert.equal(service.vault.get('seats')?.toString(), '12');
    await service.close();
  });

  it('a password does not stay in its heap, whether it came by a form or by JSON', async () => {
    world.destroyKek();
    const { child, until, browse, ended } = serve(
      [],
      ['--heapsnapshot-signal=SIGUSR2', `--diagnostic-dir=${world.root}`, ...program],
    );
    const browser = await browse();
    const { code } = await until(({ event }) => event === 'code');
    await browser.enter(code);
    const csrf = await browser.csrf(passwordPath);
    await browser.post(passwordPath, { csrf, password: 'geheim-by-a-form' });
    assert.equal((await browser.settled()).problem.reason, 'password-wrong');
    await browser.postJson(passwordPath, { csrf, password: 'geheim-by-json' });
    assert.equal((await browser.settled()).wrongAttempts, 2);
    child.kill('SIGUSR2');
    const taken = () => readdirSync(world.root).find((name) => name.endsWith('.heapsnapshot'));
    // It is written by the thread that answers: the next answer comes after it.
    while (taken() === undefined) await browser.get(passwordPath);
    await browser.get(passwordPath);
    const heap = readFileSync(join(world.root, taken()!), 'utf8');
    assert.ok(heap.includes(softhsm), 'the snapshot holds strings');
    assert.ok(!heap.includes('geheim-by'));
    child.kill();
    await ended;
    browser.close();
  });

  it('tells another code on SIGHUP, and leaves nothing behind on SIGTERM', async () => {
    world.destroyKek();
    const before = world.files();
    const { child, events, until, ended } = serve();
    await until(({ event }) => event === 'listening');
    child.kill('SIGHUP');
    await until(
      ({ event }) => event === 'code' && events.filter((each) => each.event === 'code').length === 2,
    );
    child.kill('SIGTERM');
    await ended;
    assert.equal(child.signalCode, 'SIGTERM');
    assert.deepEqual(world.files(), before);
  });

  it('says page, fingerprint and code on standard error, for people', async () => {
    world.destroyKek();
    const child = start(['wizard', world.directory, '--listen', '127.0.0.1:0', ...place()], {
      env: world.environment(),
    });
    let told = '';
    for await (const chunk of child.stderr!) {
      told += String(chunk);
      if (told.includes('SHA-256 ')) break;
    }
    child.kill();
    assert.match(told, /^state {7}WIZARD_AUTO_RESTORE_PASSWORD: no key/m);
    assert.match(told, /^code {8}([0-9A-Z]{4}-){4}[0-9A-Z]{4}$/m);
    assert.match(told, /^page {8}https:\/\/127\.0\.0\.1:\d+\/setup-wizard\/$/m);
    assert.match(told, /^certificate SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}$/m);
  });

  it('refuses what needs no restore, and wrong options, by exit code', async () => {
    const run = async (...args: string[]) => {
      const { code, stderr } = await strongroom(['wizard', ...args, '--json'], { env: world.environment() });
      return [code, JSON.parse(stderr.trim().split('\n').at(-1)!).reason];
    };
    assert.deepEqual(await run(world.directory, ...place()), [1, 'nothing-to-do']);
    assert.deepEqual(await run(join(world.root, 'none'), ...place()), [1, 'no-store']);
    for (const listen of ['8443', 'localhost', ':1', '127.0.0.1:99999', '::1:8443', ''])
      assert.deepEqual(
        await run(world.directory, '--listen', listen, ...place()),
        [2, 'invalid-option'],
        listen,
      );
    assert.deepEqual(await run(world.directory, '--name', 'a b', ...place()), [2, 'invalid-option']);
    assert.deepEqual(await run(world.directory), [2, 'invalid-option']);
    world.destroyKek();
    assert.deepEqual(await run(world.directory, '--listen', '192.0.2.1:8443', ...place()), [4, 'io-error']);
  });
});
