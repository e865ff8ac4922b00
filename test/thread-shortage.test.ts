// A process that may start no more threads: a limit of the system, set from outside on a real process.
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** No limit of threads holds for root. */
const user = 54_321;

/**
 * Opens a store at each line, closes it, and prints how that ended. `kept` keeps its store open; `compact` makes garbage of
 * what that holds until it has something to say.
 */
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
    kept: { type: 'software' },
    external: { type: 'external', wrap: through, unwrap: through },
  };
  const open = (type) => new PersistenceService(binding, {
    directory: join(place, type), instance: type,
    secretStore: { type: 'file', directory: join(place, type + '-secrets') },
    recovery: { password: Buffer.from('a backup password'), kdf: quickKdf },
    protector: protectors[type],
  }, { compactionBytesMin: 65_536 }).initialize();
  let kept;
  const compact = async () => {
    const said = new Promise((resolve) => {
      kept.on('notice', (notice) => notice.kind === 'compaction-failed' && resolve(notice));
    });
    for (let i = 0; i < 1000; i += 1) await kept.vault.set('key', Buffer.alloc(1024, i));
    const { kind, message } = await said;
    await kept.vault.set('key', Buffer.from('still here'));
    await kept.close();
    return kind + ': ' + message;
  };
  console.log(place);
  for await (const type of createInterface({ input: process.stdin })) {
    try {
      if (type === 'compact') {
        console.log(await compact());
        continue;
      }
      const store = await open(type);
      if (type === 'kept') kept = store;
      else await store.close();
      console.log('opened');
    } catch (error) {
      console.log(error.reason + ': ' + error.message);
    }
  }`;

describe('a process that may start no more threads', function () {
  this.timeout(60_000);
  let child: ChildProcessByStdio<Writable, Readable, null>;
  let lines: Interface;
  let place: string;

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
    place = await nextLine();
  });
  after(() => {
    child.kill('SIGKILL');
    rmSync(place, { recursive: true, force: true });
  });

  for (const type of ['external', 'software']) {
    it(`${type}: refuses to open a store, and opens it when the limit is gone`, async () => {
      const before = prlimit('--nproc', '--output=SOFT', '--noheadings').trim();
      prlimit('--nproc=1:');
      assert.match(await open(type), /^internal: .*refused a thread/);
      prlimit(`--nproc=${before}:`);
      assert.equal(await open(type), 'opened');
    });
  }

  it('an open store goes on without its compaction, and says so', async () => {
    assert.equal(await open('kept'), 'opened');
    prlimit('--nproc=1:');
    assert.match(await open('compact'), /^compaction-failed: .*refused a thread/);
  });
});
