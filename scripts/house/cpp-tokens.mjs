// Tokens of a C++ file, with their lines
//
// Comments and preprocessor lines are left out, so the body of a macro is not seen. Of the branches of an #if, every one
// is read that begins at the depth of braces at which the #if began. A later branch that begins deeper repeats the head
// of the first in another form, and is left out, because braces would no longer match.

// Closing angles stay apart, because they close template arguments one by one.
const sign = /<=>|\.\.\.|->\*|<<=|::|->|<<|<=|==|!=|&&|\|\||\+\+|--|[-+*/%&|^]=|./suy;
const blank = /(?:[^\S\n]|\\\r?\n)+/y;
const number = /\.?\d(?:[eEpP][-+]|'(?=\w)|[\w.])*/y;
const word = /[A-Za-z_$][\w$]*/y;
const prefixes = new Set(['u8', 'u', 'U', 'L', 'R', 'u8R', 'uR', 'UR', 'LR']);

/** Where the match of a sticky expression at `at` ends; `at` where there is none. */
function endOf(expression, text, at) {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : at;
}

/** Where the literal that begins with the quote at `at` ends. */
function endOfLiteral(text, at, isRaw) {
  if (isRaw) {
    const delimiter = text.slice(at + 1, text.indexOf('(', at));
    const end = text.indexOf(`)${delimiter}"`, at);
    return end < 0 ? text.length : end + delimiter.length + 2;
  }
  let end = at + 1;
  while (end < text.length && text[end] !== text[at] && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1;
  return end + 1;
}

/** The directive that begins at `at`, with its continuation lines and without its comments. */
function directiveAt(text, at) {
  let end = at;
  while (end < text.length && text[end] !== '\n') {
    if (text[end] === '\\') end += 1;
    else if (text.startsWith('/*', end)) end = text.indexOf('*/', end) + 1;
    else if (text.startsWith('//', end)) {
      while (end < text.length && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1;
      break;
    }
    end += 1;
  }
  const name = /^#[ \t]*([a-z]*)/.exec(text.slice(at, end))?.[1] ?? '';
  return { name, end };
}

/** `{ text, kind: 'word' | 'number' | 'literal' | 'sign', line }` for each token. */
export function tokensOf(text) {
  const tokens = [];
  const branches = [];
  let depth = 0;
  let line = 1;
  let at = 0;
  let isLineStart = true;
  let isSkipping = false;
  const advance = (end) => {
    for (; at < end; at += 1) if (text[at] === '\n') line += 1;
  };
  const add = (end, kind) => {
    const token = { text: text.slice(at, end), kind, line };
    if (!isSkipping) {
      tokens.push(token);
      if (token.text === '{') depth += 1;
      if (token.text === '}') depth -= 1;
    }
    advance(end);
    isLineStart = false;
  };
  const enter = (name) => {
    if (name.startsWith('if')) {
      branches.push({ depth, wasSkipping: isSkipping });
    } else if (name.startsWith('el') && branches.length > 0) {
      const branch = branches.at(-1);
      isSkipping = branch.wasSkipping || depth !== branch.depth;
    } else if (name === 'endif' && branches.length > 0) {
      isSkipping = branches.pop().wasSkipping;
    }
  };
  while (at < text.length) {
    const character = text[at];
    const next = text[at + 1];
    if (character === '\n') {
      isLineStart = true;
      advance(at + 1);
    } else if (endOf(blank, text, at) > at) {
      advance(endOf(blank, text, at));
    } else if (character === '/' && next === '/') {
      advance(directiveAt(text, at).end);
    } else if (character === '/' && next === '*') {
      const end = text.indexOf('*/', at + 2);
      advance(end < 0 ? text.length : end + 2);
    } else if (character === '#' && isLineStart) {
      const { name, end } = directiveAt(text, at);
      enter(name);
      advance(end);
    } else if (character === '"' || character === "'") {
      add(endOfLiteral(text, at, false), 'literal');
    } else if (endOf(number, text, at) > at) {
      add(endOf(number, text, at), 'number');
    } else if (endOf(word, text, at) > at) {
      const quote = endOf(word, text, at);
      const isRaw = text[quote - 1] === 'R';
      if (prefixes.has(text.slice(at, quote)) && (text[quote] === '"' || (text[quote] === "'" && !isRaw)))
        add(endOfLiteral(text, quote, isRaw), 'literal');
      else add(quote, 'word');
    } else {
      add(endOf(sign, text, at), 'sign');
    }
  }
  return tokens;
}
