// deploy/kubernetes: what the kubelet does to volumes, the manifest's commands, and the links of Secrets and ConfigMaps.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { password, strongroom, temporaryDirectory } from '../cli/support.js';
import { binding } from '../support/stores.js';
import { Account, Container } from './entrypoint.js';
import { deploy } from './support.js';

interface ContainerSpec {
  readonly command: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
}
interface Manifest {
  readonly kind: string;
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly spec: {
        readonly initContainers: readonly [ContainerSpec];
        readonly containers: readonly [ContainerSpec];
      };
    };
  };
}

const mountedAt = '/var/lib/strongroom';
const yaml = createRequire(import.meta.url)('js-yaml') as { load: (text: string) => unknown };

describe('deploy: Kubernetes', function () {
  this.timeout(60_000);
  let volumes: string;
  let directory: string;
  let secrets: string;
  let manifest: Manifest;
  beforeEach(async () => {
    volumes = await temporaryDirectory();
    // The manifest, with the volumes mounted here.
    const text = readFileSync(join(deploy, 'kubernetes/strongroom.yaml'), 'utf8');
    manifest = yaml.load(text.replaceAll(mountedAt, volumes)) as Manifest;
    directory = join(volumes, 'state/store');
    secrets = join(volumes, 'witness/secrets');
    for (const volume of ['state', 'witness']) mkdirSync(join(volumes, volume));
  });

  async function makeStore(): Promise<void> {
    const args = ['init', directory, '--secret-store', `file:${secrets}`, '--instance', 'acme'];
    const { code, stderr } = await strongroom(args, { env: { STRONGROOM_PASSWORD: password } });
    assert.equal(code, 0, stderr);
  }

  /** SetVolumeOwnership() of the kubelet: the group may read and write, and search directories, which pass it on. */
  function mountWithFsGroup(): void {
    if (process.getuid!() === 0) execFileSync('chgrp', ['-R', '65534', volumes]);
    execFileSync('chmod', ['-R', 'g+rwX', volumes]);
    execFileSync('find', [volumes, '-type', 'd', '-exec', 'chmod', 'g+s', '{}', '+']);
  }

  const status = (): ReturnType<typeof strongroom> => strongroom(['status', directory, '--json']);

  it('fsGroup: the message names mode and command, and its commands open the store', async () => {
    await makeStore();
    mountWithFsGroup();
    const corrected: string[] = [];
    for (;;) {
      const { code, stderr } = await status();
      if (code === 0) break;
      assert.equal(code, 1);
      const { reason, message } = JSON.parse(stderr) as { reason: string; message: string };
      assert.equal(reason, 'unsafe-path', message);
      const named =
        /^(\S+): has mode (\d{4}), so that its group \d+ can write to it; wanted is (\d{4}): (.+)$/.exec(
          message,
        );
      assert.ok(named !== null, message);
      const [, path = '', mode = '', wanted = '', command = ''] = named;
      assert.ok(!corrected.includes(path), `${path}: again`);
      assert.equal(statSync(path).mode & 0o7777, parseInt(mode, 8));
      assert.equal(wanted, statSync(path).isDirectory() ? '0700' : '0600');
      assert.equal(command, `chmod ${wanted} ${path}`);
      execFileSync('sh', ['-c', command]);
      corrected.push(path);
    }
    assert.ok(corrected.includes(directory) && corrected.includes(secrets));
  });

  it('the init container of the manifest takes the modes back at each mount, before the store exists too', async () => {
    const [modes] = manifest.spec.template.spec.initContainers;
    const run = (): void => {
      const [file = '', ...args] = modes.command;
      execFileSync(file, args);
    };
    run();
    await makeStore();
    for (let mount = 0; mount < 2; ++mount) {
      mountWithFsGroup();
      assert.equal((await status()).code, 1);
      run();
      const { code, stderr } = await strongroom(['set', directory, 'key', 'value']);
      assert.equal(code, 0, stderr);
    }
  });

  it('the container of the manifest starts the service on it', async () => {
    assert.deepEqual([manifest.kind, manifest.spec.replicas], ['StatefulSet', 1]);
    await makeStore();
    const [{ command, env = [] }] = manifest.spec.template.spec.containers;
    assert.deepEqual(command.slice(0, 3), ['tini', '--', '/usr/libexec/strongroom/entrypoint.sh']);
    const account = new Account(volumes, join(volumes, 'none'), {}, false);
    const settings = Object.fromEntries(env.map(({ name, value }) => [name, value]));
    mountWithFsGroup();
    const refused = new Container(account, settings, 'echo', 'the service');
    assert.equal(await refused.ended, 1);
    assert.match(refused.log, /"reason":"unsafe-path"/);
    const [file = '', ...args] = manifest.spec.template.spec.initContainers[0].command;
    execFileSync(file, args);
    const container = new Container(account, settings, 'echo', 'the service');
    assert.equal(await container.ended, 0, container.log);
    assert.match(container.log, /the service/);
  });

  describe('the volume of a Secret or a ConfigMap', () => {
    let volume: string;
    beforeEach(() => {
      volume = join(volumes, 'secret');
      mkdirSync(join(volume, '..2026_11_30'), { recursive: true });
      symlinkSync('..2026_11_30', join(volume, '..data'));
    });
    const put = (name: string, content: string, mode = 0o440): void => {
      writeFileSync(join(volume, '..2026_11_30', name), content);
      chmodSync(join(volume, '..2026_11_30', name), mode);
      symlinkSync(`..data/${name}`, join(volume, name));
    };

    it('a password is read through its links', async () => {
      put('password', `${password}\n`);
      const file = join(volume, 'password');
      const args = ['init', directory, '--secret-store', `file:${secrets}`, '--recovery-password-file', file];
      assert.equal((await strongroom(args)).code, 0);
      assert.equal((await strongroom(['password', 'verify', directory, '--password-file', file])).code, 0);
    });

    it('what a link leads to is checked, and the message names the command', async () => {
      put('password', password, 0o446);
      const file = join(volume, 'password');
      const args = ['init', directory, '--secret-store', `file:${secrets}`, '--recovery-password-file', file];
      const { code, stderr } = await strongroom(args);
      assert.equal(code, 1);
      assert.ok(
        stderr.includes(`${file}: can be written by every user; take that from them: chmod o-w ${file}`),
      );
    });

    it('is a directory of manifests, whose hidden directories are passed over', async () => {
      put('a.json', '{"a":1}');
      put('b.json', '{"b":1}');
      symlinkSync('/dev/zero', join(volume, 'c.json'));
      symlinkSync('nowhere', join(volume, 'd.json'));
      const found = (await binding.readDirectoryFiles(volume, '.json', 1024, 10)) ?? [];
      assert.deepEqual(
        found.map((entry) => [entry.name, 'content' in entry && entry.content?.toString()]),
        [
          ['a.json', '{"a":1}'],
          ['b.json', '{"b":1}'],
        ],
      );
    });
  });

  it('a link in the place of the directory is refused, and the message names what it leads to', async () => {
    await makeStore();
    symlinkSync(directory, join(volumes, 'link'));
    const { code, stderr } = await strongroom(['status', join(volumes, 'link')]);
    assert.equal(code, 1);
    assert.ok(stderr.includes(`is a symbolic link; name what it leads to: ${directory}`), stderr);
  });
});
