// The units: what systemd itself says of them, and their whole way under a real systemd, set up by the commands of
// docs/deploy.md as they stand there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { compiled } from '../cli/support.js';
import { backupPassword, pin, softhsm, soPin } from '../support/softhsm.js';
import { removeDirectory, temporaryDirectory } from '../support/stores.js';
import { block, checkout, deploy, ended, hasNamespaces, makeCredential, until } from './support.js';

const units = join(deploy, 'systemd');
const services = readdirSync(units).filter((name) => name.endsWith('.service'));
/** What default dependencies ask for; nothing is in them. */
const targets = [
  'basic', 'local-fs', 'multi-user', 'network-online', 'network', 'nss-lookup', 'paths', 'remote-fs', 'shutdown',
  'sockets', 'sysinit', 'timers', 'umount',
]; // prettier-ignore

const walk = `
echo "=== the first start"
became strongroom-app ActiveState active
served

echo "=== the KEK is lost"
systemctl stop strongroom-app
as_service pkcs11-tool --module ${softhsm} --token-label acme --login --pin "$(cat /etc/strongroom/pin)" --delete-object \\
  --type secrkey --label 'strongroom acme'
before=$(sha256sum /var/lib/strongroom/tls/* /var/lib/strongroom/store/{persistence,vault,tmtmp}.bin)
systemctl restart strongroom-gate || true
became strongroom-wizard ActiveState active
for ((n = 0; n < 100; n += 1)); do if answers 503 https://127.0.0.1:8443/; then break; fi; sleep 0.1; done
answers 503 https://127.0.0.1:8443/
answers 503 https://127.0.0.1/
became strongroom-app ActiveState inactive
[[ $(sha256sum /var/lib/strongroom/tls/* /var/lib/strongroom/store/{persistence,vault,tmtmp}.bin) == "$before" ]]

echo "=== a wrong configuration of the web server: not completed"
install -m 600 /opt/scratch/backup-password /run/strongroom-password
echo NoSuchDirective > /etc/apache2/conf-enabled/broken.conf
if systemctl start strongroom-restore; then false; fi
grep 'hook-failed' /opt/scratch/restore.log
grep 'exit code 12' /opt/scratch/restore.log
rm /etc/apache2/conf-enabled/broken.conf

echo "=== the restore"
systemctl start strongroom-restore
grep 'completed: the store serves again' /opt/scratch/restore.log
became strongroom-app ActiveState active
became strongroom-wizard ActiveState inactive
served

echo "=== an outage heals"
systemctl stop strongroom-app
mv /var/lib/softhsm/tokens /var/lib/softhsm/away
systemctl start strongroom-gate || true
became strongroom-gate SubState auto-restart
mv /var/lib/softhsm/away /var/lib/softhsm/tokens
became strongroom-app ActiveState active
served

echo "=== a wrong PIN is sent once"
systemctl stop strongroom-app
echo 9999-none > /etc/strongroom/pin
: > /opt/scratch/gate.log
if systemctl start strongroom-gate; then false; fi
became strongroom-gate ActiveState failed
became strongroom-wizard ActiveState inactive
[[ $(grep -c '"state":"PIN"' /opt/scratch/gate.log) == 1 ]]
`;

// What waits is seen to ask again; what serves is asked for what the store holds. The gate keeps asking by itself.
const clocks = `
at() { # offset command...
  env LD_PRELOAD="$(echo /usr/lib/*/faketime/libfaketime.so.1):/opt/scratch/unsynchronised.so" FAKETIME="$1" FAKETIME_DONT_FAKE_MONOTONIC=1 \
    "\${@:2}"
}
chmod 755 /opt/scratch
for unit in gate app; do
  cat > /etc/systemd/system/strongroom-$unit.service.d/clock.conf <<CLOCK
[Service]
Environment=FAKETIME_TIMESTAMP_FILE=/opt/scratch/offset FAKETIME_DONT_FAKE_MONOTONIC=1
Environment=LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketime.so.1):/opt/scratch/unsynchronised.so
CLOCK
done
printf '[Service]\\nRestartSec=500ms\\n' > /etc/systemd/system/strongroom-gate.service.d/restart.conf
systemctl daemon-reload
outcome() { # of the gate that was just started: what it answers at its second question, or that the service is there
  local reason
  for ((n = 0; n < 300; n += 1)); do
    if [[ $(systemctl show --value --property ActiveState strongroom-app) == active ]]; then served > /dev/null && echo served; return; fi
    reason=$(sed -n 's/.*"start":"wait".*"reason":"\\([a-z-]*\\)".*/\\1/p' /opt/scratch/gate.log | sed -n 2p)
    if [[ -n $reason ]]; then echo "$reason"; return; fi
    sleep 0.1
  done
  echo "nothing in 30 s"
}
started() { # cold start's offset, later one's
  systemctl stop strongroom-app strongroom-gate
  : > /opt/scratch/gate.log
  echo "$2" > /opt/scratch/offset
  systemctl start --no-block strongroom-gate
  echo "made at $1, started at $2: $(outcome)"
  echo +0 > /opt/scratch/offset
  became strongroom-app ActiveState active
  served > /dev/null
}
cd /var/lib/strongroom
export STRONGROOM_PKCS11_MODULE=${softhsm}
for first in +0 -1h +2d +8d; do
  systemctl stop strongroom-app strongroom-gate
  as_service strongroom decommission store --yes --pin-fd 3 --password-fd 4 3< /etc/strongroom/pin 4< /root/backup-password
  # A clock that is wrong is one that nothing had set.
  seconds='-400d +8d' set=
  if [[ $first == +0 ]]; then seconds='-400d -1h +2d +8d' set=set; fi
  TEST_CLOCK=$set at $first runuser --user strongroom -- strongroom init store --protector pkcs11 --token acme --pin-fd 3 \\
    --instance acme --secret-store file:/var/lib/strongroom/secrets --recovery-password-fd 4 3< /etc/strongroom/pin 4< /root/backup-password
  at $first runuser --user strongroom -- strongroom tls set store --pin-fd 3 --key-fd 4 \\
    --certificate-file /etc/strongroom/server.crt --chain-file /etc/strongroom/chain.pem 3< /etc/strongroom/pin 4< /root/server.key
  at $first runuser --user strongroom -- strongroom set store seats 12 --pin-fd 3 3< /etc/strongroom/pin
  for second in $seconds; do started $first $second; done
done
`;
const bootSeconds = 160;

function writeTargets(directory: string): void {
  mkdirSync(directory, { recursive: true });
  for (const name of targets)
    writeFileSync(join(directory, `${name}.target`), `[Unit]\nDescription=${name}\n`);
}

describe('deploy: systemd', function () {
  this.timeout(180_000);
  let root: string;
  beforeEach(() => {
    root = temporaryDirectory();
  });
  afterEach(() => {
    removeDirectory(root);
  });

  it('the units pass systemd-analyze verify', async () => {
    const system = join(root, 'etc/systemd/system');
    cpSync(units, system, { recursive: true });
    writeTargets(join(root, 'usr/lib/systemd/system'));
    const programs = ['usr/bin/strongroom', 'usr/bin/node', 'bin/sh'];
    const hooks = readdirSync(join(deploy, 'hooks')).map((name) => `usr/libexec/strongroom/${name}`);
    for (const name of [...programs, ...hooks]) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), '#!/bin/true\n', { mode: 0o755 });
    }
    const names = readdirSync(units).map((name) => name.replace('@.', '@test.'));
    const verify = (): ReturnType<typeof ended> =>
      ended('systemd-analyze', ['verify', '--man=no', `--root=${root}`, ...names]);
    const { code, stdout, stderr } = await verify();
    assert.deepEqual([code, stdout + stderr], [0, '']);
    writeFileSync(join(system, 'strongroom-gate.service'), '[Service]\nExecStart=/nowhere\nRestartt=no\n');
    const wrong = await verify();
    assert.match(wrong.stderr, /Restartt/, 'it does look');
  });

  for (const name of services) {
    const most = name === 'strongroom-restored@.service' ? 2.5 : 1.3;
    it(`${name} is exposed to at most ${most} of 10`, async () => {
      const args = ['security', '--offline=true', '--no-pager', join(units, name)];
      const { stdout, stderr } = await ended('systemd-analyze', args);
      const level = Number(/Overall exposure level for \S+: (\d+\.\d)/.exec(stdout)?.[1]);
      assert.ok(level <= most, `${level}\n${stdout}${stderr}`);
    });
  }

  it('docs/deploy.md, command by command: first start, lost KEK, wizard, restore, outage, wrong PIN', async function () {
    if (!hasNamespaces() || !(await canBoot(root))) this.skip();
    const log = await boot(root, walk);
    assert.match(log, /^certificate +SHA-256 /m);
    assert.match(log, /^code +\w{4}-/m);
  });

  it('a clock that is wrong at the cold start, at a later one or at both: once it is right, nobody is needed', async function () {
    if (!hasNamespaces() || !(await canBoot(root))) this.skip();
    const scratch = join(root, 'scratch');
    mkdirSync(scratch);
    const shim = join(checkout, 'test/support/unsynchronised_clock.c');
    const made = await ended('cc', [
      '-shared',
      '-fPIC',
      '-O1',
      '-o',
      join(scratch, 'unsynchronised.so'),
      shim,
    ]);
    assert.equal(made.code, 0, made.stderr);
    const log = await boot(root, clocks);
    const met = Array.from(log.matchAll(/^made at (\S+), started at (\S+): (.*)$/gm), (line) =>
      line.slice(1),
    );
    const waits = {
      '-400d': 'clock-rolled-back',
      '-1h': 'clock-rolled-back',
      '+2d': 'served',
      '+8d': 'state-stale',
    };
    assert.deepEqual(met, [
      ...Object.entries(waits).map(([second, outcome]) => ['+0', second, outcome]),
      ['-1h', '-400d', 'clock-rolled-back'],
      ['-1h', '+8d', 'state-stale'],
      ['+2d', '-400d', 'clock-rolled-back'],
      ['+2d', '+8d', 'served'], // younger than the permitted age of 7 days
      ['+8d', '-400d', 'clock-rolled-back'],
      ['+8d', '+8d', 'served'],
    ]);
  });
});

/** Boots a systemd of its own that follows docs/deploy.md and then runs the script; what it and the units said. */
async function boot(root: string, script: string): Promise<string> {
  const scratch = join(root, 'scratch');
  writeTargets(join(scratch, 'units'));
  writeFileSync(join(scratch, 'units/driver.target'), '[Unit]\nWants=driver.service\nAfter=driver.service\n');
  writeFileSync(
    join(scratch, 'units/driver.service'),
    '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/bash /opt/scratch/driver\n' +
      `TimeoutStartSec=${bootSeconds}\n` +
      'StandardOutput=append:/opt/scratch/said\nStandardError=append:/opt/scratch/said\n',
  );
  const { key, certificate, chain, root: authority } = makeCredential(join(root, 'credential'));
  const given = { 'server.key': key, 'server.crt': certificate, 'chain.pem': chain };
  for (const [name, text] of Object.entries({
    ...given,
    'so-pin': soPin,
    pin,
    'backup-password': backupPassword,
  }))
    writeFileSync(join(scratch, name), text);
  cpSync(authority, join(scratch, 'root.crt'));
  writeFileSync(join(scratch, 'driver'), driver(script));
  // Read until the driver has opened it: that is the end.
  const fifo = join(scratch, 'done');
  assert.equal((await ended('mkfifo', [fifo])).code, 0);
  const end = spawn('cat', [fifo], { stdio: 'ignore' });
  const child = spawn(
    'unshare',
    [
      '--mount', '--pid', '--fork', '--kill-child', '--net', '--ipc', '--uts', '--mount-proc',
      join(checkout, 'test/deploy/boot.sh'), checkout, process.execPath, scratch,
    ],
    { cwd: '/', stdio: ['ignore', 'ignore', 'inherit'] },
  ); // prettier-ignore
  const gone = once(child, 'close');
  const limit = setTimeout(() => end.kill(), bootSeconds * 1000);
  await Promise.race([once(end, 'close'), gone]);
  clearTimeout(limit);
  end.kill();
  child.kill('SIGKILL');
  await gone;
  await removeControlGroups(root);
  const log = readdirSync(scratch)
    .filter((name) => name === 'said' || name.endsWith('.log'))
    .map((name) => `--- ${name}\n${readFileSync(join(scratch, name), 'utf8')}`)
    .join('\n');
  assert.ok(existsSync(join(scratch, 'passed')), log);
  for (const secret of [pin, soPin, backupPassword]) assert.ok(!log.includes(secret));
  return log;
}

/** Whether the kernel lets a mount namespace have an overlay and a cgroup2 of its own. */
async function canBoot(scratch: string): Promise<boolean> {
  if (!existsSync('/lib/systemd/systemd')) return false;
  const script = `cd "$1" && mkdir t && mount -t tmpfs tmpfs t && mkdir t/u t/w &&
    mount -t overlay overlay -o lowerdir=/etc,upperdir=t/u,workdir=t/w /etc && mount -t cgroup2 cgroup2 /sys/fs/cgroup`;
  const { code } = await ended('unshare', ['--mount', '--cgroup', 'sh', '-c', script, 'sh', scratch]);
  return code === 0;
}

/** What is left of the control group that boot.sh made. */
async function removeControlGroups(root: string): Promise<void> {
  const script = `mount -t cgroup2 cgroup2 "$1" && find "$1/$2" -depth -type d -exec rmdir {} +`;
  const args = ['--mount', 'sh', '-c', script, 'sh', join(root, 'scratch/cgroup'), basename(root)];
  await until('the control group is empty', async () => (await ended('unshare', args)).code === 0);
}

function driver(script: string): string {
  const program = join('/opt/strongroom', compiled.slice(checkout.length), 'dist/cli/main.js');
  return `set -Eeuo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND"; systemctl --no-pager --full status "strongroom*" apache2; : > /opt/scratch/done' ERR
umask 022
# What npm would do.
printf '#!/bin/sh\\nexport STRONGROOM_PREBUILD=/opt/strongroom\\nexec node ${program} "$@"\\n' > /usr/local/bin/strongroom
chmod 755 /usr/local/bin/strongroom
cd /opt/strongroom
${block('install')}
umask 077
cp /opt/scratch/pin /etc/strongroom/pin
cp /opt/scratch/so-pin /opt/scratch/backup-password /opt/scratch/server.key /root/
umask 022
cp /opt/scratch/server.crt /opt/scratch/chain.pem /etc/strongroom/
${softhsm === '/usr/lib/softhsm/libsofthsm2.so' ? '' : `sed -i 's,/usr/lib/softhsm/libsofthsm2.so,${softhsm},' /etc/strongroom/environment`}
${block('apache')}
# No token of this machine's.
rm -rf /var/lib/softhsm/tokens
install -d -m 1770 -o root -g softhsm /var/lib/softhsm/tokens
(
${block('store')}
as_service strongroom set store seats 12 --pin-fd 3 3< /etc/strongroom/pin
)
cat > /opt/acme/server.js <<'SERVICE'
const { execFileSync } = require('node:child_process');
const pin = process.env.CREDENTIALS_DIRECTORY + '/pin';
const seats = execFileSync('strongroom', ['get', '/var/lib/strongroom/store', 'seats', '--pin-file', pin]);
require('node:http').createServer((_, response) => response.end('seats: ' + seats)).listen(8080, '127.0.0.1');
SERVICE
for unit in gate app wizard restore; do
  mkdir -p /etc/systemd/system/strongroom-$unit.service.d
  printf '[Service]\\nStandardOutput=append:/opt/scratch/%s.log\\nStandardError=append:/opt/scratch/%s.log\\n' $unit $unit \\
    > /etc/systemd/system/strongroom-$unit.service.d/log.conf
done
${block('sudo')}
${block('systemd')}
became() { # unit property value
  for ((n = 0; n < 300; n += 1)); do
    if [[ $(systemctl show --value --property "$2" "$1") == "$3" ]]; then return 0; fi
    sleep 0.1
  done
  echo "$1: $2 is no $3" && false
}
serves() { curl --silent --show-error --max-time 5 --cacert /opt/scratch/root.crt https://localhost/ | grep -x "seats: 12"; }
answers() { # code URL
  [[ $(curl --silent --insecure --max-time 5 --output /dev/null --write-out '%{http_code}' "$2") == "$1" ]]
}
as_service() { runuser --user strongroom -- "$@"; }
served() { for ((n = 0; n < 50; n += 1)); do if serves 2> /dev/null; then return 0; fi; sleep 0.1; done; serves; }

${script}: > /opt/scratch/passed
: > /opt/scratch/done
`;
}
