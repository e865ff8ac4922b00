import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

import type { Command } from 'commander';

import { createProgram } from '../../lib/cli/program.js';
import { renamedCommands, renamedFlags } from '../../lib/cli/renamed.js';
import { json, makeStore, strongroom, temporaryDirectory } from './support.js';

const commands = [
  'init',
  'status',
  'get',
  'set',
  'delete',
  'increment',
  'list',
  'verify',
  'log',
  'reanchor',
  'recover',
  'decommission',
  'relocate',
  'password',
  'permit',
];

/** The commands that do something, with the words that call them. */
function leaves(): [words: string[], command: Command][] {
  return createProgram().commands.flatMap((command) =>
    command.commands.length > 0
      ? command.commands.map((leaf): [string[], Command] => [[command.name(), leaf.name()], leaf])
      : [[[command.name()], command] as [string[], Command]],
  );
}

describe('strongroom: help and usage', () => {
  it('shows all commands and the exit codes with --help', async () => {
    const { code, stdout, stderr } = await strongroom(['--help']);
    assert.equal(code, 0);
    assert.equal(stderr, '');
    for (const name of commands) assert.match(stdout, new RegExp(`^  ${name}\\b`, 'm'));
    assert.match(stdout, /Exit codes: 0 ok, 1 other, 2 usage, 3 .*,\s4 /);
  });

  it('shows the help of a command, with an example, both ways', async () => {
    const [byHelp, byOption] = await Promise.all([
      strongroom(['help', 'set']),
      strongroom(['set', '--help']),
    ]);
    assert.equal(byHelp.code, 0);
    assert.match(byHelp.stdout, /Usage: strongroom set \[options\] <dir> <key> \[value\]/);
    assert.match(byHelp.stdout, /Examples:\n {2}strongroom set DIR/);
    assert.equal(byOption.stdout, byHelp.stdout);
  });

  it('adds to a command line that begins with the name of a command that command, and not all', () => {
    const all = createProgram().commands.map((command) => command.name());
    for (const name of all) {
      const added = createProgram(name).commands.map((command) => command.name());
      assert.ok(added.includes(name) && added.length < all.length / 2, `${name}: ${added.join(', ')}`);
    }
    for (const none of ['stauts', '--json', 'help', '', '__proto__']) {
      assert.equal(createProgram(none).commands.length, all.length);
    }
  });

  it('has an example for every command and no option that takes a password', () => {
    const all = leaves();
    assert.ok(all.length >= commands.length);
    for (const [, leaf] of all) {
      let help = '';
      leaf.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
      assert.match(help, /Examples?:\n {2}strongroom /, leaf.name());
      for (const { long, required } of leaf.options) {
        if (/password|secret|token|key/.test(long ?? '') && required) {
          assert.match(
            long!,
            /-(file|fd|credential)$|^--secret-store$|^--vendor-public-key$|^--token(-serial)?$|^--key-slot$/,
            `${leaf.name()} ${long}`,
          );
        }
      }
    }
  });

  it('shows the version and the library that encrypts', async () => {
    const { code, stdout } = await strongroom(['--version']);
    assert.equal(code, 0);
    assert.match(stdout, /^strongroom \d+\.\d+\.\d+\S*, OpenSSL 3\.\S+/);
  });

  const wrong: [what: string, args: string[], message: RegExp][] = [
    ['no command', [], /Usage: strongroom/],
    ['an unknown command', ['stauts', 'DIR'], /unknown command 'stauts'; did you mean status\?/],
    [
      'an unknown option',
      ['list', 'DIR', '--prefx', 'a'],
      /unknown option '--prefx'; did you mean --prefix\?/,
    ],
    ['a missing argument', ['get', 'DIR'], /missing required argument 'key'/],
    ['too many arguments', ['status', 'DIR', 'more'], /too many arguments/],
    ['a missing option', ['init', 'DIR'], /required option '--secret-store <place>' not specified/],
    [
      'a PIN for a protector that has none',
      ['init', 'DIR', '--secret-store', 'file:S', '--pin-file', 'P'],
      /--pin-file: protector 'software' has no PIN/,
    ],
    ['an unknown protector', ['init', 'DIR', '--secret-store', 'file:S', '--protector', 'paper'], /software/],
    [
      'a SecretStore without a place',
      ['init', 'DIR', '--secret-store', 'file:'],
      /file:PATH or secret-service/,
    ],
    ['a SecretStore in the store', ['init', 'DIR', '--secret-store', 'file:DIR/secrets'], /outside/],
    [
      'a duration that is none',
      ['init', 'DIR', '--secret-store', 'file:S', '--max-age', 'soon'],
      /--max-age/,
    ],
    ['a number that is none', ['increment', 'DIR', 'k', '--by', '1.5'], /--by takes a whole number/],
    ['a negative limit', ['list', 'DIR', '--limit', '-1'], /--limit takes a whole number/],
    ['two values', ['set', 'DIR', 'k', 'v', '--file', 'f'], /exclude each other/],
    ['a password as an argument', ['reanchor', 'DIR', '--password', 'x'], /unknown option '--password'/],
    [
      'an incomplete checkpoint',
      ['permit', 'sign', '--private-key-file', 'f', '--purpose', 'recover'],
      /--status-file/,
    ],
    [
      'an unknown purpose',
      ['permit', 'sign', '--private-key-file', 'f', '--purpose', 'party'],
      /reanchor, recover/,
    ],
  ];
  for (const [what, args, message] of wrong) {
    it(`answers ${what} with exit code 2 and touches nothing`, async () => {
      const directory = await temporaryDirectory();
      const placed = args.map((argument) => argument.replace(/\b(DIR|S)\b/, (name) => join(directory, name)));
      const { code, stdout, stderr } = await strongroom(placed);
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, message);
      assert.deepEqual(await readdir(directory), []);
    });
  }

  for (const [old, name] of renamedFlags) {
    const taking = leaves().filter(([, command]) => command.options.some(({ long }) => long === name));
    it(`answers ${old} of ${taking.length} commands with its name of now`, async () => {
      assert.ok(taking.length > 0);
      for (const [words] of taking) {
        for (const given of [[old, 'x'], [`${old}=x`]]) {
          const { code, stderr } = await strongroom([...words, 'DIR', ...given]);
          assert.equal(code, 2, stderr);
          assert.ok(stderr.includes(`${old} is called ${name} now`), stderr);
        }
      }
    });
  }

  for (const [old, name] of renamedCommands) {
    it(`answers the command ${old} with its name of now`, async () => {
      assert.ok(createProgram().commands.some((command) => command.name() === name));
      const { code, stderr } = await strongroom([old, 'sign', '--purpose', 'recover']);
      assert.equal(code, 2, stderr);
      assert.ok(stderr.includes(`${old} is called ${name} now`), stderr);
    });
  }

  it('answers an old name plainly where the command does not have the new one either', async () => {
    const plain: [args: string[], message: RegExp][] = [
      [['status', 'DIR', '--storage', 'tpm'], /unknown option '--storage'/],
      [['get', 'DIR', 'key', '--token-file', 'x'], /unknown option '--token-file'/],
      [['password', 'verify', 'DIR', '--storage=tpm'], /unknown option '--storage=tpm'/],
      [['--storage', 'tpm', 'init', 'DIR'], /unknown option '--storage'/],
      [['hsm', 'token'], /unknown command 'token'/],
      [['permit', 'token'], /unknown command 'token'/],
    ];
    for (const [args, message] of plain) {
      const { code, stderr } = await strongroom(args);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /is called/);
    }
  });

  it('tells usage errors in JSON too, each with a code, a reason and a remedy', async () => {
    const [option, argument] = await Promise.all([
      strongroom(['status', 'DIR', '--jsn', '--json']),
      strongroom(['get', '--json']),
    ]);
    assert.equal(option.code, 2);
    const error = json(option.stderr);
    assert.deepEqual([error.code, error.reason, error.retryable], ['PERS_8001', 'invalid-option', false]);
    assert.match(error.message, /did you mean --json/);
    assert.ok(error.remedy.length > 0);
    assert.equal(json(argument.stderr).reason, 'invalid-argument');
  });

  it('answers a key that no vault takes with exit code 2', async () => {
    const { directory } = await makeStore();
    const [empty, reserved, long] = await Promise.all([
      strongroom(['get', directory, '', '--json']),
      strongroom(['get', directory, 'strongroom/x', '--json']),
      strongroom(['get', directory, 'k'.repeat(1025), '--json']),
    ]);
    assert.deepEqual([empty.code, reserved.code, long.code], [2, 2, 2]);
    assert.equal(json(empty.stderr).reason, 'invalid-key');
    assert.equal(json(reserved.stderr).reason, 'reserved-key');
    assert.equal(json(long.stderr).reason, 'invalid-key');
  });
});
