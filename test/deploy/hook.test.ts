// wizard_auto_restore_success.sh with a real Apache, and the sudo rule with a real sudo.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';

import { runHook } from '../../lib/restore/hook.js';
import { rejectsReason } from '../support/errors.js';
import { removeDirectory, temporaryDirectory } from '../support/stores.js';
import {
  Apache,
  deploy,
  ended,
  freePort,
  hasNamespaces,
  install,
  makeCredential,
  writeCredential,
  type Credential,
  type Ended,
} from './support.js';

describe('deploy: wizard_auto_restore_success.sh', function () {
  this.timeout(60_000);
  let root: string;
  let apache: Apache;
  let hook: string;
  let configuration: string;
  let first: Credential;
  before(async () => {
    root = temporaryDirectory();
    // The sudo test looks into it as another user.
    chmodSync(root, 0o755);
    apache = new Apache(root, await freePort(), await freePort());
    const { libexec, etc } = install(root);
    hook = join(libexec, 'wizard_auto_restore_success.sh');
    configuration = join(etc, 'web-server.conf');
    first = makeCredential(join(root, 'first'));
  });
  after(async () => {
    await apache.stop();
    removeDirectory(root);
  });
  beforeEach(() => {
    rmSync(configuration, { force: true });
    writeFileSync(configuration, apache.settings(), { mode: 0o600 });
    writeCredential(apache.tls, first);
    apache.mendConfiguration();
  });

  const run = (...args: string[]): Promise<Ended> => ended(hook, args);
  const ok = async (): Promise<void> => {
    const { code, stderr } = await run();
    assert.equal(code, 0, stderr);
  };

  it('starts a web server that does not run, reloads one that does, and can be repeated', async () => {
    assert.equal(apache.pid, undefined);
    await ok();
    const { pid } = apache;
    assert.ok(pid !== undefined);
    // Nothing is behind it.
    const through = await apache.curl(first.root, '/', '--include');
    assert.match(through.stdout, /^HTTP\/1\.1 503 /, through.stderr);
    assert.match(through.stdout, /^retry-after: 10\r$/im);
    await ok();
    const second = makeCredential(join(root, 'second'));
    assert.equal((await apache.curl(second.root)).code, 60, 'no other root is trusted');
    writeCredential(apache.tls, second);
    await ok();
    assert.equal((await apache.curl(second.root)).code, 0, 'the new one is served');
    assert.equal((await apache.curl(first.root)).code, 60);
    // Without a chain there is no chain.pem.
    rmSync(join(apache.tls, 'chain.pem'));
    await ok();
    assert.equal((await apache.curl(second.root)).code, 60, 'and curl misses the intermediate');
    assert.equal(apache.pid, pid, 'it was the same process all along');
  });

  it('signals no other process that has the number of a former life', async () => {
    await apache.stop();
    const sleeper = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(sleeper, 'spawn');
    const end = once(sleeper, 'close');
    writeFileSync(join(apache.directory, 'run/apache2.pid'), `${sleeper.pid ?? 0}\n`);
    await ok();
    assert.equal((await apache.curl(first.root)).code, 0);
    assert.notEqual(apache.pid, sleeper.pid);
    sleeper.kill('SIGTERM');
    assert.deepEqual(await end, [null, 'SIGTERM'], 'it was there until now');
  });

  it('takes no argument', async () => {
    for (const args of [['--help'], [''], ['a', 'b']]) {
      const { code, stderr } = await run(...args);
      assert.deepEqual([code, stderr], [2, 'wizard_auto_restore_success: takes no arguments\n']);
    }
  });

  it('each failure has a code of its own, and leaves the server as it is', async () => {
    await ok();
    const { pid } = apache;
    const fails = async (code: number, words: RegExp): Promise<void> => {
      const outcome = await run();
      assert.equal(outcome.code, code, outcome.stderr);
      assert.match(outcome.stderr, /^wizard_auto_restore_success: [^\n]+\n$/);
      assert.match(outcome.stderr, words);
      assert.equal((await apache.curl(first.root)).code, 0, 'the old one is served');
      assert.equal(apache.pid, pid);
    };
    const written = (text: string, mode = 0o600): void => {
      rmSync(configuration, { force: true });
      writeFileSync(configuration, text);
      chmodSync(configuration, mode);
    };
    for (const mode of [0o664, 0o644, 0o640, 0o602]) {
      written(apache.settings(), mode);
      await fails(10, /others may read or write/);
    }
    written('TLS_DIR=(');
    await fails(10, /no shell script/);
    written(apache.settings({ TLS_DIR: 'tls' }));
    await fails(10, /TLS_DIR/);
    rmSync(configuration);
    await fails(10, /is missing/);

    written(apache.settings());
    const second = makeCredential(join(root, 'other'));
    writeFileSync(join(apache.tls, 'tls.crt'), second.certificate);
    await fails(11, /do not belong together/);
    rmSync(join(apache.tls, 'tls.crt'));
    await fails(11, /tls\.crt cannot be read/);
    writeFileSync(join(apache.tls, 'tls.key'), 'no key');
    await fails(11, /tls\.key cannot be read/);

    // The new certificate is there, and not taken before the configuration is right.
    writeCredential(apache.tls, second);
    apache.breakConfiguration();
    await fails(12, /NoSuchDirective|[Ss]yntax error/);
    apache.mendConfiguration();
    written(apache.settings({ WEB_RELOAD: 'false' }));
    await fails(13, /'false' failed/);
    written(apache.settings({ WEB_RELOAD: 'true', WEB_WAIT_S: 1 }));
    await fails(14, /does not serve the certificate/);

    // One that takes connections and says nothing costs one attempt, not one for each fifth of a second.
    const silent = createServer(() => undefined);
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    written(apache.settings({ WEB_RELOAD: 'true', WEB_WAIT_S: 1, WEB_ADDRESS: `127.0.0.1:${port}` }));
    const began = performance.now();
    await fails(14, /does not serve the certificate/);
    assert.ok(performance.now() - began < 15_000);
    silent.close();
    written(apache.settings());

    const holder = spawn('flock', [configuration, 'sh', '-c', 'echo held; read line'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    await fails(15, /another run/);
    holder.stdin.end('\n');
    await once(holder, 'close');

    written(apache.settings());
    await ok();
    assert.equal((await apache.curl(second.root)).code, 0);
  });

  it('is not led astray by what its caller sets', async () => {
    const astray = join(root, 'astray');
    mkdirSync(astray);
    for (const name of ['openssl', 'apache2ctl', 'find', 'flock', 'timeout', 'sh']) {
      writeFileSync(join(astray, name), `#!/bin/sh\n: > ${astray}/was-run\n`, { mode: 0o755 });
    }
    writeFileSync(join(astray, 'env'), `: > ${astray}/was-run\n`);
    const { code, stderr } = await ended(hook, [], {
      env: {
        PATH: astray,
        ENV: join(astray, 'env'),
        IFS: '/',
        TLS_DIR: '/nowhere',
        WEB_RELOAD: `${astray}/sh`,
        CDPATH: astray,
      },
    });
    assert.equal(code, 0, stderr);
    assert.ok(!existsSync(join(astray, 'was-run')));
  });

  it('as the hook of a restore: its code and first line are in the error', async () => {
    await runHook(hook);
    apache.breakConfiguration();
    const failed = await rejectsReason(runHook(hook), 'hook-failed');
    assert.match(failed.message, /exit code 12: wizard_auto_restore_success: the configuration is wrong: /);
  });

  describe('the sudo rule', () => {
    const rule = join(deploy, 'sudoers.d/strongroom');

    it('passes visudo, and leaves nothing open', async () => {
      const { code, stdout, stderr } = await ended('visudo', ['--check', '--strict', '--file', rule]);
      assert.equal(code, 0, stdout + stderr);
      const lines = readFileSync(rule, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'));
      assert.equal(lines.length, 2);
      for (const line of lines) assert.doesNotMatch(line, /\*|\?|\[|NOPASSWD: ALL|\bSETENV\b/);
    });

    it('lets the user run the hook as root, without arguments, and nothing else', async function () {
      // In a mount namespace, where /etc/sudoers is another file.
      if (!hasNamespaces()) this.skip();
      const sudoers = join(root, 'sudoers');
      const text = readFileSync(rule, 'utf8').replaceAll(
        '/usr/libexec/strongroom/',
        `${join(root, 'libexec')}/`,
      );
      writeFileSync(sudoers, `root ALL=(ALL:ALL) ALL\n${text.replace(/^strongroom /m, 'nobody ')}`, {
        mode: 0o440,
      });
      const asNobody = (...command: string[]): Promise<Ended> =>
        ended('unshare', [
          '--mount', 'sh', '-ec', 'mount --bind "$1" /etc/sudoers; shift; exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"',
          'sh', sudoers, ...command,
        ], { cwd: '/' }); // prettier-ignore
      assert.equal((await asNobody('id', '-un')).stdout, 'nobody\n');
      assert.notEqual((await asNobody('sudo', '-n', 'true')).code, 0);
      const allowed = await asNobody('sudo', '-n', hook);
      assert.equal(allowed.code, 0, allowed.stderr);
      for (const args of [['x'], ['--help'], ['']]) {
        const refused = await asNobody('sudo', '-n', hook, ...args);
        assert.equal(refused.code, 1, args.join());
        assert.match(refused.stderr, /password is required|not allowed/);
      }
      assert.equal((await asNobody('sudo', '-n', 'TLS_DIR=/tmp', hook)).code, 1);
      assert.equal((await asNobody('sudo', '-n', join(root, 'libexec/answer-restored'))).code, 1);
      // What the wizard is given hands the code on.
      const wrapper = join(root, 'libexec/on-restored');
      assert.equal((await asNobody(wrapper)).code, 0);
      apache.breakConfiguration();
      const broken = await asNobody(wrapper);
      assert.equal(broken.code, 12, broken.stderr);
      assert.match(broken.stderr, /^wizard_auto_restore_success: the configuration is wrong/);
    });
  });

  it('under systemd: a connection to the socket runs it, and the code comes back', async function () {
    // systemd-socket-activate stands for strongroom-restored.socket.
    const socket = join(root, 'restored.sock');
    const client = join(root, 'libexec/on-restored-systemd');
    writeFileSync(client, readFileSync(client, 'utf8').replace('/run/strongroom-restored.sock', socket));
    const none = await ended(client, []);
    assert.equal(none.code, 111);
    assert.match(none.stderr, /^on-restored: connect ENOENT/);
    const listener = spawn(
      'systemd-socket-activate',
      ['--listen', socket, '--accept', '--inetd', join(root, 'libexec/answer-restored')],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    try {
      await once(listener.stderr, 'data');
      const good = await ended(client, []);
      assert.deepEqual([good.code, good.stderr], [0, '']);
      apache.breakConfiguration();
      const bad = await ended(client, []);
      assert.equal(bad.code, 12);
      assert.match(bad.stderr, /^wizard_auto_restore_success: the configuration is wrong: [^\n]+\n$/);
      const failed = await rejectsReason(runHook(client), 'hook-failed');
      assert.match(failed.message, /exit code 12: wizard_auto_restore_success/);
    } finally {
      listener.kill();
      await once(listener, 'close');
    }
  });
});
