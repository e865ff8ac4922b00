// Old names of options: each is refused by a message that gives the new one, wherever the new one is taken.
import assert from 'node:assert/strict';

import {
  decommission,
  detectRestore,
  findLeftovers,
  inspect,
  open,
  reanchor,
  recover,
  reseal,
  restore,
  serveGate,
} from 'strongroom';
import { createWizard } from 'strongroom/wizard';
import { readOptions } from '../lib/options/readers.js';
import { renamedOptions } from '../lib/options/renamed.js';
import { PersistenceError } from '../lib/errors.js';
import { throwsReason } from './support/errors.js';

const directory = '/nowhere';
const withCredential = ({ directory: path, ...credential }: { directory?: string }): never =>
  ({ directory: path, credential }) as never;

/** By the new name: the calls that take it. */
const calls: Record<string, [string, (given: never) => unknown][]> = {
  protector: [
    ['open', open],
    ['reanchor', (given: object) => reanchor({ credential: {}, ...given } as never)],
    ['decommission', (given: object) => decommission({ leftovers: true, ...given } as never)],
    ['restore', (given: object) => restore({ credential: {}, ...given } as never)],
    ['detectRestore', detectRestore],
    ['findLeftovers', findLeftovers],
    ['serveGate', serveGate],
    ['inspect', ({ directory: path, ...given }: { directory: string }) => inspect(path, given)],
    ['createWizard', createWizard],
  ],
  credential: [
    ['reanchor', reanchor],
    ['recover', recover],
    ['reseal', reseal],
    ['decommission', decommission],
    ['restore', restore],
  ],
  permit: [
    ['reanchor, credential', (given: object) => reanchor(withCredential(given))],
    ['restore, credential', (given: object) => restore(withCredential(given))],
    ['createWizard', (given: object) => createWizard({ protector: { type: 'software' }, ...given } as never)],
  ],
};

describe('old names of options', () => {
  for (const [old, name] of renamedOptions) {
    const message = `${old}: this option is called '${name}' now`;

    it(`${old}: refused where ${name} is an option`, () => {
      assert.equal(throwsReason(() => readOptions({ [old]: 1 }, [name]), 'invalid-option').message, message);
      const other = throwsReason(() => readOptions({ [old]: 1 }, ['directory']), 'invalid-option');
      assert.equal(other.message, `the options: there is no option '${old}'`);
    });

    for (const [call, begin] of calls[name] ?? []) {
      it(`${call}: ${old} is refused by the name ${name}`, async () => {
        await assert.rejects(
          async () => begin({ directory, [old]: { type: 'software' } } as never),
          (error) =>
            error instanceof PersistenceError &&
            error.reason === 'invalid-option' &&
            error.message.endsWith(message),
        );
      });
    }

    it(`${name}: its calls are named here`, () => {
      assert.ok(Object.hasOwn(calls, name));
    });
  }
});
