// Conditionals that ask for the kind of a key protector or witness
//
// Counted are, in C++, each comparison (==, !=) and each case label with an enumerator of such a kind, each test of a
// witness's bit, and each call of a predicate on a kind; in TypeScript each comparison and case label with the name of a
// kind. A switch counts as often as it has labels, so that each of them that goes is seen.

const enumerators = /^k(Software|Tpm|Pkcs11|Password|External)$/;
// What authorises an operation has a password, too.
const otherEnums = new Set(['AuthorityType']);
const witnessBits = /^kWitness(TamperFile|SecretStore|Tpm|TpmExtend|Token)$/;
const predicates = /^(has|is)_(software|tpm|pkcs11|token|password|secret_store|counter|extend)$/;
const names = new Set([
  'software',
  'tpm',
  'pkcs11',
  'external',
  'tamper-file',
  'secret-store',
  'tpm-counter',
]);
// Words that also name other things: they count where a kind is what they are compared with.
const ambiguousNames = new Set(['password', 'token']);
const kindExpression = /(^|\W|_)(type|kind|storage|protector|witness)$/i;

const equals = new Set(['==', '!=']);

/** The lines of the conditionals in the tokens of a C++ file. */
export function kindsInCpp(tokens) {
  const lines = [];
  tokens.forEach(({ text, kind, line }, i) => {
    if (kind !== 'word') return;
    const next = tokens[i + 1]?.text;
    if (enumerators.test(text) && tokens[i - 1]?.text === '::' && !otherEnums.has(tokens[i - 2]?.text)) {
      let first = i;
      while (tokens[first - 1]?.text === '::') first -= 2;
      const before = tokens[first - 1]?.text;
      if (equals.has(before) || before === 'case' || equals.has(next)) lines.push(line);
    } else if (witnessBits.test(text)) {
      if (tokens[i - 1]?.text === '&' || next === '&') lines.push(line);
    } else if (predicates.test(text) && next === '(') {
      // A type before the name makes it a declaration.
      const before = tokens[i - 1];
      const isDeclared = before?.text === 'bool' || (before?.text === '::' && tokens[i - 3]?.text === 'bool');
      if (!isDeclared) lines.push(line);
    }
  });
  return lines;
}

/** The lines of those among the comparisons that readTypeScript() found. */
export function kindsInTypeScript(comparisons) {
  return comparisons
    .filter(
      ({ literal, other }) =>
        names.has(literal) || (ambiguousNames.has(literal) && kindExpression.test(other)),
    )
    .map(({ line }) => line);
}
