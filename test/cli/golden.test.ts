// What people read at 80 columns, held to files in golden/: every page of help, status in each state, and every question.
// `npm run golden` writes the files again; read the difference as a stranger would before you commit it.
import assert from 'node:assert/strict';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import type { Command } from 'commander';

import { createProgram } from '../../lib/cli/program.js';
import { pin, softhsm, soPin } from '../support/softhsm.js';
import { Swtpm } from '../support/swtpm.js';
import { onTerminal, password, strongroom, type Dialogue } from './support.js';

const columns = 80;
const goldenDirectory = fileURLToPath(new URL('golden', import.meta.url));
const writes = process.env['STRONGROOM_GOLDEN'] === 'write';
const compared = new Set<string>();

/** Compares a text with its file, or writes that. */
function golden(name: string, text: string): void {
  const file = join(goldenDirectory, `${name}.txt`);
  compared.add(file);
  if (writes) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  } else {
    assert.equal(text, readFileSync(file, 'utf8'), `${name}: run \`npm run golden\` and read the difference`);
  }
  for (const line of text.split('\n'))
    assert.ok(Array.from(line).length <= columns, `${name}: ${Array.from(line).length} columns: ${line}`);
}

/** The same text whatever was random, timed or of this machine; as wide, where it can be. */
function steady(text: string, root: string): string {
  return text
    .replaceAll(root, '/tmp/strongroom-cli-XXXXXX')
    .replaceAll(/\/\S+\/strongroom-swtpm-\w{6}/g, '/tmp/strongroom-swtpm-XXXXXX')
    .replaceAll(softhsm, '/usr/lib/softhsm/libsofthsm2.so')
    .replaceAll(/\b[0-9a-f]{16,32}\b/g, (hex) => '0'.repeat(hex.length))
    .replaceAll(/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ/g, '2026-01-01 00:00:00Z')
    .replaceAll(/^(age +)\d+ \w+/gm, (_, label: string) => `${label}0 s`)
    .replaceAll(/extend index at 0x01[0-9a-f]{6}/g, 'extend index at 0x01000000')
    .replaceAll(/^notice: the store was made while[^\]]*\[clock-unsynchronised\]\n/gm, '')
    .replaceAll(/("signature": ?)"[^"]+"/g, '$1"AAAA"')
    .replaceAll(/\b(IBM SW TPM) [\d.]+/g, '$1 0000.0000')
    .replaceAll(/\d+ at 0x01[0-9a-f]{6}/g, '0 at 0x01000000')
    .replaceAll(/(counter) 0x1[0-9a-f]{6}\b/g, '$1 0x1000000')
    .replaceAll(/(sealed up to) \d+/g, '$1 0')
    .replaceAll(/\b(slot) \d{4,}/g, '$1 0000000000')
    .replaceAll(/^(file system {6}) .*$/gm, '$1 ext4')
    .replaceAll(/\b([0-9A-Z]{4}-){7}[0-9A-Z]{4}\b/g, '0000-0000-0000-0000-0000-0000-0000-0000')
    .replaceAll(
      /(vault log|log) [\d.]+ KiB, of which live [\d.]+ (KiB|B|bytes)/g,
      '$1 0.0 KiB, of which live 0.0 KiB',
    );
}

describe('golden: at 80 columns', function () {
  this.timeout(120_000);
  let root: string;
  let directory: string;
  let secrets: string;
  let passwordFile: string;
  beforeEach(async () => {
    // Of one width everywhere.
    root = mkdtempSync('/tmp/strongroom-cli-');
    [directory, secrets, passwordFile] = [join(root, 'store'), join(root, 'secrets'), join(root, 'password')];
    writeFileSync(passwordFile, password, { mode: 0o600 });
  });
  afterEach(() => {
    rmSync(root, { recursive: true });
  });
  after(() => {
    const files = readdirSync(goldenDirectory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.filter((each) => !compared.has(each))) {
      if (writes) rmSync(file);
      else assert.fail(`${relative(goldenDirectory, file)} belongs to no test`);
    }
  });

  const ok = async (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> => {
    const { code, stdout, stderr } = await strongroom(args, { env });
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const init = (...more: string[]): Promise<string> =>
    ok([
      ...['init', directory, '--secret-store', `file:${secrets}`, '--instance', 'acme'],
      ...['--recovery-password-file', passwordFile, ...more],
    ]);

  describe('help', () => {
    const pageOf = (path: readonly string[]): string => {
      let page = '';
      let command: Command = createProgram(path[0], (text) => {
        page += text;
      });
      for (const name of path)
        command = command.commands.find((each) => each.name() === name) ?? assert.fail(name);
      command.configureHelp({ ...command.configureHelp(), helpWidth: columns });
      command.outputHelp();
      return page;
    };
    const visit = (command: Command, path: readonly string[]): void => {
      it(['strongroom', ...path].join(' '), () => {
        golden(`help/${['strongroom', ...path].join('-')}`, pageOf(path));
      });
      for (const each of command.commands) visit(each, [...path, each.name()]);
    };
    visit(createProgram(), []);
  });

  describe('status', () => {
    const status = async (
      name: string,
      args: readonly string[] = [],
      env: NodeJS.ProcessEnv = {},
    ): Promise<void> => {
      const { stdout } = await onTerminal(
        ['status', directory, ...args],
        [],
        { TERM: 'dumb', ...env },
        columns,
      );
      golden(`status/${name}`, steady(stdout.replaceAll('\r\n', '\n'), root));
    };

    describe('protector software', () => {
      beforeEach(() => init());

      it('ready', async () => {
        await ok(['set', directory, 'seats/cad', '12']);
        await status('software-ready');
      });
      it('refused: older files were put back', async () => {
        cpSync(directory, join(root, 'backup'), { recursive: true });
        await ok(['set', directory, 'seats/cad', '12']);
        rmSync(directory, { recursive: true });
        renameSync(join(root, 'backup'), directory);
        await status('software-rolled-back');
      });
      it('refused: the SecretStore is gone', async () => {
        rmSync(secrets, { recursive: true });
        await status('software-root-unavailable');
      });
      it('retryable: the keyring does not answer', async () => {
        await status('software-retryable', ['--secret-store', 'secret-service']);
      });
      it('no store', async () => {
        rmSync(directory, { recursive: true });
        rmSync(secrets, { recursive: true });
        await status('no-store');
      });
    });

    describe('protector tpm', () => {
      let tpm: Swtpm;
      beforeEach(async () => {
        tpm = await Swtpm.started();
        await ok([
          ...[
            'init',
            directory,
            '--protector',
            'tpm',
            '--tcti',
            tpm.tcti,
            '--instance',
            'acme',
            '--pcrs',
            '7',
          ],
          ...['--recovery-password-file', passwordFile, '--no-pin'],
        ]);
      });
      afterEach(() => tpm.remove());

      it('ready', () => status('tpm-ready'));
      it('refused: older files were put back', async () => {
        cpSync(directory, join(root, 'backup'), { recursive: true });
        await ok(['set', directory, 'seats/cad', '12']);
        rmSync(directory, { recursive: true });
        renameSync(join(root, 'backup'), directory);
        await status('tpm-rolled-back');
      });
      it('retryable: the TPM does not answer', async () => {
        await tpm.remove();
        await status('tpm-retryable');
      });
    });

    describe('protector pkcs11', () => {
      let env: NodeJS.ProcessEnv;
      beforeEach(async () => {
        env = await initInToken();
      });

      it('ready', () => status('pkcs11-ready', [], env));
      it('retryable: the module cannot be loaded', () =>
        status('pkcs11-retryable', ['--module', '/usr/lib/missing.so'], env));
      it('refused: the token is gone, and a restore brings the store back', async () => {
        rmSync(join(root, 'tokens'), { recursive: true });
        mkdirSync(join(root, 'tokens'));
        await status('pkcs11-restore-required', [], env);
      });
    });
  });

  describe('questions', () => {
    const asked = async (
      name: string,
      args: readonly string[],
      dialogue: Dialogue,
      env: NodeJS.ProcessEnv = {},
      code = 0,
    ): Promise<void> => {
      const outcome = await onTerminal(args, dialogue, { TERM: 'dumb', ...env }, columns);
      // Of a line that is drawn again, the last state.
      const shown = outcome.stdout
        .replaceAll('\r\n', '\n')
        .split('\n')
        .map((line) => line.split('\r').findLast((state) => state !== '') ?? '')
        .map((line) => stripVTControlCharacters(line))
        .map((line) => line.trimEnd())
        .join('\n');
      golden(`questions/${name}`, steady(shown, root));
      assert.equal(outcome.code, code, shown);
    };
    const next = 'another horse, another staple';
    const lastGroup = (shown: string): string =>
      `${/(?:[0-9A-Z]{4}-){7}([0-9A-Z]{4})/.exec(shown)?.[1] ?? ''}\r`;
    const initArgs = (): string[] => [
      'init',
      directory,
      '--secret-store',
      `file:${secrets}`,
      '--instance',
      'acme',
    ];

    it('init: a backup password, twice', () =>
      asked('init-password', initArgs(), [
        ['recovery key):', `${password}\r`],
        ['again:', `${password}\r`],
      ]));
    it('init: two that differ', () =>
      asked(
        'init-password-differs',
        initArgs(),
        [
          ['recovery key):', `${password}\r`],
          ['again:', `${next}\r`],
        ],
        {},
        2,
      ));
    it('init: a recovery key, typed back at the second try', () =>
      asked('init-recovery-key', initArgs(), [
        ['recovery key):', '\r'],
        ['to confirm:', 'nope\r'],
        ['to confirm:', lastGroup],
      ]));
    it('password change', async () => {
      await init();
      await asked(
        'password-change',
        ['password', 'change', directory],
        [
          ['password:', `${password}\r`],
          ['recovery key):', `${next}\r`],
          ['again:', `${next}\r`],
        ],
      );
    });
    const addSecond = async (): Promise<void> => {
      const second = join(root, 'second');
      writeFileSync(second, next, { mode: 0o600 });
      const passwords = ['--password-file', passwordFile, '--new-password-file', second];
      await ok(['password', 'add', directory, ...passwords, '--label', 'second safe']);
    };
    it('password add', async () => {
      await init();
      await asked(
        'password-add',
        ['password', 'add', directory, '--label', 'second safe'],
        [
          ['password:', `${password}\r`],
          ['recovery key):', `${next}\r`],
          ['again:', `${next}\r`],
        ],
      );
    });
    it('password add: a recovery key', async () => {
      await init();
      await asked(
        'password-add-recovery-key',
        ['password', 'add', directory],
        [
          ['password:', `${password}\r`],
          ['recovery key):', '\r'],
          ['to confirm:', lastGroup],
        ],
      );
    });
    it('password remove', async () => {
      await init();
      await addSecond();
      await asked(
        'password-remove',
        ['password', 'remove', directory, '--key-slot', '3'],
        [['password:', `${password}\r`]],
      );
    });
    it('password verify', async () => {
      await init();
      await asked('password-verify', ['password', 'verify', directory], [['password:', `${password}\r`]]);
    });
    it('rotate dek, with one password of two', async () => {
      await init();
      await addSecond();
      await asked('rotate-dek', ['rotate', 'dek', directory], [['password:', `${password}\r`]], {}, 2);
    });
    it('rotate dek: which passwords go', async () => {
      await init();
      await addSecond();
      await asked(
        'rotate-dek-remove-other-passwords',
        ['rotate', 'dek', directory, '--remove-other-passwords'],
        [
          ['password:', `${password}\r`],
          ['to go on:', 'yes\r'],
        ],
      );
    });
    it('reanchor: what is given up', async () => {
      await init();
      cpSync(directory, join(root, 'backup'), { recursive: true });
      await ok(['set', directory, 'seats/cad', '12']);
      rmSync(directory, { recursive: true });
      renameSync(join(root, 'backup'), directory);
      await asked(
        'reanchor',
        ['reanchor', directory],
        [
          [': ', (shown) => `${/generation (\d+)/.exec(shown)?.[1] ?? ''}\r`],
          ['password:', `${password}\r`],
        ],
      );
    });
    it('recover', async () => {
      await init();
      rmSync(secrets, { recursive: true });
      await asked('recover', ['recover', directory], [['password:', `${password}\r`]]);
    });
    it('decommission', async () => {
      await init();
      await asked(
        'decommission',
        ['decommission', directory],
        [
          ['to go on:', 'acme\r'],
          ['password:', `${password}\r`],
        ],
      );
    });
    it('decommission: items whose store is gone', async () => {
      await init();
      rmSync(directory, { recursive: true });
      const place = ['--leftovers', '--instance', 'acme', '--secret-store', `file:${secrets}`];
      await asked('decommission-leftovers', ['decommission', directory, ...place], [['to go on:', 'acme\r']]);
    });
    it('set: a value from the terminal', async () => {
      await init();
      await asked('set', ['set', directory, 'seats/cad'], [['ends it.', '12\n\u0004']]);
    });
    it('key sign: a message from the terminal', async () => {
      await init();
      await ok(['key', 'generate', directory, 'ca-1']);
      await asked(
        'key-sign',
        ['key', 'sign', directory, 'ca-1', '--json'],
        [['ends it.', 'to be signed\n\u0004']],
      );
    });

    describe('with a TPM', () => {
      let tpm: Swtpm;
      beforeEach(async () => {
        tpm = await Swtpm.started();
      });
      afterEach(() => tpm.remove());

      it('init and get: the PIN of the root', async () => {
        await asked(
          'init-tpm',
          [
            ...['init', directory, '--protector', 'tpm', '--tcti', tpm.tcti, '--instance', 'acme'],
            ...['--recovery-password-file', passwordFile],
          ],
          [
            ['root key:', '2468\r'],
            ['again:', '2468\r'],
          ],
        );
        await asked('get-tpm', ['get', directory, 'seats/cad'], [['root key:', '2468\r']], {}, 1);
        await asked(
          'reseal',
          ['reseal', directory],
          [
            ['root key:', '1357\r'],
            ['again:', '1357\r'],
            ['password:', `${password}\r`],
          ],
        );
      });
    });

    describe('with a token', () => {
      it('get and restore: the PINs, and the password again after a wrong one', async () => {
        const env = { ...(await initInToken()), STRONGROOM_PIN: '' };
        await asked('get-pkcs11', ['get', directory, 'seats/cad'], [['token:', `${pin}\r`]], env, 1);
        rmSync(join(root, 'tokens'), { recursive: true });
        mkdirSync(join(root, 'tokens'));
        await asked(
          'restore',
          ['restore', directory, '--setup-slot', await emptySlot(env)],
          [
            ['token:', `${pin}\r`],
            ['officer:', `${soPin}\r`],
            ['password:', `${next}\r`],
            ['password:', `${password}\r`],
          ],
          env,
        );
      });
      it('hsm setup', async () => {
        const env = softhsmEnvironment(root);
        const slot = await emptySlot(env);
        await asked(
          'hsm-setup',
          ['hsm', 'setup', softhsm, slot, 'acme'],
          [
            ['officer:', `${soPin}\r`],
            ['user:', `${pin}\r`],
            ['again:', `${pin}\r`],
          ],
          env,
        );
      });
    });
  });

  async function initInToken(): Promise<NodeJS.ProcessEnv> {
    const env = await makeToken(root);
    await ok(
      [
        ...['init', directory, '--protector', 'pkcs11', '--token', 'acme', '--object', 'kek'],
        ...['--instance', 'acme', '--secret-store', `file:${secrets}`],
        ...['--recovery-password-file', passwordFile],
      ],
      env,
    );
    return env;
  }
  function softhsmEnvironment(place: string): NodeJS.ProcessEnv {
    mkdirSync(join(place, 'tokens'));
    const file = join(place, 'softhsm2.conf');
    writeFileSync(
      file,
      `directories.tokendir = ${place}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    return { SOFTHSM2_CONF: file };
  }
  async function emptySlot(env: NodeJS.ProcessEnv): Promise<string> {
    const lines = (await ok(['hsm', 'list', softhsm, '--json'], env)).trim().split('\n');
    const slots = lines.map((line) => JSON.parse(line) as { initialised: boolean; slotId: number });
    return String(slots.find(({ initialised }) => !initialised)?.slotId);
  }
  async function makeToken(place: string): Promise<NodeJS.ProcessEnv> {
    const env = softhsmEnvironment(place);
    for (const [name, secret] of Object.entries({ pin, 'so-pin': soPin }))
      writeFileSync(join(place, name), secret, { mode: 0o600 });
    const pins = ['--so-pin-file', join(place, 'so-pin'), '--pin-file', join(place, 'pin')];
    await ok(['hsm', 'setup', softhsm, await emptySlot(env), 'acme', ...pins], env);
    return { ...env, STRONGROOM_PKCS11_MODULE: softhsm, STRONGROOM_PIN: pin };
  }
});
