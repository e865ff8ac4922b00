// Ends of processes and workers, each in a child process: no crash, no hang, and what was acknowledged is there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { World } from './support/stores.js';

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly acknowledged: string[];
  readonly errors: string;
}

const script = fileURLToPath(new URL('./support/teardown.ts', import.meta.url));

function run(scenario: string, root: string): Promise<End> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', script, scenario, root], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // What hangs is a failure, not a test run that never ends.
      timeout: 60_000,
      killSignal: 'SIGABRT',
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const acknowledged = [...output.matchAll(/^acknowledged (.*)$/gm)].map((match) => match[1] ?? '');
      resolve({ code, signal, acknowledged, errors });
    });
  });
}

describe('the end of a process or worker', function () {
  this.timeout(90_000);
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  afterEach(() => world.closeAll());

  const ends: [scenario: string, code: number, acknowledgedMin: number][] = [
    ['never closed', 0, 1],
    ['never closed, with a subscriber', 0, 1],
    ['ends while operations are pending', 0, 50],
    ['closed twice, at once and again', 0, 2],
    ['a large store, opened and closed again and again', 0, 1],
    ['process.exit with an open store', 7, 1],
    ['process.exit during writes', 7, 1],
    ['process.exit in an event handler', 7, 1],
    ['process.exit in a start', 7, 0],
    ['process.exit during tasks', 7, 0],
    ['process.exit while closing', 7, 1],
    ['an uncaught error during writes', 1, 1],
    ['a worker that ends with an open store', 0, 1],
    ['a worker that is terminated during writes, again and again', 0, 6],
    ['a worker that is terminated in a start', 0, 0],
    ['a worker that is terminated during tasks', 0, 0],
    ['process.exit in a worker during writes', 0, 1],
    ['process.exit while a worker writes', 7, 1],
    ['a worker that opens a store which is open', 0, 3],
    ['many stores that are dropped', 0, 0],
    ['functions of a store that nobody else holds', 0, 0],
  ];
  for (const [scenario, code, acknowledgedMin] of ends) {
    it(scenario, async () => {
      const end = await run(scenario, world.root);
      assert.deepEqual([end.code, end.signal], [code, null], end.errors);
      if (code !== 1) assert.doesNotMatch(end.errors, /Error|FATAL|Warning/, end.errors);
      assert.ok(end.acknowledged.length >= acknowledgedMin, `${end.acknowledged.length} acknowledged`);
      // The child used the real clock.
      const store = await world.open({}, { clock: undefined });
      for (const key of end.acknowledged)
        assert.ok(store.vault.has(key), `${key} was acknowledged and is gone`);
      await store.vault.set('after', Buffer.from('x'));
      await store.close();
    });
  }
});
