// The scripts and configurations of deploy/, as far as a tool can judge them.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { checkout, deploy, ended } from './support.js';

const files = readdirSync(deploy, { recursive: true, encoding: 'utf8' })
  .map((name) => join(deploy, name))
  .filter((path) => statSync(path).isFile());
const firstLine = (path: string): string => readFileSync(path, 'utf8').split('\n', 1)[0] ?? '';

describe('deploy: scripts', () => {
  it('shellcheck has nothing to say', async () => {
    const scripts = files.filter((path) => /^#!\/bin\/sh$|^# shellcheck shell=/.test(firstLine(path)));
    assert.ok(scripts.length >= 5, scripts.join());
    const boot = join(checkout, 'test/deploy/boot.sh');
    const { code, stdout } = await ended('shellcheck', ['--severity=style', ...scripts, boot]);
    assert.deepEqual([code, stdout], [0, '']);
  });

  it('what has an interpreter may be executed, and nothing else', () => {
    for (const path of files) {
      const executable = (statSync(path).mode & 0o111) !== 0;
      assert.equal(executable, firstLine(path).startsWith('#!'), path);
    }
  });

  it('only the hook needs privileges, and no file names a secret or a place of this machine', () => {
    for (const path of files) {
      const text = readFileSync(path, 'utf8');
      assert.doesNotMatch(text, new RegExp(`${checkout}|/home/|/tmp/`), path);
      assert.doesNotMatch(text, /--(pin|so-pin|password)[ =]/, path);
      if (/\bsudo -/.test(text)) assert.match(path, /hooks\/on-restored$/);
    }
  });

  it('the paths of hook, sudo rule, units and image agree', () => {
    const text = (name: string): string => readFileSync(join(deploy, name), 'utf8');
    const hook = '/usr/libexec/strongroom/wizard_auto_restore_success.sh';
    for (const name of [
      'hooks/on-restored',
      'hooks/answer-restored',
      'sudoers.d/strongroom',
      'systemd/strongroom-app.service',
    ])
      assert.ok(text(name).includes(hook), name);
    const socket = /^ListenStream=(.*)$/m.exec(text('systemd/strongroom-restored.socket'))?.[1];
    assert.ok(socket !== undefined && text('hooks/on-restored-systemd').includes(`'${socket}'`));
    const configuration = '/etc/strongroom/web-server.conf';
    assert.ok(text('hooks/wizard_auto_restore_success.sh').includes(`configuration=${configuration}\n`));
    const tls = '/var/lib/strongroom/tls';
    for (const name of ['hooks/web-server.conf', 'apache/strongroom.conf', 'container/Containerfile'])
      assert.ok(text(name).includes(tls), name);
  });
});
