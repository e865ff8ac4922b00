// What an opening found and mended: on standard error and in the JSON of the command that met it, and in the status until it is
// acknowledged.
import assert from 'node:assert/strict';
import { appendFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { json, makeStore, strongroom, type TestStore } from './support.js';

describe('strongroom: notices', () => {
  let store: TestStore;
  const tear = (): Promise<void> => appendFile(join(store.directory, 'vault.bin'), 'torn');
  before(async () => {
    store = await makeStore();
  });

  it('stand on standard error, and in the JSON', async () => {
    await rm(join(store.directory, 'tmtmp.bin'));
    const set = await strongroom(['set', store.directory, 'seats', '1']);
    assert.deepEqual([set.code, set.stdout], [0, '']);
    assert.match(set.stderr, /^notice: tmtmp\.bin was missing and was begun anew \[tamper-file-anew\]$/m);
    await rm(join(store.directory, 'tmtmp.bin'));
    const asJson = await strongroom(['increment', store.directory, 'n', '--json']);
    assert.equal(asJson.code, 0, asJson.stderr);
    assert.deepEqual(
      json(asJson.stdout).notices.map(({ kind }: { kind: string }) => kind),
      ['tamper-file-anew'],
    );
    assert.equal(asJson.stderr, '');
    const clean = await strongroom(['get', store.directory, 'seats', '--json']);
    assert.equal(json(clean.stdout).notices, undefined);
  });

  it('stand in the JSON of a failure too', async () => {
    await rm(join(store.directory, 'tmtmp.bin'));
    const failed = await strongroom(['increment', store.directory, 'seats', '--json']);
    assert.equal(failed.code, 1);
    const { reason, notices } = json(failed.stderr);
    assert.deepEqual([reason, notices[0].kind], ['not-a-counter', 'tamper-file-anew']);
  });

  it('stay in the status until they are acknowledged', async () => {
    const kinds = async (): Promise<unknown[]> => {
      const { stdout } = await strongroom(['status', store.directory, '--json']);
      return json(stdout).notices.map(({ kind }: { kind: string }) => kind);
    };
    assert.deepEqual(await kinds(), ['tamper-file-anew', 'tamper-file-anew', 'tamper-file-anew']);
    await tear();
    assert.equal((await strongroom(['delete', store.directory, 'n'])).code, 0);
    assert.equal((await kinds()).at(-1), 'tail-repaired');
    const human = await strongroom(['status', store.directory]);
    assert.match(
      human.stdout,
      /^notice +\d{4}-.*Z, the torn end of the vault file was cut off \[tail-repaired\]$/m,
    );
    const acknowledged = await strongroom(['acknowledge', store.directory, '--json']);
    assert.deepEqual([acknowledged.code, json(acknowledged.stdout)], [0, { acknowledged: 4 }]);
    assert.deepEqual(await kinds(), []);
  });
});
