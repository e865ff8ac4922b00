// A process that may start no more threads: a limit of the system, set from outside on a real process.
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** No limit of threads holds for root. */
const user = 54_321;

/** Opens a store at each line, and prints how that ended. */
const script = `
  import { lookup } from 'node:dns/promises';
  import { mkdtempSync } from 'node:fs';
  import { join } from 'node:path';
  import { createInterface } from 'node:readline';
  import { PersistenceService } from './lib/store/persistence-service.js';
  import { binding, quickKdf } from './test/support/stores.js';
  if (process.getuid() === 0) {
    process.setgid(${user});
    process.setgroups([]);
    process.setuid(${user});
  }
  await lookup('localhost'); // starts the pool
  const through = (bytes) => Promise.resolve(Uint8Array.from(bytes));
  const place = mkdtempSync('/tmp/strongroom-test-');
  const protectors = {
    software: { type: 'software' },
    external: { type: 'external', wrap: through, unwrap: through },
  };
  console.log('ready');
  for await (const type of createInterface({ input: process.stdin })) {
    try {
      const store = await new PersistenceService(binding, {
        directory: join(place, type), instance: 'test',
        secretStore: { type: 'file', directory: join(place, type + '-secrets') },
        recovery: { password: Buffer.from('a backup password'), kdf: quickKdf },
        protector: protectors[type],
      }).initialize();
      await store.close();
      console.log('opened');
    } catch (error) {
      console.log(error.reason + ': ' + error.message);
    }
  }`;

describe('a process that may start no more threads', function () {
  this.timeout(60_000);
  let child: ChildProcessByStdio<Writable, Readable, null>;
  let lines: Interface;

  const prlimit = (...words: string[]): string => {
    const asUser = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups', 'prlimit'];
    const [command, ...before] = process.getuid?.() === 0 ? ['setpriv', ...asUser] : ['prlimit'];
    return execFileSync(command, [...before, '--pid', String(child.pid), ...words], { encoding: 'utf8' });
  };
  const nextLine = async (): Promise<string> => {
    const ended = once(lines, 'close').then(() => ['the process ended']);
    const [line] = (await Promise.race([once(lines, 'line'), ended])) as [string];
    return line;
  };
  const open = (type: string): Promise<string> => {
    const line = nextLine();
    child.stdin.write(`${type}\n`);
    return line;
  };

  before(async () => {
    child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: root,
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    child.stdin.on('error', () => undefined); // where it ended
    lines = createInterface({ input: child.stdout });
    assert.equal(await nextLine(), 'ready');
  });
  after(() => child.kill('SIGKILL'));

  for (const type of ['external', 'software']) {
    it(`${type}: refuses to open a store, and opens it when the limit is gone`, async () => {
      const before = prlimit('--nproc', '--output=SOFT', '--noheadings').trim();
      prlimit('--nproc=1:');
      assert.match(await open(type), /^internal: .*refused a thread/);
      prlimit(`--nproc=${before}:`);
      assert.equal(await open(type), 'opened');
    });
  }
});
