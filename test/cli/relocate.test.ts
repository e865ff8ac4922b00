// A SecretStore that was moved: --secret-store on every command that opens a store, and relocate.
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';

import { createProgram } from '../../lib/cli/program.js';
import { json, makeStore, password, strongroom, temporaryDirectory, type Outcome } from './support.js';

describe('strongroom --secret-store and relocate', function () {
  this.timeout(60_000);

  it('every command that opens a store has --secret-store', () => {
    const without = new Set<string>();
    const visit = (command: ReturnType<typeof createProgram>, path: string): void => {
      const opens = command.registeredArguments.some((argument) => argument.name() === 'dir');
      if (opens && !command.options.some(({ long }) => long === '--secret-store')) without.add(path);
      for (const each of command.commands) visit(each, `${path} ${each.name()}`.trim());
    };
    visit(createProgram(), '');
    assert.deepEqual([...without], []);
  });

  it('leads from both directories moved to a store that opens as before', async () => {
    const made = await makeStore();
    const parent = await temporaryDirectory();
    const [directory, secrets] = [join(parent, 'state'), join(parent, 'keys')];
    renameSync(made.directory, directory);
    renameSync(made.secrets, secrets);
    const there = ['--secret-store', `file:${secrets}`];
    const env = { STRONGROOM_PASSWORD: password };
    const ok = async (args: readonly string[], options = {}): Promise<Outcome> => {
      const outcome = await strongroom(args, options);
      assert.equal(outcome.code, 0, `${args.join(' ')}: ${outcome.stderr}`);
      return outcome;
    };

    // What is seen first, and the way that its remedy names.
    const refused = await strongroom(['get', directory, 'key', '--json']);
    assert.equal(refused.code, 4);
    const { reason, message, remedy } = json(refused.stderr);
    assert.equal(reason, 'root-unavailable');
    assert.ok(message.includes(`file:${made.secrets}`), message);
    assert.match(remedy, /--secret-store.*strongroom relocate/);

    // Each of them with the option.
    await ok(['set', directory, 'key', 'value', ...there]);
    assert.equal((await ok(['get', directory, 'key', ...there])).stdout, 'value');
    assert.equal(json((await ok(['status', directory, '--json', ...there])).stdout).verdict, 'ok');
    await ok(['verify', directory, ...there]);
    await ok(['log', directory, ...there]);
    await ok(['acknowledge', directory, ...there]);
    await ok(['key', 'generate', directory, 'ca', ...there]);
    await ok(['password', 'verify', directory, ...there], { env });
    await ok(['rotate', 'dek', directory, ...there], { env });
    for (const args of [
      ['recover', directory],
      ['reanchor', directory],
    ]) {
      const outcome = await strongroom([...args, ...there, '--json'], { env });
      assert.equal(json(outcome.stderr).reason, 'nothing-to-do');
      if (args[0] === 'recover') assert.match(json(outcome.stderr).message, /strongroom relocate/);
    }

    // And without it once the place is written down.
    assert.equal((await strongroom(['relocate', directory])).code, 2);
    assert.deepEqual(json((await ok(['relocate', directory, ...there, '--json'])).stdout), {
      relocated: true,
      secretStore: { type: 'file', directory: secrets },
    });
    assert.equal((await ok(['get', directory, 'key'])).stdout, 'value');
    const again = await strongroom(['relocate', directory, ...there, '--json']);
    assert.equal(json(again.stderr).reason, 'nothing-to-do');
    await ok(['decommission', directory, '--yes'], { env });
  });

  it('is refused for a place inside the store', async () => {
    const { directory } = await makeStore();
    const { code, stderr } = await strongroom([
      'get',
      directory,
      'k',
      '--secret-store',
      `file:${directory}/s`,
    ]);
    assert.equal(code, 2);
    assert.match(stderr, /must lie outside/);
  });
});
