// The body of a POST: its fields as text, and the secret ones as bytes, which never become a JavaScript string and can be
// wiped. Two formats: application/x-www-form-urlencoded (URL Standard), and a flat JSON object (RFC 8259).
//
// Invariant: a body that is not wholly understood is refused, and so is a secret that comes twice.

/** At most 16 KiB. */
export const bodyBytesMax = 16_384;

export interface Fields {
  readonly text: ReadonlyMap<string, string>;
  /** Of the names that were asked for; the reader wipes them. */
  readonly secrets: ReadonlyMap<string, Buffer>;
  readonly wipe: () => void;
}

export class MalformedBody extends Error {}

const fieldsMax = 32;

class Collected implements Fields {
  readonly text = new Map<string, string>();
  readonly secrets = new Map<string, Buffer>();

  constructor(readonly secretNames: ReadonlySet<string>) {}

  readonly wipe = (): void => {
    for (const secret of this.secrets.values()) secret.fill(0);
  };

  add(name: string): void {
    if (this.text.has(name) || this.secrets.has(name)) throw new MalformedBody(`'${name}' comes twice`);
    if (this.text.size + this.secrets.size >= fieldsMax) throw new MalformedBody('too many fields');
  }
}

const byte = {
  ampersand: 0x26,
  equals: 0x3d,
  plus: 0x2b,
  percent: 0x25,
  space: 0x20,
  quote: 0x22,
  backslash: 0x5c,
};

function hexDigit(code: number | undefined): number {
  if (code === undefined) return -1;
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

/** Into a buffer of its own; a percent sign that begins no escape stands for itself. */
function decodePercent(encoded: Uint8Array): Buffer {
  const out = Buffer.allocUnsafeSlow(encoded.length);
  let used = 0;
  for (let at = 0; at < encoded.length; at += 1) {
    const code = encoded[at] ?? 0;
    const [high, low] = [hexDigit(encoded[at + 1]), hexDigit(encoded[at + 2])];
    if (code === byte.percent && high >= 0 && low >= 0) {
      out[used] = high * 16 + low;
      at += 2;
    } else {
      out[used] = code === byte.plus ? byte.space : code;
    }
    used += 1;
  }
  return out.subarray(0, used);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new MalformedBody('a field is not UTF-8');
  }
}

/** application/x-www-form-urlencoded. */
export function readForm(body: Uint8Array, secretNames: ReadonlySet<string>): Fields {
  const fields = new Collected(secretNames);
  try {
    for (let begin = 0; begin < body.length;) {
      const next = body.indexOf(byte.ampersand, begin);
      const end = next === -1 ? body.length : next;
      const pair = body.subarray(begin, end);
      begin = end + 1;
      if (pair.length === 0) continue;
      const equals = pair.indexOf(byte.equals);
      const name = textOf(decodePercent(equals === -1 ? pair : pair.subarray(0, equals)));
      fields.add(name);
      const value = decodePercent(equals === -1 ? pair.subarray(pair.length) : pair.subarray(equals + 1));
      if (secretNames.has(name)) fields.secrets.set(name, value);
      else fields.text.set(name, textOf(value));
    }
    return fields;
  } catch (error) {
    fields.wipe();
    throw error;
  }
}

/**
 * A JSON object whose members are strings, numbers, booleans or null; null is as if absent. The secrets are cut out of
 * `body`, which is changed, before the rest becomes a string.
 */
export function readJson(body: Uint8Array, secretNames: ReadonlySet<string>): Fields {
  const fields = new Collected(secretNames);
  try {
    cutSecrets(body, fields);
    let parsed: unknown;
    try {
      parsed = JSON.parse(textOf(body));
    } catch (error) {
      // What JSON.parse says quotes the text.
      throw error instanceof MalformedBody ? error : new MalformedBody('the body is not JSON');
    }
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
      throw new MalformedBody('the body is no JSON object');
    for (const [name, value] of Object.entries(parsed)) {
      // One whose name was written in another way, or whose value is no string, is not among those cut out.
      if (secretNames.has(name)) {
        if (!fields.secrets.has(name) || !/^x*$/.test(String(value)))
          throw new MalformedBody(`'${name}' must be a plain string`);
        continue;
      }
      if (value === null) continue;
      if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
        throw new MalformedBody(`'${name}' must be a string or a number`);
      fields.add(name);
      fields.text.set(name, String(value));
    }
    return fields;
  } catch (error) {
    fields.wipe();
    throw error;
  }
}

/** Takes the string values of the secret members; what stays has `x` in their place. */
function cutSecrets(body: Uint8Array, fields: Collected): void {
  let name: string | undefined;
  for (let at = 0; at < body.length; at += 1) {
    if (body[at] !== byte.quote) continue;
    const begin = at + 1;
    const end = endOfString(body, begin);
    at = end;
    const content = body.subarray(begin, end);
    if (name !== undefined) {
      fields.add(name);
      fields.secrets.set(name, decodeJsonString(content));
      content.fill(0x78);
      name = undefined;
      continue;
    }
    if (!isMemberName(body, end + 1)) continue;
    const found = [...fields.secretNames].find((secret) => Buffer.from(secret).equals(content));
    if (found !== undefined && nextToken(body, end + 1, 2) === byte.quote) name = found;
  }
}

function endOfString(body: Uint8Array, begin: number): number {
  for (let at = begin; at < body.length; at += 1) {
    if (body[at] === byte.backslash) at += 1;
    else if (body[at] === byte.quote) return at;
  }
  throw new MalformedBody('the body is not JSON');
}

/** The n-th byte from here on that is no white space. */
function nextToken(body: Uint8Array, from: number, n = 1): number | undefined {
  let left = n;
  for (let at = from; at < body.length; at += 1) {
    const code = body[at];
    if (code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d) continue;
    left -= 1;
    if (left === 0) return code;
  }
  return undefined;
}

const isMemberName = (body: Uint8Array, from: number): boolean => nextToken(body, from) === 0x3a;

const escapes = new Map([
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

/** Never longer than what it was written as. */
function decodeJsonString(content: Uint8Array): Buffer {
  const out = Buffer.allocUnsafeSlow(content.length);
  let used = 0;
  const put = (code: number): void => {
    out[used] = code;
    used += 1;
  };
  try {
    for (let at = 0; at < content.length; at += 1) {
      const code = content[at] ?? 0;
      if (code < 0x20) throw new MalformedBody('a string holds a control character');
      if (code !== byte.backslash) {
        put(code);
        continue;
      }
      at += 1;
      const plain = escapes.get(content[at] ?? 0);
      if (plain !== undefined) {
        put(plain);
        continue;
      }
      if (content[at] !== 0x75) throw new MalformedBody('a string holds an unknown escape');
      let point = codeUnit(content, at + 1);
      at += 4;
      if (
        point >= 0xd800 &&
        point < 0xdc00 &&
        content[at + 1] === byte.backslash &&
        content[at + 2] === 0x75
      ) {
        const low = codeUnit(content, at + 3);
        if (low >= 0xdc00 && low < 0xe000) {
          point = 0x1_0000 + (point - 0xd800) * 0x400 + (low - 0xdc00);
          at += 6;
        }
      }
      putUtf8(point, put);
    }
    return out.subarray(0, used);
  } catch (error) {
    out.fill(0);
    throw error;
  }
}

function codeUnit(content: Uint8Array, at: number): number {
  let unit = 0;
  for (let i = at; i < at + 4; i += 1) {
    const digit = hexDigit(content[i]);
    if (digit < 0) throw new MalformedBody('a string holds a broken escape');
    unit = unit * 16 + digit;
  }
  return unit;
}

function putUtf8(point: number, put: (code: number) => void): void {
  if (point >= 0xd800 && point < 0xe000) throw new MalformedBody('a string holds half a surrogate pair');
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | (point >> 6));
    put(0x80 | (point & 0x3f));
  } else if (point < 0x1_0000) {
    put(0xe0 | (point >> 12));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | (point >> 18));
    put(0x80 | ((point >> 12) & 0x3f));
    put(0x80 | ((point >> 6) & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}
