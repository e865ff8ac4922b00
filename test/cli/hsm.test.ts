// The command line on real tokens: init, status, hsm setup, restore, rotate kek, password verify.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { pin, softhsm, soPin } from '../support/softhsm.js';
import { ended, hasNamespaces } from '../deploy/support.js';
import {
  environment,
  json,
  onTerminal,
  password,
  program,
  start,
  strongroom,
  temporaryDirectory,
  type Outcome,
} from './support.js';

describe('strongroom on a token', function () {
  this.timeout(120_000);
  let root: string;
  let directory: string;
  let env: NodeJS.ProcessEnv;
  let files: { pin: string; soPin: string; password: string; wrong: string };
  const place = (): string[] => ['--module', softhsm, '--pin-file', files.pin];

  beforeEach(async () => {
    root = await temporaryDirectory();
    directory = join(root, 'store');
    mkdirSync(join(root, 'tokens'));
    const configuration = join(root, 'softhsm2.conf');
    writeFileSync(
      configuration,
      `directories.tokendir = ${root}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    env = { SOFTHSM2_CONF: configuration };
    files = {
      pin: join(root, 'pin'),
      soPin: join(root, 'so-pin'),
      password: join(root, 'password'),
      wrong: join(root, 'wrong'),
    };
    const secrets = [pin, soPin, password, 'nonsense'];
    Object.values(files).forEach((file, at) =>
      writeFileSync(file, `${secrets[at] ?? ''}\n`, { mode: 0o600 }),
    );
  });

  const run = (args: readonly string[], extra: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
    strongroom(args, { env: { ...env, ...extra } });
  const ok = async (args: readonly string[]): Promise<Outcome> => {
    const outcome = await run(args);
    assert.equal(outcome.code, 0, outcome.stderr);
    return outcome;
  };
  const emptySlot = async (): Promise<string> => {
    const { stdout } = await ok(['hsm', 'list', softhsm, '--json']);
    const tokens = stdout.trim().split('\n').map(json);
    return String(tokens.find(({ initialised }: { initialised: boolean }) => !initialised).slotId);
  };
  const setUp = async (label: string, ...extra: string[]): Promise<Outcome> =>
    run([
      'hsm',
      'setup',
      softhsm,
      await emptySlot(),
      label,
      ...extra,
      '--so-pin-file',
      files.soPin,
      '--pin-file',
      files.pin,
    ]);
  const init = (): Promise<Outcome> =>
    ok([
      'init', directory, '--protector', 'pkcs11', ...place(), '--token', 'acme', '--object', 'kek', '--instance', 'acme',
      '--secret-store', `file:${root}/secrets`, '--recovery-password-file', files.password,
    ]); // prettier-ignore
  const destroyKek = (by = pin): void => {
    execFileSync(
      'pkcs11-tool',
      [
        '--module',
        softhsm,
        '--token-label',
        'acme',
        '--login',
        '--pin',
        by,
        '--delete-object',
        '--type',
        'secrkey',
        '--label',
        'kek',
      ],
      { env: { ...process.env, ...env }, stdio: 'ignore' },
    );
  };
  const loseTokens = (): void => {
    rmSync(join(root, 'tokens'), { recursive: true });
    mkdirSync(join(root, 'tokens'));
  };

  it('init, set, status, verify and rotate kek', async () => {
    assert.equal((await setUp('acme')).code, 0);
    assert.match((await init()).stderr, /^Made the store/m);
    await ok(['set', directory, 'seats', '12', ...place()]);
    const status = json((await ok(['status', directory, '--json', ...place()])).stdout);
    assert.equal(status.state, 'ready');
    assert.equal(status.protector, 'pkcs11');
    assert.equal(status.securityLevel, 'pkcs11');
    assert.equal(status.token.label, 'acme');
    assert.equal(status.token.kekLabel, 'kek');
    const text = (await ok(['status', directory, ...place()])).stdout;
    assert.match(text, /token +acme, serial number/);
    assert.match(text, /password drill +never/);
    await ok(['verify', directory, ...place()]);
    const rotated = json((await ok(['rotate', 'kek', directory, '--json', ...place()])).stdout);
    assert.notEqual(rotated.token.kekId, status.token.kekId);
    const anew = ['rotate', 'dek', directory, '--json', '--password-file', files.password, ...place()];
    assert.equal(json((await ok(anew)).stdout).dek.keyId, 2);
    await ok(['password', 'verify', directory, '--password-file', files.password, ...place()]);
    const after = json((await ok(['status', directory, '--json', ...place()])).stdout);
    assert.ok(Date.now() - after.passwordVerifiedMs < 60_000);
    await ok(['key', 'generate', directory, 'ca', '--location', 'hsm', ...place()]);
    assert.match((await ok(['key', 'list', directory, ...place()])).stdout, /ca +EC-P256 +hsm/);
  });

  it('PIN sources: file, descriptor, credential, environment, terminal, URI; a module by environment', async () => {
    await setUp('acme');
    await init();
    const module = ['--module', softhsm];
    assert.equal(
      (await strongroom(['list', directory, ...module, '--pin-fd', '3'], { env, third: pin })).code,
      0,
    );
    mkdirSync(join(root, 'credentials'));
    writeFileSync(join(root, 'credentials', 'hsm-pin'), pin);
    const credential = [...module, '--pin-credential', 'hsm-pin'];
    const inUnit = { CREDENTIALS_DIRECTORY: join(root, 'credentials') };
    assert.equal((await run(['list', directory, ...credential], inUnit)).code, 0);
    assert.equal((await run(['list', directory, ...credential])).code, 2);
    assert.equal((await run(['list', directory, ...module, '--pin-credential', '../pin'], inUnit)).code, 2);
    const byEnvironment = { STRONGROOM_PIN: pin, STRONGROOM_PKCS11_MODULE: softhsm };
    assert.equal((await run(['list', directory], byEnvironment)).code, 0);
    const uri = `pkcs11:token=acme?module-path=${softhsm}&pin-source=file:${files.pin}`;
    assert.equal((await run(['list', directory, '--pkcs11-uri', uri])).code, 0);
    const asked = await onTerminal(['list', directory, ...module], [['PIN of the token', `${pin}\r`]], env);
    assert.equal(asked.code, 0, asked.stdout);
    assert.ok(!asked.stdout.includes(pin));
    const without = await run(['list', directory, ...module]);
    assert.deepEqual([without.code, without.stderr.includes('pin-missing')], [1, true]);
    const noModule = await run(['list', directory, '--pin-file', files.pin]);
    assert.deepEqual([noModule.code, noModule.stderr.includes('--module')], [2, true]);
  });

  it('restore after a lost KEK: says what was found, and what is done', async () => {
    await setUp('acme');
    await init();
    await ok(['set', directory, 'seats', '12', ...place()]);
    assert.equal((await run(['restore', directory, ...place(), '--password-file', files.password])).code, 1);
    destroyKek();
    const refused = await run(['get', directory, 'seats', ...place()]);
    assert.deepEqual([refused.code, refused.stderr.includes('strongroom restore')], [5, true]);
    const status = await run(['status', directory, '--json', ...place()]);
    assert.deepEqual([status.code, json(status.stdout).state], [5, 'restore-required']);
    const check = await run(['restore', directory, '--check', '--json', ...place()]);
    assert.deepEqual([check.code, json(check.stdout).state], [5, 'WIZARD_AUTO_RESTORE_PASSWORD']);
    const wrong = await run(['restore', directory, ...place(), '--password-file', files.wrong]);
    assert.deepEqual([wrong.code, wrong.stderr.includes('password-wrong')], [1, true]);
    const restored = await run(['restore', directory, ...place(), '--password-file', files.password]);
    assert.equal(restored.code, 0, restored.stderr);
    assert.match(restored.stderr, /The key of this store is lost/);
    assert.match(restored.stderr, /done +a new key is in the token/);
    assert.match(restored.stderr, /Restored the store/);
    assert.equal((await ok(['get', directory, 'seats', ...place()])).stdout, '12');
    const story = (await ok(['log', directory, ...place()])).stdout;
    assert.match(story, /restore-detected[^]*restore-password[^]*restore-token[^]*restore-completed/);
  });

  it('restore after a lost token: sets up another, and asks again for a mistyped password', async () => {
    await setUp('acme');
    await init();
    loseTokens();
    const told = await run(['restore', directory, ...place(), '--password-file', files.password]);
    assert.equal(told.code, 5);
    assert.match(
      told.stderr,
      /not visible: the token 'acme' .* not mounted, not readable, unplugged, or lost/,
    );
    const asked = await onTerminal(
      ['restore', directory, ...place(), '--setup-slot', await emptySlot(), '--so-pin-file', files.soPin],
      [
        ['Backup password', 'mistyped\r'],
        ['Nothing was changed.', ''],
        ['Backup password', `${password}\r`],
      ],
      env,
    );
    assert.equal(asked.code, 0, asked.stdout);
    assert.match(asked.stdout, /Restored the store/);
    await ok(['verify', directory, ...place()]);
  });

  it('a device that is given up: the answer names the way, and the way works', async () => {
    await setUp('acme');
    await init();
    // SoftHSM2 answers CKR_GENERAL_ERROR to C_Initialize.
    const dead = { SOFTHSM2_CONF: join(root, 'gone.conf') };
    for (let again = 0; again < 2; ++again) {
      const told = await run(['get', directory, 'seats', ...place()], dead);
      assert.equal(told.code, 4, told.stderr);
      assert.match(told.stderr, /hsm-unreachable/);
      assert.match(told.stderr, /given up, run\s+`strongroom restore --another-token`/);
    }
    mkdirSync(join(root, 'others'));
    writeFileSync(
      join(root, 'others.conf'),
      `directories.tokendir = ${root}/others\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    env = { SOFTHSM2_CONF: join(root, 'others.conf') };
    assert.equal((await setUp('next')).code, 0);
    const named = ['--another-token', '--token', 'next', '--password-file', files.password];
    const restored = await run(['restore', directory, ...place(), ...named]);
    assert.equal(restored.code, 0, restored.stderr);
    await ok(['verify', directory, ...place()]);
  });

  it('restore with a hook that fails: the same command continues, and needs no password', async () => {
    await setUp('acme');
    await init();
    destroyKek();
    const hook = join(root, 'hook');
    writeFileSync(hook, '#!/bin/sh\nexit 3\n', { mode: 0o700 });
    const act = ['restore', directory, ...place(), '--hook', hook];
    const failed = await run([...act, '--password-file', files.password, '--json']);
    assert.deepEqual([failed.code, json(failed.stderr).reason], [4, 'hook-failed']);
    assert.equal((await run(['list', directory, ...place()])).code, 5);
    assert.match((await run(['status', directory, ...place()])).stdout, /restore +NOT COMPLETED/);
    writeFileSync(hook, '#!/bin/sh\nexit 0\n', { mode: 0o700 });
    const wrong = await run([...act, '--password-file', files.wrong, '--json']);
    assert.equal(json(wrong.stderr).reason, 'password-wrong');
    const restored = json((await ok([...act, '--json'])).stdout);
    assert.equal(restored.restored, true);
    assert.equal(restored.restore.completed, true);
    assert.deepEqual(restored.steps[1], { step: 'password', state: 'skipped' });
    assert.deepEqual(restored.steps.at(-1), { step: 'completed', state: 'done' });
  });

  it('sudo wizard_setup_hsm.sh: its arguments, and each failure with an exit code of its own', async () => {
    const setup = (slot: string, label: string, ...more: string[]): Promise<Outcome> =>
      run(['hsm', 'setup', softhsm, slot, label, ...more]);
    const pins = ['--so-pin-file', files.soPin, '--pin-file', files.pin];
    const made = await setup('0', 'acme', 'auto_restore_setup', ...pins);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stderr, /WIZARD_AUTO_RESTORE_PASSWORD/);
    const listed = (await ok(['hsm', 'list', softhsm, '--json'])).stdout.trim().split('\n').map(json);
    const { slotId: taken } = listed.find(({ label }: { label: string }) => label === 'acme');
    const empty = await emptySlot();
    writeFileSync(join(root, 'short'), '1');
    // One after the other: the last but three leaves a token 'x' without a PIN.
    const cases: readonly (readonly [code: number, run: () => Promise<Outcome>])[] = [
      [10, () => run(['hsm', 'setup', '/nowhere/module.so', '0', 'x', ...pins])],
      [11, () => setup('4711', 'x', ...pins)],
      [12, () => setup(String(taken), 'x', ...pins)],
      [12, () => setup(String(taken), 'x', ...pins, '--erase', 'Acme')],
      [13, () => setup(empty, 'acme', ...pins)],
      [
        14,
        () =>
          setup(String(taken), 'x', '--so-pin-file', files.wrong, '--pin-file', files.pin, '--erase', 'acme'),
      ],
      [16, () => setup(empty, 'x', '--so-pin-file', files.soPin)],
      [18, () => setup(empty, 'x', '--so-pin-file', files.soPin, '--pin-file', join(root, 'short'))],
      [2, () => setup('one', 'x', ...pins)],
      [2, () => run(['hsm', 'setup', 'relative.so', '0', 'x', ...pins])],
      [2, () => setup(empty, 'x', 'another_word', ...pins)],
    ];
    for (const [code, act] of cases) {
      const ended = await act();
      assert.equal(ended.code, code, ended.stderr);
    }
    const still = (await ok(['hsm', 'list', softhsm])).stdout;
    assert.match(still, /'acme'/);
    assert.equal((await setup(String(taken), 'anew', ...pins, '--erase', 'acme')).code, 0);
    assert.ok(!(await ok(['hsm', 'list', softhsm])).stdout.includes("'acme'"));
  });

  it('the slot is honoured when two tokens exist', async () => {
    assert.equal((await setUp('one')).code, 0);
    assert.equal((await setUp('two')).code, 0);
    const listed = (await ok(['hsm', 'list', softhsm, '--json'])).stdout.trim().split('\n').map(json);
    const slot = listed.find(({ label }: { label: string }) => label === 'two').slotId;
    const erased = await run([
      'hsm', 'setup', softhsm, String(slot), 'three', '--erase', 'two', '--so-pin-file', files.soPin, '--pin-file', files.pin,
    ]); // prettier-ignore
    assert.equal(erased.code, 0, erased.stderr);
    assert.match((await ok(['hsm', 'list', softhsm])).stdout, /'one'[^]*'three'|'three'[^]*'one'/);
  });

  it('processes that use the token at the same time do not take it for lost', async () => {
    await setUp('acme');
    await init();
    const codes = new Map<string, number>();
    const reader = async (): Promise<void> => {
      for (let n = 0; n < 12; n += 1) {
        const { code, signal, stderr } = await run(['list', directory, ...place()]);
        const outcome = code === 0 ? 'ok' : `${String(code)} ${String(signal)} ${stderr}`;
        codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 6 }, reader));
    assert.deepEqual([...codes], [['ok', 72]]);
  });

  /** In a mount namespace: 96 KiB for the token, and the rest of the world as it is. */
  const fullVolume = (value: string): string => `#!/bin/sh
mount -t tmpfs -o size=96k tmpfs "$TOKENS" || exit 99
run() { shown=$1; shift; "$@" >"$OUT/$shown" 2>&1; echo "$shown $?"; }
run setup $STRONGROOM hsm setup ${softhsm} 0 acme --so-pin-file ${files.soPin} --pin-file ${files.pin}
run init $STRONGROOM init ${directory} --protector pkcs11 --module ${softhsm} --token acme --pin-file ${files.pin} \
  --secret-store file:${root}/secrets --instance acme --recovery-password-file ${files.password}
dd if=/dev/zero of="$TOKENS/filler" bs=512 2>/dev/null
PLACE="${directory} --module ${softhsm} --pin-file ${files.pin}"
run set-full $STRONGROOM set $PLACE seats --file ${value}
run rotate-full $STRONGROOM rotate kek $PLACE
run set-again-full $STRONGROOM set $PLACE seats --file ${value}
run gate-full $STRONGROOM serve-gate $PLACE
rm "$TOKENS/filler"
run get $STRONGROOM get $PLACE seats
run set $STRONGROOM set $PLACE seats --file ${value}
run get-again $STRONGROOM get $PLACE seats
mount -o remount,ro "$TOKENS"
run set-read-only $STRONGROOM set $PLACE seats --file ${value}
mount -o remount,rw "$TOKENS"
run set-writable $STRONGROOM set $PLACE seats --file ${value}
`;

  // SoftHSM2 answers CKR_OK to C_CreateObject on a volume without room, and stores nothing.
  it('a full volume under the token: exit 4, nothing is lost, and it recovers when there is room', async function () {
    if (!hasNamespaces()) this.skip();
    const value = join(root, 'value');
    writeFileSync(value, '12');
    const script = join(root, 'full');
    writeFileSync(script, fullVolume(value), { mode: 0o700 });
    const outcome = await ended('unshare', ['--mount', script], {
      env: environment({
        ...env,
        TOKENS: join(root, 'tokens'),
        OUT: root,
        STRONGROOM: [process.execPath, ...program].join(' '),
      }),
    });
    const codes = Object.fromEntries(
      outcome.stdout
        .trim()
        .split('\n')
        .map((line) => line.split(' ')),
    );
    const said = ['set-full', 'rotate-full', 'gate-full', 'get', 'get-again']
      .map((name) => `${name}: ${readFileSync(join(root, name), 'utf8')}`)
      .join('');
    assert.deepEqual(
      codes,
      {
        setup: '0',
        init: '0',
        'set-full': '4',
        'rotate-full': '4',
        'set-again-full': '4',
        'gate-full': '0',
        get: '1',
        set: '0',
        'get-again': '0',
        'set-read-only': '4',
        'set-writable': '0',
      },
      said,
    );
    for (const name of ['set-full', 'set-read-only']) {
      const words = readFileSync(join(root, name), 'utf8');
      assert.match(words, /the token 'acme' .* the object 'strongroom VaultHash acme'.*token-write-failed/);
      assert.match(words, /Make room in the token/);
    }
  });

  it('no PIN and no password ever stands in /proc/*/cmdline', async () => {
    // Its own: tests beside this one give theirs to other programs in arguments.
    const secrets = [files.pin, files.soPin, files.password].map((file) => {
      const secret = randomBytes(12).toString('hex');
      writeFileSync(file, `${secret}\n`);
      return secret;
    });
    await setUp('acme');
    await init();
    destroyKek(secrets[0]);
    const hook = join(root, 'hook');
    writeFileSync(
      hook,
      `#!/bin/sh\ncat /proc/[0-9]*/cmdline /proc/self/environ > ${root}/seen 2>/dev/null; exit 0\n`,
      { mode: 0o700 },
    );
    const child = start(
      ['restore', directory, ...place(), '--password-file', files.password, '--hook', hook],
      { env },
    );
    const seen: string[] = [];
    const watch = setInterval(() => {
      for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
        try {
          seen.push(readFileSync(`/proc/${name}/cmdline`, 'utf8'));
        } catch {
          // It ended meanwhile.
        }
      }
    }, 20);
    const code = await new Promise((resolve) => child.once('close', resolve));
    clearInterval(watch);
    assert.equal(code, 0);
    assert.ok(
      seen.some((line) => line.includes('restore')),
      'the process was seen',
    );
    const all = seen.join('\n') + readFileSync(join(root, 'seen'), 'latin1');
    for (const secret of secrets) assert.ok(!all.includes(secret));
  });
});
