// deploy/container as an image: the commands of docs/deploy.md in a real podman, from the first start to the restored
// certificate. What differs from the page: the names and ports, which must not be those of anything that runs here, and
// the package, which is this checkout's.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { block, deploy, ended, freePort, makeCredential, type Credential } from '../deploy/support.js';
import { launchFor, restoreLostToken } from '../deploy/restore-page.js';
import { Watched } from '../deploy/watched.js';
import { tarball } from '../package/support.js';
import { backupPassword, pin, soPin } from '../support/softhsm.js';
import { removeDirectory, temporaryDirectory } from '../support/stores.js';

describe('the container of docs/deploy.md', function () {
  this.timeout(600_000);
  const name = `strongroom-test-${process.pid}`;
  let root: string;
  let context: string;
  let ports: readonly [https: number, wizard: number];
  let credential: Credential;
  let running: Watched | undefined;

  const podman = (...args: string[]): string => execFileSync('podman', args, { encoding: 'utf8' });
  /** A block of the page, with what must differ here. */
  const run = async (marker: string): Promise<string> => {
    const script = block(marker)
      .replaceAll(/\bacme\b/g, name)
      .replace('-p 443:443 -p 8443:8443', `-p 127.0.0.1:${ports[0]}:443 -p 127.0.0.1:${ports[1]}:8443`)
      .replace(
        'podman build',
        `podman build --network host --build-arg STRONGROOM=/tmp/strongroom.tgz --volume ${(await tarball()).path}:/tmp/strongroom.tgz:ro`,
      );
    const { code, stdout, stderr } = await ended('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: context,
      timeout: 500_000,
    });
    assert.equal(code, 0, `${script}\n${stdout}${stderr}`);
    return stdout + stderr;
  };
  const follow = (): Watched => {
    running = new Watched(spawn('podman', ['logs', '--follow', name], { stdio: ['ignore', 'pipe', 'pipe'] }));
    return running;
  };
  const curl = async (): Promise<string> => {
    const { code, stdout, stderr } = await ended('curl', [
      '--silent', '--show-error', '--cacert', credential.root, '--write-out', '%{http_code}', '--retry', '0',
      `https://127.0.0.1:${ports[0]}/`,
    ]); // prettier-ignore
    assert.equal(code, 0, stderr);
    return stdout;
  };

  before(async () => {
    root = temporaryDirectory();
    context = join(root, 'context');
    mkdirSync(context);
    ports = [await freePort(), await freePort()];
    credential = makeCredential(join(root, 'tls'));
    const files = {
      pin,
      'so-pin': soPin,
      'backup-password': backupPassword,
      'server.key': credential.key,
      'server.crt': credential.certificate,
      'chain.pem': credential.chain,
      'server.js': `require('node:http').createServer((_, response) => response.end('acme '))
        .listen(8080, '127.0.0.1', () => console.log('serving'));
        process.on('SIGTERM', () => process.exit(0));`,
    };
    for (const [file, text] of Object.entries(files)) writeFileSync(join(context, file), text);
    copyFileSync(join(deploy, 'container/Containerfile'), join(context, 'Containerfile'));
  });
  after(async () => {
    for (const args of [
      ['rm', '--force', '--time', '2', name],
      ['volume', 'rm', '--force', `${name}-store`, `${name}-tokens`],
      ...['pin', 'so-pin', 'backup-password', 'server.key', 'server.crt', 'chain.pem'].map((secret) => [
        'secret',
        'rm',
        `${name}-${secret}`,
      ]),
      ['rmi', '--force', name],
    ])
      await ended('podman', args);
    await running?.ended;
    removeDirectory(root);
  });

  it('builds', async () => {
    await run('container-image');
    const [image] = JSON.parse(podman('image', 'inspect', name)) as [{ Config: { User: string } }];
    assert.equal(image.Config.User, 'strongroom');
    // Nothing of the build's secrets or caches, and the hook is root's.
    const listed = podman('run', '--rm', '--entrypoint', 'ls', name, '-ln', '/usr/libexec/strongroom');
    assert.match(listed, /^-rwxr-xr-x 1 0 0 .* on-restored$/m);
  });

  it('makes the store once, and serves with the certificate from the vault', async () => {
    const said = await run('container-store');
    for (const secret of [pin, soPin, backupPassword]) assert.ok(!said.includes(secret));
    await run('container-run');
    const log = follow();
    await log.said(/^serving$/m);
    assert.match(log.log, /"start":"service","state":"WIZARD_COMPLETED","scenario":3/);
    assert.equal(await curl(), 'acme 200');
    podman('stop', name);
    await log.ended;
    assert.equal(podman('inspect', '--format', '{{.State.ExitCode}}', name).trim(), '0');
  });

  it('with the token lost, is restored on the page and serves again, in the same life', async () => {
    podman('rm', name);
    podman('volume', 'rm', `${name}-tokens`);
    await run('container-run');
    const log = follow();
    const [, fingerprint = ''] = await log.said(/certificate +SHA-256 ([0-9A-F:]{95})\n/);
    const [, code = ''] = await log.said(/^code +(\S+)\n/m);
    await log.said(/^page +https:/m);
    assert.match(log.log, /"start":"wizard","state":"WIZARD_SETUP_HSM_AUTORESTORE","scenario":2/);
    await restore(ports[1], fingerprint, code);
    await log.said(/^serving$/m);
    assert.equal(await curl(), 'acme 200');
    for (const secret of [pin, soPin, backupPassword]) assert.ok(!log.log.includes(secret));
    // The next start is a normal one.
    podman('stop', name);
    await log.ended;
    podman('start', name);
    const next = follow();
    await next.said(/^serving$[^]*^serving$/m); // in both of its lives
    assert.equal(await curl(), 'acme 200');
    assert.match(podman('exec', name, 'tail', '/var/log/apache2/error.log'), /resuming normal operations/);
  });
});

async function restore(port: number, fingerprint: string, code: string): Promise<void> {
  const browser = await launchFor(port, fingerprint);
  try {
    const page = await browser.newPage();
    await restoreLostToken(page, port, { code, label: 'acme anew', soPin, password: backupPassword });
  } finally {
    await browser.close();
  }
}
