import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
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
    const parent = await temporaryDirectory();
    const args = ['init', join(parent, 'store'), '--secret-store', `file:${join(parent, 'secrets')}`];
    const question = 'Backup password (empty: generate a recovery key): ';
    const differing = await onTerminal(args, [
      [question, 'the first horse\r'],
      ['The same again: ', 'the second horse\r'],
    ]);
    assert.equal(differing.code, 2);
    const short = await onTerminal(args, [
      [question, 'eleven byte\r'],
      ['The same again: ', 'eleven byte\r'],
    ]);
    assert.equal(short.code, 2);
    assert.match(short.stdout, /too short: a new backup password has at least 12 bytes/);
    const made = await onTerminal(args, [
      [question, 'the first horse\r'],
      ['The same again: ', 'the first horse\r'],
    ]);
    assert.equal(made.code, 0, made.stdout);
    const changed = await onTerminal(
      ['password', 'change', join(parent, 'store')],
      [
        ['Backup password: ', 'the first horse\r'],
        ['New password (empty: generate a recovery key): ', 'the second horse\r'],
        ['The same again: ', 'the second horse\r'],
      ],
    );
    assert.equal(changed.code, 0, changed.stdout);
    const env = (value: string): { env: NodeJS.ProcessEnv } => ({ env: { STRONGROOM_PASSWORD: value } });
    const check = ['password', 'verify', join(parent, 'store')];
    assert.equal((await strongroom(check, env('the first horse'))).code, 1);
    assert.equal((await strongroom(check, env('the second horse'))).code, 0);
  });

  it('generates a recovery key for an empty answer, and lets its last group be typed back', async () => {
    const parent = await temporaryDirectory();
    const args = ['init', join(parent, 'store'), '--secret-store', `file:${join(parent, 'secrets')}`];
    const question = 'Backup password (empty: generate a recovery key): ';
    const keyPattern = /^ {2}((?:[0-9A-HJKMNP-TV-Z]{4}-){7}[0-9A-HJKMNP-TV-Z]{4})\r?$/m;
    const refused = await onTerminal(args, [
      [question, '\r'],
      ['to confirm: ', 'no\r'],
      ['to confirm: ', '\r'],
      ['to confirm: ', 'nope\r'],
    ]);
    assert.equal(refused.code, 4, refused.stdout);
    assert.equal((await readdir(parent)).length, 0, 'nothing is made before the group is typed back');
    const made = await onTerminal(args, [
      [question, '\r'],
      ['to confirm: ', (shown) => `${keyPattern.exec(shown)?.[1]?.slice(-4).toLowerCase() ?? ''}\r`],
    ]);
    assert.equal(made.code, 0, made.stdout);
    const key = keyPattern.exec(made.stdout)?.[1] ?? '';
    assert.notEqual(key, keyPattern.exec(refused.stdout)?.[1]);
    assert.equal(made.stdout.split(key).length, 2, 'printed once');
    const verified = await strongroom(['password', 'verify', join(parent, 'store')], {
      env: { STRONGROOM_PASSWORD: key },
    });
    assert.equal(verified.code, 0, verified.stderr);
  });

  it('makes no store without a password unless told so, and refuses a short one', async () => {
    const parent = await temporaryDirectory();
    const args = [
      'init',
      join(parent, 'store'),
      '--secret-store',
      `file:${join(parent, 'secrets')}`,
      '--json',
    ];
    const without = await strongroom(args);
    assert.deepEqual([without.code, json(without.stderr).reason], [2, 'invalid-option']);
    assert.match(json(without.stderr).message, /--no-recovery-password/);
    const short = await strongroom(args, { env: { STRONGROOM_PASSWORD: 'eleven byte' } });
    assert.deepEqual([short.code, json(short.stderr).reason], [2, 'invalid-option']);
    assert.equal((await readdir(parent)).length, 0);
    const bricked = await strongroom([...args, '--no-recovery-password', '--max-age', '0']);
    assert.deepEqual([bricked.code, json(bricked.stderr).reason], [2, 'invalid-option']);
    assert.equal((await strongroom([...args, '--no-recovery-password'])).code, 0);
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
      { third: 'another horse\n' },
    );
    assert.equal(change.code, 0, change.stderr);
    assert.deepEqual(json(change.stdout), { changed: true, slot: 3 });
    const check = (value: string) =>
      strongroom(['password', 'verify', own.directory, '--json'], { env: { STRONGROOM_PASSWORD: value } });
    assert.equal(json((await check(password)).stderr).reason, 'password-wrong');
    assert.deepEqual(json((await check('another horse')).stdout), { valid: true, slot: 3, dated: true });
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
      { third: 'another horse' },
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
