import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { json, makeStore, start, strongroom, temporaryDirectory, type TestStore } from './support.js';

describe('strongroom get, set, delete, increment, list', () => {
  let store: TestStore;
  const run = (command: string, ...rest: string[]) => strongroom([command, store.directory, ...rest]);

  before(async () => {
    store = await makeStore();
  });

  it('gives back the bytes that were set, from the argument, a file and standard input', async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 0, 27, 91]);
    const file = join(await temporaryDirectory(), 'value');
    await writeFile(file, bytes);
    assert.deepEqual(await run('set', 'from/argument', 'twenty-five'), {
      code: 0,
      signal: null,
      bytes: Buffer.alloc(0),
      stdout: '',
      stderr: '',
    });
    assert.equal((await run('set', 'from/file', '--file', file)).code, 0);
    assert.equal((await strongroom(['set', store.directory, 'from/input'], { input: bytes })).code, 0);
    assert.equal((await run('get', 'from/argument')).stdout, 'twenty-five');
    assert.deepEqual((await run('get', 'from/file')).bytes, bytes);
    assert.deepEqual((await run('get', 'from/input')).bytes, bytes);
    const { stdout } = await run('get', 'from/input', '--json');
    assert.deepEqual(json(stdout), { key: 'from/input', value: bytes.toString('base64') });
  });

  it('stores an empty value and one of 1 MiB through pipes', async () => {
    const large = Buffer.alloc(1 << 20, 'abcdefg\n');
    assert.equal((await run('set', 'empty', '')).code, 0);
    assert.equal((await strongroom(['set', store.directory, 'large'], { input: large })).code, 0);
    assert.equal((await run('get', 'empty')).bytes.length, 0);
    assert.ok((await run('get', 'large')).bytes.equals(large));
  });

  it('refuses a value above 16 MiB as a usage error and stores nothing', async () => {
    const input = Buffer.alloc((16 << 20) + 1);
    const { code, stderr } = await strongroom(['set', store.directory, 'huge', '--json'], { input });
    assert.equal(code, 2);
    assert.equal(json(stderr).reason, 'value-too-large');
    assert.equal((await run('get', 'huge')).code, 1);
  });

  it('answers an absent key with exit code 1, a message, and nothing on standard output', async () => {
    const { code, stdout, stderr } = await run('get', 'no/such/key');
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /no value under the key "no\/such\/key"/);
    const asJson = await run('get', 'no/such/key', '--json');
    assert.equal(asJson.code, 1);
    assert.equal(asJson.stdout, '');
    const { code: errorCode, reason, retryable, remedy, message } = json(asJson.stderr);
    assert.deepEqual([errorCode, reason, retryable], ['PERS_8002', 'key-absent', false]);
    assert.ok(remedy.length > 0 && message.length > 0);
  });

  it('counts within bounds, and reads a counter as a number', async () => {
    assert.equal((await run('increment', 'tokens/cad')).stdout, '1\n');
    assert.equal((await run('increment', 'tokens/cad', '--by', '9', '--max', '10')).stdout, '10\n');
    assert.equal((await run('increment', 'tokens/cad', '--by', '-3', '--min', '0')).stdout, '7\n');
    const refused = await run('increment', 'tokens/cad', '--by', '-8', '--min', '0', '--json');
    assert.equal(refused.code, 1);
    assert.equal(refused.stdout, '');
    assert.equal(json(refused.stderr).reason, 'below-minimum');
    assert.equal((await run('get', 'tokens/cad', '--counter')).stdout, '7\n');
    assert.deepEqual(json((await run('get', 'tokens/cad', '--counter', '--json')).stdout), {
      key: 'tokens/cad',
      counter: '7',
    });
    assert.deepEqual(json((await run('increment', 'tokens/cad', '--by', '-17', '--json')).stdout), {
      key: 'tokens/cad',
      counter: '-10',
    });
    await run('set', 'text', 'no counter');
    const wrong = await run('get', 'text', '--counter', '--json');
    assert.equal(wrong.code, 1);
    assert.equal(json(wrong.stderr).reason, 'not-a-counter');
  });

  it('deletes, and says whether something was there', async () => {
    await run('set', 'gone', 'soon');
    const first = json((await run('delete', 'gone', '--json')).stdout);
    assert.equal(first.deleted, true);
    assert.equal((await run('get', 'gone')).code, 1);
    const second = await run('delete', 'gone', '--json');
    assert.equal(second.code, 0);
    assert.equal(json(second.stdout).deleted, false);
    const silent = await run('delete', 'gone');
    assert.deepEqual([silent.code, silent.stdout, silent.stderr], [0, '', '']);
  });

  it('answers set --json with the size and the generation', async () => {
    const { stdout } = await run('set', 'sized', 'four', '--json');
    const { key, bytes, generation } = json(stdout);
    assert.deepEqual([key, bytes, generation > 0], ['sized', 4, true]);
  });

  it('lists keys in the order of their bytes, by prefix, with limit, reversed, and with values', async () => {
    for (const name of ['b', 'a', 'c']) await run('set', `list/${name}`, `value ${name}`);
    await strongroom(['set', store.directory, 'list/é'], { input: Buffer.from([1, 2, 255]) });
    assert.equal((await run('list', '--prefix', 'list/')).stdout, 'list/a\nlist/b\nlist/c\nlist/é\n');
    assert.equal(
      (await run('list', '--prefix', 'list/', '--reverse', '--limit', '2')).stdout,
      'list/é\nlist/c\n',
    );
    assert.equal(
      (await run('list', '--prefix', 'list/', '--values')).stdout,
      'list/a\tvalue a\nlist/b\tvalue b\nlist/c\tvalue c\nlist/é\tbase64:AQL/\n',
    );
    const { stdout } = await run('list', '--prefix', 'list/', '--values', '--limit', '1', '--json');
    assert.deepEqual(json(stdout), { key: 'list/a', value: Buffer.from('value a').toString('base64') });
    assert.equal((await run('list', '--prefix', 'nothing/')).stdout, '');
    assert.equal((await run('list', '--limit', '0', '--json')).stdout, '');
  });

  it('ends quietly when the reader of standard output goes away', async () => {
    await strongroom(['set', store.directory, 'wide'], { input: Buffer.alloc(2 << 20, 'x') });
    const child = start(['get', store.directory, 'wide']);
    child.stdout!.once('data', () => child.stdout!.destroy());
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(stderr, '');
    assert.equal(code, 0);
  });

  it('leaves no plaintext key or value in the files', async () => {
    await run('set', 'visible-key', 'visible-value');
    for (const name of ['vault.bin', 'tmtmp.bin', 'persistence.bin']) {
      const file = await readFile(join(store.directory, name));
      assert.equal(file.includes('visible-key') || file.includes('visible-value'), false, name);
    }
  });
});
