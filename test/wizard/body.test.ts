// Fields out of bytes: the same as URLSearchParams and JSON.parse say, but for the secrets, which stay bytes.
import assert from 'node:assert/strict';
import fc from 'fast-check';

import { MalformedBody, readForm, readJson } from '../../lib/wizard/body.js';

const secrets = new Set(['password', 'soPin']);
const none = new Set<string>();
const runs = { numRuns: 2000 };
const name = fc.oneof(
  fc.constantFrom('csrf', 'code', 'password', 'soPin', 'a', '__proto__', ''),
  fc.string({ unit: 'grapheme' }),
);
const text = fc.string({ unit: 'grapheme' });
const pairs = fc.uniqueArray(fc.tuple(name, text), { selector: ([key]) => key, maxLength: 8 });

const all = ({ text: fields, secrets: hidden }: ReturnType<typeof readForm>): Map<string, string> =>
  new Map([...fields, ...[...hidden].map(([key, value]) => [key, value.toString()] as const)]);

describe("the wizard's fields", () => {
  it('a form says what URLSearchParams reads in it', () => {
    fc.assert(
      fc.property(pairs, (given) => {
        const body = Buffer.from(new URLSearchParams(given).toString());
        assert.deepEqual(all(readForm(body, secrets)), new Map(given));
        assert.deepEqual(readForm(body, none).text, new Map(given));
      }),
      runs,
    );
  });

  it('any bytes are a form as URLSearchParams reads it, or refused', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-c=&%+0-9A-F]{0,40}$/), (body) => {
        const expected = [...new URLSearchParams(body)];
        try {
          const fields = readForm(Buffer.from(body), new Set(['a']));
          assert.deepEqual([...all(fields)].sort(), expected.sort());
        } catch (error) {
          assert.ok(error instanceof MalformedBody, String(error));
          const twice = new Set(expected.map(([key]) => key)).size < expected.length;
          assert.ok(twice || expected.some((pair) => pair.join().includes('\ufffd')), body);
        }
      }),
      runs,
    );
  });

  it('a JSON object says what JSON.parse reads in it, however its strings are written', () => {
    const escaped = (value: string): string =>
      [
        ...JSON.stringify(value)
          .slice(1, -1)
          .matchAll(/\\.|[^\\]/gsu),
      ]
        .map(([each], at) =>
          at % 2 === 0 || each.startsWith('\\')
            ? each
            : Array.from(
                { length: each.length },
                (_, unit) => `\\u${each.charCodeAt(unit).toString(16).padStart(4, '0')}`,
              ).join(''),
        )
        .join('');
    fc.assert(
      fc.property(pairs, fc.boolean(), fc.constantFrom('', ' ', '\n\t '), (given, escape, space) => {
        const members = given.map(
          ([key, value]) =>
            `${space}${JSON.stringify(key)}${space}:${space}"${escape ? escaped(value) : JSON.stringify(value).slice(1, -1)}"${space}`,
        );
        const body = Buffer.from(`{${members.join(',')}}`);
        const expected = new Map(Object.entries(JSON.parse(body.toString()) as Record<string, string>));
        const fields = readJson(body, secrets);
        assert.deepEqual(all(fields), expected);
        for (const [key, value] of fields.secrets) {
          const text = value.toString();
          const elsewhere = given.some(
            ([name, other]) => name.includes(text) || (!secrets.has(name) && other.includes(text)),
          );
          if (text.length > 6 && new Set(text).size > 3 && !elsewhere)
            assert.ok(!body.includes(value), `${key} is still in the body`);
        }
      }),
      runs,
    );
  });

  it('any bytes are JSON as JSON.parse reads it, or refused', () => {
    const token = fc.constantFrom(
      ...'{}[]:,"\\'.split(''),
      '"a"',
      '"b"',
      '"a":',
      '"\\u0061":',
      '1',
      'null',
      'true',
      ' ',
      '\\u',
      '"x\\"y"',
      'é',
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), (tokens) => {
        const body = tokens.join('');
        try {
          const fields = readJson(Buffer.from(body), new Set(['a']));
          const parsed = JSON.parse(body) as Record<string, unknown>;
          const expected = Object.entries(parsed)
            .filter(([, value]) => value !== null)
            .map(([key, value]) => [key, String(value)]);
          assert.deepEqual([...all(fields)].sort(), expected.sort());
        } catch (error) {
          assert.ok(error instanceof MalformedBody, `${body}: ${String(error)}`);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('a secret may be any bytes; text must be UTF-8', () => {
    const form = readForm(Buffer.from('password=%ff%00%fe&a=b'), secrets);
    assert.deepEqual(form.secrets.get('password'), Buffer.from([0xff, 0x00, 0xfe]));
    assert.throws(() => readForm(Buffer.from('a=%ff'), secrets), MalformedBody);
    const raw = Buffer.concat([Buffer.from('{"password":"'), Buffer.from([0xff]), Buffer.from('"}')]);
    assert.deepEqual(readJson(raw, secrets).secrets.get('password'), Buffer.from([0xff]));
    assert.equal(raw.toString(), '{"password":"x"}');
  });

  it('what is refused: twice the same name, a secret that is hidden or no string, half a surrogate pair', () => {
    for (const body of [
      'a=1&a=2',
      'password=1&password=2',
      'password=1&p%61ssword=2',
      Array.from({ length: 33 }, (_, i) => `${i}=`).join('&'),
    ])
      assert.throws(() => readForm(Buffer.from(body), secrets), MalformedBody, body);
    for (const body of [
      '{"password":"1","password":"2"}',
      '{"p\\u0061ssword":"1"}',
      '{"password":"1","p\\u0061ssword":"2"}',
      '{"password":1}',
      '{"password":null}',
      '{"password":["1"]}',
      '{"a":{"password":"1"}}',
      '{"password":"\\ud800"}',
      '{"password":"\\x"}',
      '{"password":"\\u12"}',
      '{"password":"a\nb"}',
      '{"password":"a\x1fb"}',
      '{"password":"',
      '{"password":"1"',
      '["password"]',
      'null',
    ])
      assert.throws(() => readJson(Buffer.from(body), secrets), MalformedBody, body);
  });

  it('what it says of a refused body does not quote it', () => {
    for (const read of [
      () => readJson(Buffer.from('{"password":"geheim" oops}'), secrets),
      () => readJson(Buffer.from('geheim'), secrets),
      () => readForm(Buffer.from('password=geheim&password=geheim'), secrets),
    ])
      assert.throws(read, (error: Error) => !error.message.includes('geheim') && error.cause === undefined);
  });
});
