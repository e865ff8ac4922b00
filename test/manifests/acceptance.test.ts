import assert from 'node:assert/strict';

import { isPersistenceError } from '../../lib/errors.js';
import { acceptManifests } from '../../lib/manifests/loader.js';
import { load, provider, resigned, secret, trustedKeys, type Json } from '../support/manifest-fixtures.js';

describe('acceptManifests', () => {
  const at = (second: number, changes: Record<string, Json> = {}): string =>
    resigned({ CreatedUtc: `2026-03-01T12:00:${String(second).padStart(2, '0')}Z`, ...changes });
  const stamp = '2026-03-01T12:00:30Z';

  it('accepts what is new or the same, and refuses what is older', async () => {
    const loaded = await load({ 'a.json': at(30) });
    for (const [last, accepted, updates] of [
      [undefined, 1, 1],
      ['2026-03-01T12:00:29.999Z', 1, 1],
      [stamp, 1, 0],
      ['2026-03-01T12:00:30.000Z', 1, 0],
      [Date.parse(stamp), 1, 0],
      [Date.parse(stamp) - 1, 1, 1],
      [Date.parse(stamp) + 1, 0, 0],
      ['2026-03-01T12:00:30.001Z', 0, 0],
      ['9999-12-31T23:59:59Z', 0, 0],
    ] as const) {
      const result = acceptManifests(loaded, new Map(last === undefined ? [] : [['Acme', last]]));
      assert.equal(result.providers.length, accepted, String(last));
      assert.equal(result.licenseProviderFound, accepted === 1);
      assert.deepEqual(
        result.updates,
        updates === 1 ? [{ providerName: 'Acme', createdUtc: '2026-03-01T12:00:30.000Z' }] : [],
      );
      assert.deepEqual(
        result.rejected.map(({ file, reason }) => [file, reason]),
        accepted === 1 ? [] : [['a.json', 'older-than-accepted']],
      );
      for (const part of [
        result,
        result.providers,
        result.rejected,
        result.updates,
        ...result.updates,
        ...result.rejected,
      ]) {
        assert.ok(Object.isFrozen(part));
      }
    }
    assert.deepEqual(loaded.rejected, []);
  });

  it('leaves the other providers alone', async () => {
    const keys = { ...trustedKeys, Other: provider.publicKey };
    const loaded = await load(
      { 'a.json': at(10), 'b.json': at(20, { ProviderName: 'Other' }), 'c.json': '{' },
      keys,
    );
    const result = acceptManifests(loaded, new Map([['Acme', stamp]]));
    assert.deepEqual(
      result.providers.map(({ providerName }) => providerName),
      ['Other'],
    );
    assert.deepEqual(
      result.rejected.map(({ file, reason }) => [file, reason]),
      [
        ['a.json', 'older-than-accepted'],
        ['c.json', 'json'],
      ],
    );
    assert.match(
      result.rejected[0]?.detail ?? '',
      /2026-03-01T12:00:10Z; 2026-03-01T12:00:30\.000Z was accepted before/,
    );
  });

  it('takes the newest of one provider, whatever the order of names', async () => {
    const { candidates, rejected } = await load({
      'a.json': at(20),
      'b.json': at(30),
      'c.json': at(10),
      'd.json': at(30),
      'e.json': '',
    });
    assert.deepEqual(
      candidates.map(({ file }) => file),
      ['b.json'],
    );
    assert.deepEqual(
      rejected.map(({ file, reason }) => [file, reason]),
      [
        ['a.json', 'superseded'],
        ['c.json', 'superseded'],
        ['d.json', 'duplicate-provider'],
        ['e.json', 'json'],
      ],
    );
  });

  it('lets no unsigned newer file displace a signed one', async () => {
    const { candidates, rejected } = await load({
      'a.json': at(10),
      'b.json': at(10).replace('12:00:10', '12:00:50'),
    });
    assert.equal(candidates[0]?.file, 'a.json');
    assert.equal(rejected[0]?.reason, 'signature');
  });

  it('finds a licence provider only in production and not deprecated, in one and the same secret', async () => {
    const flags = (...list: [boolean, boolean][]): string =>
      resigned({
        ProviderSecrets: list.map(([InProduction, Deprecated]) => secret({ InProduction, Deprecated })),
      });
    for (const [content, found] of [
      [flags(), false],
      [flags([false, false]), false],
      [flags([true, true]), false],
      [flags([false, true]), false],
      [flags([true, true], [false, false]), false],
      [flags([true, false]), true],
      [flags([true, true], [true, false]), true],
    ] as const) {
      const loaded = await load({ 'a.json': content });
      assert.equal(loaded.candidates.length, 1);
      assert.equal(acceptManifests(loaded, new Map()).licenseProviderFound, found);
      assert.equal(
        acceptManifests(loaded, new Map([['Acme', '2027-01-01T00:00:00Z']])).licenseProviderFound,
        false,
      );
    }
  });

  it('refuses a record that is not a time', async () => {
    const loaded = await load({ 'a.json': at(30) });
    for (const last of [NaN, Infinity, -Infinity, 8.64e15 + 2, 'yesterday', '']) {
      assert.throws(
        () => acceptManifests(loaded, new Map([['Acme', last]])),
        (error) => isPersistenceError(error) && error.reason === 'invalid-argument',
      );
    }
  });
});
