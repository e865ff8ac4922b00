// The hook of a restore: real executables, each failure with its code.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { runHook } from '../../lib/restore/hook.js';
import { rejectsReason } from '../support/errors.js';
import { removeDirectory, temporaryDirectory } from '../support/stores.js';

describe('restore: the hook', () => {
  let root: string;
  beforeEach(() => {
    root = temporaryDirectory();
  });
  afterEach(() => {
    removeDirectory(root);
  });
  const hook = (text: string, mode = 0o755): string => {
    const path = join(root, 'hook');
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, mode);
    return path;
  };

  it('runs without arguments, without standard input and with a bare environment', async () => {
    process.env['STRONGROOM_PASSWORD'] = 'not for the hook';
    try {
      await runHook(hook(`{ echo "$#"; env; pwd; cat; } > ${root}/said`));
    } finally {
      delete process.env['STRONGROOM_PASSWORD'];
    }
    const said = readFileSync(join(root, 'said'), 'utf8').trim().split('\n');
    assert.equal(said[0], '0');
    const names = said
      .slice(1)
      .filter((line) => line.includes('='))
      .map((line) => line.split('=')[0]);
    assert.deepEqual(names.sort(), ['LANG', 'PATH', 'PWD']);
    assert.equal(said.at(-1), '/');
  });

  it('names the exit code, the signal and the first line of what was said', async () => {
    const failed = await rejectsReason(
      runHook(hook('echo "Syntax error on line 7" >&2; exit 3')),
      'hook-failed',
    );
    assert.match(failed.message, /exit code 3: Syntax error on line 7$/);
    assert.equal(failed.retryable, true);
    const killed = await rejectsReason(runHook(hook('kill -SEGV $$')), 'hook-failed');
    assert.match(killed.message, /SIGSEGV/);
  });

  it('tells a hook that is not there from one that may not run', async () => {
    await rejectsReason(runHook(join(root, 'none')), 'hook-not-found');
    await rejectsReason(runHook('hook'), 'hook-not-found');
    await rejectsReason(runHook(join(hook('exit 0'), 'below')), 'hook-not-found');
    await rejectsReason(runHook(hook('exit 0', 0o644)), 'hook-not-permitted');
  });

  it('kills a hook that hangs, with what it started', async () => {
    const started = performance.now();
    await rejectsReason(
      runHook(hook(`sleep 60 & echo $! > ${root}/child; trap '' TERM; wait; sleep 60`), 300),
      'hook-timeout',
    );
    assert.ok(performance.now() - started < 5000);
    const child = Number(readFileSync(join(root, 'child'), 'utf8'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(!isAlive(child), 'what the hook started is gone, too');
  });
});

/** A process that ended and was not waited for is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}
