// Questions whose answers are shown: what ends them.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { onTerminal, strongroom, temporaryDirectory, type Outcome } from './support.js';

const interrupt = '\u0003';
const endOfInput = '\u0004';

describe('a question on the terminal', function () {
  this.timeout(60_000);
  let directory: string;
  beforeEach(async () => {
    const root = await temporaryDirectory();
    directory = join(root, 'store');
    const place = ['--secret-store', `file:${join(root, 'secrets')}`, '--instance', 'acme'];
    const made = await strongroom(['init', directory, ...place, '--no-recovery-password']);
    assert.equal(made.code, 0, made.stderr);
  });
  const asked = (answer: string): Promise<Outcome> =>
    onTerminal(['decommission', directory], [['to go on: ', answer]], { TERM: 'dumb' });

  it('Ctrl-C ends the process by SIGINT, and is no fault of the program', async () => {
    const { code, stdout } = await asked(interrupt);
    assert.equal(code, 130, stdout);
    assert.doesNotMatch(stdout, /internal|Report the message/);
    assert.ok(existsSync(join(directory, 'persistence.bin')));
  });
  it('Ctrl-D leaves it unanswered: aborted', async () => {
    const { code, stdout } = await asked(endOfInput);
    assert.match(stdout, /was not answered \[PERS_8004 aborted\]/);
    assert.equal(code, 4);
    assert.ok(existsSync(join(directory, 'persistence.bin')));
  });
});
