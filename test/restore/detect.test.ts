// The decision of detect(), over every combination of what can be found.
import assert from 'node:assert/strict';

import { detect, tokenRefusals, type Found, type RestoreState } from '../../lib/restore/detect.js';

const protectors = ['software', 'tpm', 'pkcs11', undefined] as const;
const files = ['none', 'complete', 'decommissioning', 'partial', 'damaged', 'unreadable'] as const;
const tokens = ['not-asked', 'ok', ...tokenRefusals] as const;
const journals = ['unknown', 'none', 'pending', 'completed'] as const;
const histories = ['unknown', 'ok', 'refused', 'unavailable'] as const;

function* combinations(): Generator<Found> {
  for (const protector of protectors)
    for (const present of files)
      for (const token of tokens)
        for (const journal of journals)
          for (const history of histories)
            for (const passwordSlot of [true, false])
              yield { protector, files: present, token, journal, history, passwordSlot };
}

/** The table, written down once more and in another way: the first line that fits decides. */
const table: readonly (readonly [
  state: RestoreState,
  scenario: 1 | 2 | 3 | undefined,
  fits: (f: Found) => boolean,
])[] = [
  ['NO_STORE', undefined, (f) => f.files === 'none'],
  ['REFUSED', undefined, (f) => f.files === 'partial' || f.files === 'damaged'],
  ['OUTAGE', undefined, (f) => f.files === 'unreadable'],
  ['ATTENTION', undefined, (f) => f.files === 'decommissioning'],
  ['WIZARD_COMPLETED', undefined, (f) => f.protector !== 'pkcs11'],
  ['REFUSED', undefined, (f) => ['not-asked', 'ok'].includes(f.token) && f.history === 'refused'],
  ['OUTAGE', undefined, (f) => ['not-asked', 'hsm-unreachable'].includes(f.token)],
  ['PIN', undefined, (f) => f.token.startsWith('pin-')],
  [
    'ATTENTION',
    undefined,
    (f) =>
      ['hsm-refused', 'hsm-algorithm-missing', 'token-ambiguous', 'token-misnamed', 'kek-duplicate'].includes(
        f.token,
      ),
  ],
  ['OUTAGE', undefined, (f) => f.token === 'ok' && f.history !== 'ok'],
  ['WIZARD_AUTO_RESTORE_PASSWORD', 1, (f) => f.token === 'ok' && f.journal === 'pending'],
  ['WIZARD_COMPLETED', 3, (f) => f.token === 'ok'],
  ['ATTENTION', undefined, (f) => !f.passwordSlot],
  ['WIZARD_SETUP_HSM_AUTORESTORE', 2, (f) => f.token === 'token-missing'],
  [
    'WIZARD_AUTO_RESTORE_PASSWORD',
    1,
    (f) => ['kek-missing', 'kek-replaced', 'wrapped-dek-corrupt'].includes(f.token),
  ],
];

describe('restore: detect()', () => {
  it('decides every combination as the table says', () => {
    const reached = new Set<string>();
    let count = 0;
    for (const found of combinations()) {
      count += 1;
      const row = table.find(([, , fits]) => fits(found));
      assert.ok(row !== undefined, JSON.stringify(found));
      const [state, scenario] = row;
      assert.deepEqual(detect(found), { state, scenario }, JSON.stringify(found));
      reached.add(`${state} ${String(scenario)}`);
    }
    assert.equal(count, 4 * 6 * 17 * 4 * 4 * 2);
    assert.equal(reached.size, 9, [...reached].join(', '));
  });

  it('leads into a restore only for what is lost, never for an outage, a PIN or a refusal', () => {
    const lost = new Set(['token-missing', 'kek-missing', 'kek-replaced', 'wrapped-dek-corrupt']);
    for (const found of combinations()) {
      const { state } = detect(found);
      if (state !== 'WIZARD_AUTO_RESTORE_PASSWORD' && state !== 'WIZARD_SETUP_HSM_AUTORESTORE') continue;
      assert.equal(found.protector, 'pkcs11');
      assert.ok(lost.has(found.token) || (found.token === 'ok' && found.journal === 'pending'));
    }
  });
});
