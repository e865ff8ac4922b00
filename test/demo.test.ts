// `./scripts/demo` without its setup: the program asserts each of its claims itself, and ends with 1 at the first that does
// not hold.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));

describe('the demonstration', () => {
  it('every claim that it makes holds', async function () {
    this.timeout(120_000);
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', 'examples/demo.ts'], {
      cwd: root,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const claims = stdout.match(/^ {3}ok /gm) ?? [];
    assert.ok(claims.length >= 15, stdout);
    assert.match(stdout, /ok the same copy cannot be accepted a second time/);
  });
});
