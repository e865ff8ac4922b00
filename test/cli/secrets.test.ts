import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  environment,
  json,
  makeStore,
  onTerminal,
  password,
  program,
  start,
  strongroom,
  temporaryDirectory,
  type TestStore,
} from './support.js';

describe('strongroom: secrets', () => {
  let store: TestStore;
  let directory: string;
  const file = async (content: string | Uint8Array): Promise<string> => {
    const path = join(await temporaryDirectory(), 'password');
    await writeFile(path, content, { mode: 0o600 });
    return path;
  };
  const verify = (...options: string[]): string[] => ['password', 'verify', store.directory, ...options];

  before(async () => {
    store = await makeStore();
    ({ directory } = store);
  });

  it('takes the password from a file, without one newline at its end', async () => {
    const outcomes = await Promise.all(
      [password, `${password}\n`, `${password}\r\n`, `${password}\n\n`, ` ${password}`].map(
        async (content) => {
          const { code } = await strongroom(verify('--password-file', await file(content)));
          return code;
        },
      ),
    );
    assert.deepEqual(outcomes, [0, 0, 0, 1, 1]);
  });

  it('takes it from a descriptor: a pipe, a file, and standard input', async () => {
    const handle = await open(await file(`${password}\n`));
    try {
      const [pipe, plain, input] = await Promise.all([
        strongroom(verify('--password-fd', '3'), { third: `${password}\n` }),
        strongroom(verify('--password-fd', '3'), { third: handle.fd }),
        strongroom(verify('--password-fd', '0'), { input: password }),
      ]);
      assert.deepEqual(
        [pipe.code, plain.code, input.code],
        [0, 0, 0],
        pipe.stderr + plain.stderr + input.stderr,
      );
    } finally {
      await handle.close();
    }
    const wrong = await strongroom(verify('--password-fd', '3'), { third: 'wrong' });
    assert.equal(wrong.code, 1);
  });

  it("takes it from a shell's pipe and here-document", async () => {
    const throughShell = async (script: string): Promise<unknown> => {
      const shell = ['-c', script, 'sh', process.execPath, ...program, ...verify('--password-fd', '3')];
      const child = spawn('/bin/sh', shell, { env: environment({ SECRET: password }), stdio: 'ignore' });
      const [code] = await once(child, 'close');
      return code;
    };
    assert.equal(await throughShell('printf "%s\\n" "$SECRET" | "$@" 3<&0 </dev/null'), 0);
    assert.equal(await throughShell('"$@" 3<<END\n$SECRET\nEND'), 0);
    assert.equal(await throughShell('printf wrong | "$@" 3<&0 </dev/null'), 1);
  });

  it('follows a link to the file, and reads the <(...) of a shell', async () => {
    const link = join(await temporaryDirectory(), 'link');
    await symlink(await file(`${password}\n`), link);
    const linked = await strongroom(verify('--password-file', link));
    assert.equal(linked.code, 0, linked.stderr);
    const shell = [
      '-c',
      'exec "$@" --password-file <(echo "$SECRET")',
      'bash',
      process.execPath,
      ...program,
      ...verify(),
    ];
    const child = spawn('bash', shell, { env: environment({ SECRET: password }), stdio: 'ignore' });
    assert.equal((await once(child, 'close'))[0], 0);
  });

  it('names the newline of a refused password', async () => {
    const { code, stderr } = await strongroom(verify('--password-file', await file(`${password}\n\n`)));
    assert.equal(code, 1);
    assert.match(stderr, /ends in a newline/);
  });

  it('takes it from STRONGROOM_PASSWORD, and a file before that', async () => {
    const env = { STRONGROOM_PASSWORD: password };
    const [variable, before, missing] = await Promise.all([
      strongroom(verify(), { env }),
      strongroom(verify('--password-file', await file('wrong')), { env }),
      strongroom(verify('--json')),
    ]);
    assert.deepEqual([variable.code, before.code, missing.code], [0, 1, 1]);
    assert.equal(json(missing.stderr).reason, 'password-missing');
  });

  it('asks on a terminal without showing the answer', async () => {
    const { code, stdout } = await onTerminal(verify(), [['Backup password: ', `${password}\r`]]);
    assert.equal(code, 0, stdout);
    assert.equal(stdout.includes(password), false);
    assert.match(stdout, /The password is right/);
  });

  it('lets the answer be corrected: backspace takes a whole character, Ctrl-U the line', async () => {
    const typed = `wrong line\x15${password}ü\x7f€x\x7f\x08\r`;
    const { code, stdout } = await onTerminal(verify(), [['Backup password: ', typed]]);
    assert.equal(code, 0, stdout);
    assert.equal(stdout.includes('wrong'), false);
  });

  it('ends by SIGINT at Ctrl-C, and with exit code 4 at Ctrl-D on an empty line', async () => {
    const [interrupted, ended] = await Promise.all([
      onTerminal(verify(), [['Backup password: ', 'half\x03']]),
      onTerminal(verify('--json'), [['Backup password: ', '\x04']]),
    ]);
    assert.equal(interrupted.code, 128 + 2);
    assert.equal(ended.code, 4);
    assert.match(ended.stdout, /"reason":"aborted"/);
  });

  it('asks for a new password twice, at init too', async () => {
    const { directory: parent } = { directory: await temporaryDirectory() };
    const args = ['init', join(parent, 'store'), '--secret-store', `file:${join(parent, 'secrets')}`];
    const differing = await onTerminal(args, [
      ['Backup password: ', 'one\r'],
      ['The same again: ', 'two\r'],
    ]);
    assert.equal(differing.code, 2);
    const made = await onTerminal(args, [
      ['Backup password: ', 'one\r'],
      ['The same again: ', 'one\r'],
    ]);
    assert.equal(made.code, 0, made.stdout);
    const changed = await onTerminal(
      ['password', 'change', join(parent, 'store')],
      [
        ['Backup password: ', 'one\r'],
        ['New password: ', 'two\r'],
        ['The same again: ', 'two\r'],
      ],
    );
    assert.equal(changed.code, 0, changed.stdout);
    const env = (value: string): { env: NodeJS.ProcessEnv } => ({ env: { STRONGROOM_PASSWORD: value } });
    const check = ['password', 'verify', join(parent, 'store')];
    assert.equal((await strongroom(check, env('one'))).code, 1);
    assert.equal((await strongroom(check, env('two'))).code, 0);
  });

  it('takes several lines that were pasted at once', async () => {
    const { code, stdout } = await onTerminal(
      ['password', 'change', directory],
      [['Backup password: ', `${password}\r${password}\r${password}\r`]],
    );
    assert.equal(code, 0, stdout);
    assert.equal(stdout.includes(password), false);
  });

  it('changes a password by files and descriptors', async () => {
    const own = await makeStore();
    const change = await strongroom(
      [
        'password',
        'change',
        own.directory,
        '--password-file',
        await file(password),
        '--new-password-fd',
        '3',
        '--json',
      ],
      { third: 'next\n' },
    );
    assert.equal(change.code, 0, change.stderr);
    assert.deepEqual(json(change.stdout), { changed: true, slot: 3 });
    const check = (value: string) =>
      strongroom(['password', 'verify', own.directory, '--json'], { env: { STRONGROOM_PASSWORD: value } });
    assert.equal(json((await check(password)).stderr).reason, 'password-wrong');
    assert.deepEqual(json((await check('next')).stdout), { valid: true, slot: 3, dated: true });
    const wrong = await strongroom(
      [
        'password',
        'change',
        own.directory,
        '--password-file',
        await file(password),
        '--new-password-fd',
        '3',
        '--json',
      ],
      { third: 'another' },
    );
    assert.deepEqual([wrong.code, json(wrong.stderr).reason], [1, 'password-wrong']);
  });

  it('never takes the new password from the environment', async () => {
    const { code, stderr } = await strongroom(['password', 'change', directory, '--json'], {
      env: { STRONGROOM_PASSWORD: password },
    });
    assert.equal(code, 1);
    assert.equal(json(stderr).reason, 'password-missing');
  });

  it('refuses contradicting, empty and overlong sources with exit code 2, a missing file or a device by its reason', async () => {
    const path = await file(password);
    const outcomes = await Promise.all([
      strongroom(verify('--password-file', path, '--password-fd', '3', '--json'), { third: password }),
      strongroom(verify('--password-file', await file('\n'), '--json')),
      strongroom(verify('--password-file', await file('x'.repeat(4097)), '--json')),
      strongroom(verify('--password-fd', 'three', '--json')),
      strongroom(verify('--password-file', `${path}-missing`, '--json')),
      strongroom(verify('--password-file', '/dev/zero', '--json')),
      strongroom(verify('--password-fd', '99', '--json')),
    ]);
    assert.deepEqual(
      outcomes.map(({ code, stderr }) => [code, json(stderr).reason]),
      [
        [2, 'invalid-option'],
        [2, 'invalid-option'],
        [2, 'invalid-option'],
        [2, 'invalid-option'],
        [4, 'not-found'],
        [1, 'unsafe-path'],
        [4, 'not-found'],
      ],
    );
  });

  it('shows no secret in its arguments, on its outputs, or in what it says of errors', async () => {
    const secret = 'a-secret-that-must-not-show';
    const outcomes = await Promise.all([
      strongroom(verify(), { env: { STRONGROOM_PASSWORD: secret } }),
      strongroom(verify('--json'), { env: { STRONGROOM_PASSWORD: secret } }),
      strongroom(verify('--password-fd', '3'), { third: secret }),
      strongroom(['reanchor', directory, '--json'], { env: { STRONGROOM_PASSWORD: secret } }),
      strongroom(['decommission', directory, '--yes'], { env: { STRONGROOM_PASSWORD: secret } }),
    ]);
    for (const { code, stdout, stderr } of outcomes) {
      assert.equal(code, 1);
      assert.equal((stdout + stderr).includes(secret), false);
    }
    const child = start(verify('--password-fd', '3'), { third: '' });
    const line = await readFile(`/proc/${child.pid}/cmdline`, 'utf8');
    assert.match(line, /--password-fd\0(3)\0$/);
    child.kill();
    await once(child, 'close');
  });
});
