// From the bytes of a file to one unambiguous JSON value, and from that value to the bytes that were signed.
//
// Invariants: a value is returned only if every JSON reader reads the same one from these bytes (I-JSON, RFC 7493: UTF-8,
// well-formed strings, no duplicate names), and it has at most `depthMax` levels. The parser's recursion is bounded by
// the same limit, because the first fault ends the walk.
import { Rejection, quoted } from './rejection.js';
import { manifestLimits } from './types.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const byteOrderMark = '\u{feff}';

/**
 * Decodes and parses one file.
 * @throws Rejection `too-large`, `encoding`, `json`, `too-deep` or `duplicate-key`
 */
export async function parseDocument(content: Uint8Array): Promise<unknown> {
  if (content.byteLength > manifestLimits.bytesMax) {
    throw new Rejection('too-large', `${content.byteLength} bytes; at most ${manifestLimits.bytesMax}`);
  }
  let text: string;
  try {
    text = utf8.decode(content);
  } catch {
    throw new Rejection('encoding', 'not UTF-8');
  }
  if (text.startsWith(byteOrderMark)) throw new Rejection('encoding', 'begins with a byte order mark');
  await checkSyntax(text);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Rejection('json', error instanceof Error ? error.message : 'not JSON');
  }
}

/**
 * The bytes that the signature covers: the document without its member SignatureBase64, canonical as RFC 8785 says, in
 * UTF-8. The document must come from {@link parseDocument}.
 */
export async function signedBytes(document: object): Promise<Buffer> {
  const { default: canonicalize } = await import('canonicalize');
  const content = Object.fromEntries(Object.entries(document).filter(([name]) => name !== 'SignatureBase64'));
  const canonical = canonicalize(content);
  if (canonical === undefined) throw new TypeError('a JSON value has a canonical form');
  return Buffer.from(canonical, 'utf8');
}

/** Refuses what JSON.parse would let pass or resolve in silence, and says where. */
async function checkSyntax(text: string): Promise<void> {
  const { visit, printParseErrorCode } = await import('jsonc-parser');
  // One set of names for each open object; an array has an empty one.
  const open: Set<string>[] = [];

  const enter = (line: number, column: number): void => {
    if (open.length === manifestLimits.depthMax) {
      throw new Rejection(
        'too-deep',
        `more than ${manifestLimits.depthMax} levels at ${place(line, column)}`,
      );
    }
    open.push(new Set());
  };
  const leave = (): void => {
    open.pop();
  };

  visit(
    text,
    {
      onObjectBegin: (_offset, _length, line, column) => {
        enter(line, column);
      },
      onObjectEnd: leave,
      onArrayBegin: (_offset, _length, line, column) => {
        enter(line, column);
      },
      onArrayEnd: leave,
      onObjectProperty: (name, _offset, _length, line, column) => {
        checkWellFormed(name, line, column);
        const names = open.at(-1);
        if (names?.has(name))
          throw new Rejection(
            'duplicate-key',
            `${quoted(name)} stands twice, again at ${place(line, column)}`,
          );
        names?.add(name);
      },
      onLiteralValue: (value: unknown, _offset, _length, line, column) => {
        if (typeof value === 'string') checkWellFormed(value, line, column);
      },
      onError: (code, _offset, _length, line, column) => {
        throw new Rejection('json', `${printParseErrorCode(code)} at ${place(line, column)}`);
      },
    },
    { disallowComments: true, allowTrailingComma: false, allowEmptyContent: false },
  );
}

function checkWellFormed(text: string, line: number, column: number): void {
  if (/\p{Surrogate}/u.test(text))
    throw new Rejection('encoding', `lone surrogate in the string at ${place(line, column)}`);
}

function place(line: number, column: number): string {
  return `line ${line + 1}, column ${column + 1}`;
}
