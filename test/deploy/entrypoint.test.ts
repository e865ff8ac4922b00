// What entrypoint.sh does with each answer of the gate, and with signals. The whole way is in acceptance/end-to-end.test.ts.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { backupPassword, bytes, HsmWorld, pin, softhsm } from '../support/softhsm.js';
import { quickKdf } from '../support/stores.js';
import { Account, Container } from './entrypoint.js';
import { deploy, ended, freePort, makeCredential } from './support.js';

describe('deploy: entrypoint.sh', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let account: Account;
  let settings: NodeJS.ProcessEnv;
  const running: Container[] = [];
  beforeEach(async () => {
    world = new HsmWorld();
    writeFileSync(join(world.root, 'pin'), pin, { mode: 0o600 });
    settings = {
      STRONGROOM_DIR: world.directory,
      STRONGROOM_PKCS11_MODULE: softhsm,
      STRONGROOM_PIN_FILE: join(world.root, 'pin'),
      STRONGROOM_LISTEN: `127.0.0.1:${await freePort()}`,
      STRONGROOM_RETRY_S: '0.2',
    };
  });
  afterEach(async () => {
    for (const container of running.splice(0)) await container.stop();
    await world.closeAll();
  });
  const start = (changes: NodeJS.ProcessEnv = {}, ...command: string[]): Container => {
    // Each as this process's own user: what another may do is not the question here.
    account = new Account(
      world.root,
      join(world.root, 'none'),
      { SOFTHSM2_CONF: world.configuration },
      false,
    );
    const words = command.length > 0 ? command : ['echo', 'the service'];
    const container = new Container(account, { ...settings, ...changes }, ...words);
    running.push(container);
    return container;
  };

  it('becomes the service, with its arguments and its exit code', async () => {
    await world.make();
    await world.makeStore();
    const container = start({}, 'sh', '-c', 'echo "$1 as $$"; exit 7', 'sh', 'a  b');
    assert.equal(await container.ended, 7);
    assert.match(container.log, new RegExp(`^a {2}b as ${container.pid}$`, 'm'));
  });

  it('no store: the service makes it; software protection: a PIN and a module harm nobody', async () => {
    const first = start({
      STRONGROOM_TLS_DIR: join(world.root, 'tls'),
      STRONGROOM_ON_RESTORED: '/bin/false',
    });
    assert.equal(await first.ended, 0);
    assert.match(first.log, /"state":"NO_STORE"[^]*the service/);
    const service = await world.open({ protector: { type: 'software' } });
    await service.close();
    const without = start({
      STRONGROOM_TLS_DIR: join(world.root, 'tls'),
      STRONGROOM_ON_RESTORED: '/bin/false',
    });
    assert.equal(await without.ended, 0, 'no credential is stored, so no web server is looked after');
    const again = await world.open({ protector: { type: 'software' } });
    const { key, certificate, chain } = makeCredential(join(world.root, 'credential'));
    await again.tls.set({ key: bytes(key), certificate, chain });
    await again.close();
    const changes = { STRONGROOM_PKCS11_MODULE: '/nowhere/module.so', STRONGROOM_PIN_FILE: '/nowhere/pin' };
    const tls = join(world.root, 'tls');
    assert.equal((await ended('mkdir', ['-m', '700', tls])).code, 0);
    const third = start({ ...changes, STRONGROOM_TLS_DIR: tls });
    assert.equal(await third.ended, 0);
    assert.equal(readFileSync(join(tls, 'tls.crt'), 'utf8'), certificate);
  });

  it('a hook that fails ends it with its code, before the service', async () => {
    await world.make();
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    const { key, certificate, chain } = makeCredential(join(world.root, 'credential'));
    await service.tls.set({ key: bytes(key), certificate, chain });
    await service.close();
    const hook = join(world.root, 'hook');
    writeFileSync(hook, '#!/bin/sh\nexit 12\n', { mode: 0o755 });
    const tls = join(world.root, 'tls');
    const noDirectory = start({ STRONGROOM_TLS_DIR: tls, STRONGROOM_ON_RESTORED: hook });
    assert.equal(await noDirectory.ended, 1);
    assert.match(noDirectory.log, /TLS files: .*"reason":"not-found"/);
    assert.equal((await ended('mkdir', ['-m', '700', tls])).code, 0);
    const container = start({ STRONGROOM_TLS_DIR: tls, STRONGROOM_ON_RESTORED: hook });
    assert.equal(await container.ended, 12);
    assert.ok(!container.log.includes('the service'));
  });

  it('waits during an outage, and goes on when it is over', async () => {
    await world.make();
    await world.makeStore();
    const module = join(world.root, 'module.so');
    const container = start({ STRONGROOM_PKCS11_MODULE: module });
    await container.said(/"start":"wait","state":"OUTAGE".*"reason":"hsm-unreachable"/);
    assert.ok(!container.log.includes('wizard'));
    symlinkSync(softhsm, module);
    assert.equal(await container.ended, 0);
    assert.equal(container.log.match(/"state":"OUTAGE"/g)?.length, 1, 'told once');
    assert.match(container.log, /the service/);
  });

  it('an outage can have a page of its own, which ends with it', async () => {
    await world.make();
    await world.makeStore();
    const away = `${world.tokens}-away`;
    renameSync(world.tokens, away);
    const container = start({ STRONGROOM_OUTAGE_PAGE: '1', STRONGROOM_NAME: 'acme.example' });
    await container.said(/^state +OUTAGE/m);
    await container.said(/^page +https:/m);
    const asked = async (host: string): Promise<string> => {
      const url = `https://${settings['STRONGROOM_LISTEN']}/setup-wizard/`;
      const args = ['--insecure', '--silent', '--output', '/dev/null', '--write-out', '%{http_code}'];
      return (await ended('curl', [...args, '--header', `Host: ${host}`, url])).stdout;
    };
    assert.equal(await asked('other.example'), '421');
    assert.match(await asked('acme.example'), /^[23]/);
    renameSync(away, world.tokens);
    assert.equal(await container.ended, 0);
    assert.match(container.log, /^finished +healed$[^]*the service/m);
  });

  it('a PIN that is refused is not sent again: it stays, until it is stopped', async () => {
    await world.make();
    await world.makeStore();
    writeFileSync(join(world.root, 'pin'), '9999-none');
    const container = start();
    await container.said(/put the right PIN in place/);
    assert.match(container.log, /"start":"none","state":"PIN".*"reason":"pin-wrong"/);
    assert.equal(await container.stop(), 143);
  });

  it('a signal ends the child too that it meets between fork and exec', async () => {
    const bin = join(world.root, 'stub');
    mkdirSync(bin);
    const answer = '#!/bin/sh\necho \'{"start":"none","state":"PIN"}\'\nexit 1\n';
    writeFileSync(join(bin, 'strongroom'), answer, { mode: 0o755 });
    const path = `${bin}:${process.env['PATH'] ?? ''}`;
    // Side by side, which makes it likelier: of the order of one in forty is met there.
    for (let round = 0; round < 10; ++round) {
      const codes = Array.from({ length: 10 }, async () => {
        const container = start({ PATH: path });
        await container.said(/until then nothing is tried/);
        return container.stop();
      });
      assert.deepEqual(new Set(await Promise.all(codes)), new Set([143]));
    }
  });

  it('tampering: exit code 3; no module: 2; nothing to start: 2; no store named: 2', async () => {
    await world.make();
    await world.makeStore();
    assert.equal(await start({ STRONGROOM_PKCS11_MODULE: '' }).ended, 2);
    rmSync(join(world.directory, 'vault.bin'));
    const container = start();
    assert.equal(await container.ended, 3);
    assert.match(container.log, /"state":"REFUSED".*"reason":"partial-restore"/);
    assert.ok(!container.log.includes('the service'));
    const program = join(deploy, 'container/entrypoint.sh');
    assert.equal((await ended(program, [], { env: { ...account.env, ...settings } })).code, 2);
    assert.equal((await ended(program, ['true'], { env: account.env })).code, 2);
  });

  it('ends at once by SIGTERM, with the wizard, and leaves no file', async () => {
    await world.make();
    await world.makeStore();
    world.destroyKek();
    const temporary = join(world.root, 'tmp');
    assert.equal((await ended('mkdir', [temporary])).code, 0);
    chmodSync(temporary, 0o1777);
    const container = start({ TMPDIR: temporary });
    await container.said(/^page +https:/m);
    const children = readFileSync(`/proc/${container.pid}/task/${container.pid}/children`, 'utf8').trim();
    assert.match(children, /^\d+$/, 'the wizard is its only child');
    assert.equal(await container.stop(), 143);
    assert.ok(!existsSync(`/proc/${children}`), 'it ended, too');
    assert.equal((await ended('ls', ['-A', temporary])).stdout, '');
  });
});
