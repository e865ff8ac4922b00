// Output that cannot be written, input that never ends, and a working directory that is gone: a plain message and a
// documented exit code, for every command.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { makeCertificates } from '../support/certificates.js';
import {
  environment,
  json,
  makeStore,
  password,
  program,
  strongroom,
  temporaryDirectory,
  type TestStore,
} from './support.js';

type Target = 'pipe' | 'ignore' | number;

interface Run {
  readonly stdin?: Target;
  readonly stdout?: Target;
  readonly stderr?: Target;
  readonly env?: NodeJS.ProcessEnv;
  readonly third?: number;
  /** Before `strongroom`, in the shell that starts it. */
  readonly prelude?: string;
  readonly cwd?: string;
  /** The reader of standard output goes away before anything is written. */
  readonly unread?: boolean;
}

interface End {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], options: Run = {}): Promise<End> {
  const { stdin = 'ignore', stdout = 'pipe', stderr = 'pipe', env, third, prelude, cwd } = options;
  const words = [process.execPath, ...program, ...args];
  const [command, ...rest] =
    prelude === undefined ? words : ['/bin/sh', '-c', `${prelude}; exec "$@"`, 'sh', ...words];
  const child = spawn(command ?? '', rest, {
    env: environment(env),
    stdio: [stdin, stdout, stderr, ...(third === undefined ? [] : [third])],
    ...(cwd !== undefined && { cwd }),
  });
  if (options.unread === true) child.stdout?.destroy();
  const [out, error, [code]] = await Promise.all([
    options.unread === true || child.stdout === null ? '' : text(child.stdout),
    child.stderr === null ? '' : text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  return { code, stdout: out, stderr: error };
}

describe('strongroom: output, input and the working directory', function () {
  this.timeout(120_000);
  const full = (): number => openSync('/dev/full', 'w');
  const zeros = (): number => openSync('/dev/zero', 'r');
  const env = { STRONGROOM_PASSWORD: password };
  let place: string;
  let store: TestStore;
  before(async () => {
    place = await temporaryDirectory();
    const { key, certificate } = makeCertificates();
    writeFileSync(join(place, 'key.pem'), key);
    writeFileSync(join(place, 'certificate.pem'), certificate);
    const vendor = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(join(place, 'vendor.pem'), vendor);
  });
  beforeEach(async () => {
    store = await makeStore();
  });

  /** Every command that writes to standard output, with what it needs. */
  const commands = (directory: string): [args: string[]][] => [
    [['--help']],
    [['--version']],
    [['help', 'set']],
    [['set', '--help']],
    [['set', directory, 'key', 'value', '--json']],
    [['get', directory, 'key']],
    [['get', directory, 'key', '--json']],
    [['increment', directory, 'counter']],
    [['list', directory]],
    [['list', directory, '--values', '--json']],
    [['log', directory]],
    [['verify', directory]],
    [['status', directory]],
    [['status', directory, '--json']],
    [['serve-gate', directory]],
    [['restore', directory, '--check', '--json']],
    [['key', 'generate', directory, 'signing', '--json']],
    [['key', 'list', directory]],
    [['key', 'public', directory, 'signing']],
    [['key', 'sign', directory, 'signing', '--file', join(place, 'key.pem')]],
    [['key', 'chain', directory, 'signing', '--json']],
    [['key', 'deactivate', directory, 'signing', '--reason', 'x', '--json']],
    [
      [
        'tls',
        'set',
        directory,
        '--key-file',
        join(place, 'key.pem'),
        '--certificate-file',
        join(place, 'certificate.pem'),
        '--json',
      ],
    ],
    [['tls', 'extract', directory, place, '--json']],
    [['password', 'verify', directory, '--json']],
    [['rotate', 'dek', directory, '--json']],
    [
      [
        'permit',
        'sign',
        '--private-key-file',
        join(place, 'vendor.pem'),
        '--purpose',
        'recover',
        '--storage-id',
        '00'.repeat(16),
        '--generation',
        '1',
        '--head',
        '00'.repeat(32),
      ],
    ],
    [['delete', directory, 'key', '--json']],
    [['decommission', directory, '--yes', '--json']],
  ];

  it('a full disk behind standard output: exit code 6, and what the command changed is done', async () => {
    for (const [args] of commands(store.directory)) {
      const what = args.join(' ');
      const { code, stderr } = await run(args, { stdout: full(), env });
      if (args[0] === 'restore') {
        // There is nothing to restore in software protection.
        assert.notEqual(code, 0, what);
        continue;
      }
      assert.equal(code, 6, `${what}: ${stderr}`);
      const said = stderr.slice(stderr.lastIndexOf(args.includes('--json') ? '{' : 'strongroom: '));
      if (args.includes('--json')) {
        const { reason, message, retryable, remedy } = json(said);
        assert.deepEqual([reason, retryable], ['output-failed', false], what);
        assert.match(message, /^standard output cannot be written: no space left on device \(ENOSPC\)$/);
        assert.match(remedy, /durable/);
      } else {
        assert.match(
          said,
          /^strongroom: standard output cannot be written: no space left on device \(ENOSPC\) \[PERS_8005 output-failed\]\n {2}Make room/,
          what,
        );
      }
    }
    assert.equal((await strongroom(['status', store.directory])).code, 1, 'it was removed');
  });

  it('a limit of the size of files behind standard output: exit code 6', async () => {
    const file = openSync(join(place, 'limited'), 'w');
    const { code, stderr } = await run(['log', store.directory], { stdout: file, prelude: 'ulimit -f 0' });
    assert.equal(code, 6, stderr);
    assert.match(stderr, /standard output cannot be written: file too large \(EFBIG\)/);
  });

  it('a reader that went away: exit code 0, and no message', async () => {
    for (const [args] of commands(store.directory)) {
      if (args[0] === 'restore') continue;
      const { code, stderr } = await run(args, { unread: true, env });
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
      assert.doesNotMatch(stderr, /strongroom: |internal|EPIPE/, args.join(' '));
    }
  });

  it('a full disk behind standard error: the exit code is what it would have been', async () => {
    const { directory } = store;
    const cases: [string[], number][] = [
      [['get', directory, 'absent'], 1],
      [['get', directory], 2],
      [['get', directory, 'absent', '--json'], 1],
      [['status', `${directory}/nowhere`], 1],
      [
        [
          'tls',
          'set',
          directory,
          '--key-file',
          join(place, 'key.pem'),
          '--certificate-file',
          join(place, 'certificate.pem'),
        ],
        0,
      ],
    ];
    for (const [args, expected] of cases) {
      const { code, stdout } = await run(args, { stderr: full(), env });
      assert.deepEqual([code, stdout], [expected, ''], args.join(' '));
    }
    assert.equal((await run(['get', directory, 'absent'], { stdout: full(), stderr: full() })).code, 1);
    assert.equal(
      (await run(['list', directory], { stdout: full(), stderr: full() })).code,
      0,
      'nothing to write',
    );
    assert.equal((await run(['log', directory], { stdout: full(), stderr: full() })).code, 6);
  });

  it('a working directory that was removed: absolute paths work, relative ones are named', async () => {
    const gone = { prelude: 'cd "$PLACE" && mkdir gone && cd gone && rmdir ../gone' };
    const here = { ...env, PLACE: place };
    for (const [args] of commands(store.directory)) {
      if (args[0] === 'restore') continue;
      const { code, stderr } = await run(args, { ...gone, env: here });
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    }
    for (const [args] of commands('store')) {
      if (!args.includes('store')) continue;
      const { code, stdout, stderr } = await run(args, { ...gone, env: here });
      const what = args.join(' ');
      assert.equal(code, 4, `${what}: ${stderr}`);
      assert.match(stderr, /the working directory does not exist any more/, what);
      assert.match(stderr, /not-found/, what);
      if (args[0] !== 'serve-gate') assert.equal(stdout, '', what);
    }
    const { code, stderr } = await run(
      ['init', join(place, 'new'), '--secret-store', 'file:secrets', '--no-recovery-password'],
      { ...gone, env: here },
    );
    assert.deepEqual([code, stderr.includes('the path secrets is relative')], [4, true], stderr);
  });

  it('no HOME, no PATH, nothing in the environment', async () => {
    const { directory } = store;
    const child = spawn(process.execPath, [...program, 'status', directory], {
      env: { STRONGROOM_PREBUILD: environment()['STRONGROOM_PREBUILD'] },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
    assert.equal(code, 0);
    assert.match(out, /verdict +ok/);
  });

  it('input that never ends is refused at its limit, before the store is opened', async () => {
    const { directory } = store;
    const before = await run(['status', directory, '--json']);
    const fifo = join(place, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const fromInput: string[][] = [
      ['set', directory, 'k'],
      ['key', 'sign', directory, 'k'],
      [
        'permit',
        'sign',
        '--private-key-file',
        join(place, 'vendor.pem'),
        '--purpose',
        'recover',
        '--status-file',
        '-',
      ],
      ['password', 'verify', directory, '--password-fd', '0'],
      ['tls', 'set', directory, '--key-fd', '0', '--certificate-file', join(place, 'certificate.pem')],
    ];
    for (const args of fromInput) {
      const { code, stderr } = await run([...args, '--json'], { stdin: zeros() });
      const what = `${args.join(' ')}: ${stderr}`;
      assert.equal(code, 2, what);
      assert.equal(json(stderr).reason, 'value-too-large', what);
    }
    for (const path of ['/dev/zero', fifo, '/dev/stdin', place]) {
      const fromFile: string[][] = [
        ['set', directory, 'k', '--file', path],
        ['key', 'sign', directory, 'k', '--file', path],
        ['key', 'chain', directory, 'k', '--attach', path],
        ['password', 'verify', directory, '--password-file', path],
        ['tls', 'set', directory, '--key-file', path, '--certificate-file', path],
        ['permit', 'sign', '--private-key-file', path, '--purpose', 'recover', '--status-file', path],
        [
          'permit',
          'sign',
          '--private-key-file',
          join(place, 'vendor.pem'),
          '--purpose',
          'recover',
          '--status-file',
          path,
        ],
        [
          'init',
          join(place, 'other'),
          '--secret-store',
          `file:${join(place, 'secrets')}`,
          '--vendor-public-key',
          path,
          '--no-recovery-password',
        ],
      ];
      for (const args of fromFile) {
        const { code, stderr } = await run([...args, '--json'], { stdin: zeros() });
        const what = `${args.join(' ')}: ${stderr}`;
        assert.equal(code, 1, what);
        assert.equal(json(stderr).reason, 'unsafe-path', what);
      }
    }
    assert.equal(
      (await run(['status', directory, '--json'])).stdout.includes(json(before.stdout).head),
      true,
    );
  });

  it('standard input that cannot be read', async () => {
    const { code, stderr } = await run(['set', store.directory, 'k', '--json'], {
      stdin: openSync(place, 'r'),
    });
    assert.deepEqual([code, json(stderr).reason], [4, 'io-error'], stderr);
    assert.match(json(stderr).message, /^standard input: read: /);
    assert.equal((await run(['get', store.directory, 'k'])).code, 1, 'nothing was stored');
  });
});
