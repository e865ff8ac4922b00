// A real KWallet as the SecretStore `secret-service`, with its wallet opened as a login does. A server has nobody to answer a
// question, so none may be asked, and none may be left open.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wallet = 'kdewallet';

/** `pamOpen` takes what pam_kwallet derives from the password of the login: 56 bytes. The daemon offers a new wallet on
 * org.freedesktop.secrets from its next start on. */
const script = `
set -eu
call() { busctl --user call "$@"; }
open() {
  kwalletd5 &
  daemon=$!
  until busctl --user status org.kde.kwalletd5 > /dev/null 2>&1; do sleep 0.05; done
  call org.kde.kwalletd5 /modules/kwalletd5 org.kde.KWallet pamOpen sayi ${wallet} 56 $(for _ in $(seq 56); do echo 7; done) 0
}
open
kill $daemon
wait $daemon || true
open
call org.kde.kwalletd5 /modules/kwalletd5 org.kde.KWallet isOpen s ${wallet}
call org.freedesktop.secrets /org/freedesktop/secrets org.freedesktop.Secret.Service ReadAlias s default
status=0
"$@" || status=$?
echo "strongroom ended with $status"
echo "prompts: $(busctl --user --list tree org.freedesktop.secrets | grep -c /prompt/)" || true
call org.freedesktop.secrets /org/freedesktop/secrets org.freedesktop.Secret.Service Unlock ao 1 /org/freedesktop/secrets/collection/${wallet}
kill $daemon
wait $daemon || true
`;

describe('KWallet as the SecretStore', function () {
  this.timeout(60_000);
  let place: string;
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), 'strongroom-kwallet-'));
  });
  afterEach(() => {
    rmSync(place, { recursive: true });
  });

  it('an open wallet that answers with a question is an outage: nobody is asked, and the question is dismissed', async function () {
    if (!has('kwalletd5')) this.skip();
    for (const name of ['home', 'data/kwalletd', 'config', 'run'])
      mkdirSync(join(place, name), { recursive: true, mode: 0o700 });
    writeFileSync(
      join(place, 'config/kwalletrc'),
      '[Wallet]\nFirst Use=false\nEnabled=true\nPrompt on Open=false\n[org.freedesktop.secrets]\napiEnabled=true\n',
    );
    writeFileSync(join(place, 'data/kwalletd', `${wallet}.salt`), Buffer.alloc(56, 3));
    const init = [
      ...[process.execPath, '--import', 'tsx', join(root, 'lib/cli/main.ts'), 'init', join(place, 'store')],
      ...['--secret-store', 'secret-service', '--no-recovery-password'],
    ];
    const output = await run(init);
    assert.match(output, /^b true$/m, 'the wallet is open');
    assert.match(output, new RegExp(`^o "/org/freedesktop/secrets/collection/${wallet}"$`, 'm'));
    assert.match(output, /is locked, and its service would have to ask somebody.*secret-store-unavailable\]/);
    assert.match(output, /^strongroom ended with 4$/m);
    assert.match(output, /^prompts: 0$/m);
    // They are numbered from 0: strongroom had called Unlock and got one.
    assert.match(output, /^aoo 0 "\/org\/freedesktop\/secrets\/prompt\/p1"$/m);
  });

  /** On a session bus of its own, without a screen. */
  async function run(command: readonly string[]): Promise<string> {
    const child = spawn('dbus-run-session', ['--', 'bash', '-c', script, 'bash', ...command], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOME: join(place, 'home'),
        XDG_DATA_HOME: join(place, 'data'),
        XDG_CONFIG_HOME: join(place, 'config'),
        XDG_RUNTIME_DIR: join(place, 'run'),
        QT_QPA_PLATFORM: 'offscreen',
      },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    return output;
  }
});

function has(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
