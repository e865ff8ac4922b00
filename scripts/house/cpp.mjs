// Classes, functions and their parameters in a C++ file
//
// A reader of declarations, not a compiler: it knows where a declaration begins and ends, what of it is a class, a
// function or a variable, and leaves types and names unresolved. test/house.test.ts compares it with clang's own tree.
import { tokensOf } from './cpp-tokens.mjs';

const closing = { '(': ')', '[': ']', '{': '}' };
const classKeys = new Set(['class', 'struct', 'union']);
const accessKeys = new Set(['public', 'protected', 'private']);
// Words with parentheses that are no function's name.
const notNames = new Set([
  'alignas',
  'decltype',
  'explicit',
  'noexcept',
  'requires',
  'sizeof',
  '__attribute__',
]);
// An annotation as thread-safety analysis has them: SCREAMING_CASE, and no test, which is a function.
const isAnnotation = (text) =>
  /^[A-Z][A-Z0-9]*_[A-Z0-9_]+$/.test(text) && !/^(TEST|TYPED_TEST|INSTANTIATE)/.test(text);

/** The index behind the bracket that closes the one at `at`. */
function behindGroup(tokens, at) {
  const close = closing[tokens[at].text];
  const open = tokens[at].text;
  let depth = 0;
  for (let i = at; i < tokens.length; i += 1) {
    if (tokens[i].text === open) depth += 1;
    else if (tokens[i].text === close && (depth -= 1) === 0) return i + 1;
  }
  return tokens.length;
}

/** The index behind the template arguments that begin at `at`, or `at` where the sign is a comparison. */
function behindAngles(tokens, at, end = tokens.length) {
  let depth = 0;
  for (let i = at; i < end;) {
    const { text } = tokens[i];
    if (text in closing) {
      i = behindGroup(tokens, i);
      continue;
    }
    if (text === '<') depth += 1;
    else if (text === '<<') depth += 2;
    else if (text === '>' && (depth -= 1) === 0) return i + 1;
    else if (text === ';' || text === '}' || text === '&&' || text === '||') {
      // `requires A<B> && C<D>` closes each first; within arguments these signs are rvalue references or packs.
      if (text !== '&&') return at;
    }
    i += 1;
  }
  return at;
}

/** Splits `tokens[from, to)` at the commas that no bracket encloses. */
function splitAtCommas(tokens, from, to) {
  const parts = [];
  let part = [];
  for (let i = from; i < to;) {
    const { text } = tokens[i];
    let next = i + 1;
    if (text in closing) next = behindGroup(tokens, i);
    else if (text === '<' && tokens[i - 1]?.kind === 'word')
      next = Math.max(next, behindAngles(tokens, i, to));
    if (text === ',') {
      parts.push(part);
      part = [];
    } else {
      part.push(...tokens.slice(i, next));
    }
    i = next;
  }
  if (part.length > 0 || parts.length > 0) parts.push(part);
  return parts;
}

/** The same without attributes, alignas() and annotations. */
function withoutAttributes(tokens) {
  const kept = [];
  for (let i = 0; i < tokens.length;) {
    const next = tokens[i + 1]?.text;
    if (tokens[i].text === '[' && next === '[') i = behindGroup(tokens, i);
    else if (
      next === '(' &&
      (/^(alignas|__attribute__)$/.test(tokens[i].text) || isAnnotation(tokens[i].text))
    )
      i = behindGroup(tokens, i + 1);
    else if (isAnnotation(tokens[i].text) && tokens[i + 1]?.kind === 'word') i += 1;
    else kept.push(tokens[i++]);
  }
  return kept;
}

/** The name of a parameter that is a plain bool, '' where it has none, and undefined of every other parameter. */
function boolParameter(part) {
  const equals = part.findIndex(({ text }) => text === '=');
  const words = withoutAttributes(equals < 0 ? part : part.slice(0, equals))
    .map(({ text }) => text)
    .filter((text) => text !== 'const');
  if (words[0] !== 'bool' || words.length > 2 || !/^\w*$/.test(words[1] ?? '')) return undefined;
  return words[1] ?? '';
}

class Reader {
  classes = [];
  functions = [];

  constructor(text) {
    this.tokens = tokensOf(text);
    this.at = 0;
  }

  text(offset = 0) {
    return this.tokens[this.at + offset]?.text;
  }

  /** Reads the declarations up to the brace that closes the scope, and goes behind it. */
  scope(names, owner) {
    while (this.at < this.tokens.length) {
      const text = this.text();
      if (text === '}') {
        this.at += 1;
        return;
      }
      if (text === ';') this.at += 1;
      else if (owner && accessKeys.has(text) && this.text(1) === ':') {
        owner.access = text;
        this.at += 2;
      } else this.declaration(names, owner);
    }
  }

  declaration(names, owner) {
    const start = this.at;
    this.skipTemplate();
    if (this.text() === 'inline' && this.text(1) === 'namespace') this.at += 1;
    if (this.text() === 'namespace') return this.namespace(names);
    if (this.text() === 'extern' && this.tokens[this.at + 1]?.kind === 'literal' && this.text(2) === '{') {
      this.at += 3;
      return this.scope(names, owner);
    }
    if (['using', 'static_assert'].includes(this.text())) return this.toSemicolon();
    const head = this.head();
    const words = withoutAttributes(head.tokens);
    const key = words.findIndex(({ text }) => !/^(typedef|static|const|constexpr|friend|inline)$/.test(text));
    if (words[key]?.text === 'enum') return this.toSemicolon();
    if (head.end === '{' && head.call < 0 && classKeys.has(words[key]?.text))
      return this.class(words.slice(key), start, names, owner);
    if (head.call >= 0) return this.function(head, start, names, owner);
    return this.variable(head, words, names, owner);
  }

  skipTemplate() {
    while (this.text() === 'template') {
      this.at += 1;
      if (this.text() === '<') this.at = Math.max(this.at + 1, behindAngles(this.tokens, this.at));
    }
    if (this.text() !== 'requires') return;
    // A constraint: primary expressions that && and || join.
    do {
      this.at += 1;
      if (this.text() === '(') this.at = behindGroup(this.tokens, this.at);
      else {
        while (this.tokens[this.at]?.kind === 'word' && [':', '::', '<'].includes(this.text(1)?.[0])) {
          this.at += 1;
          if (this.text() === '::') this.at += 1;
          else if (this.text() === '<') {
            this.at = Math.max(this.at + 1, behindAngles(this.tokens, this.at));
            if (this.text() !== '::') break;
            this.at += 1;
          }
        }
      }
    } while (['&&', '||'].includes(this.text()));
  }

  namespace(names) {
    let name = '';
    for (this.at += 1; !['{', '=', ';', undefined].includes(this.text()); this.at += 1) name += this.text();
    if (this.text() !== '{') return this.toSemicolon();
    this.at += 1;
    this.scope(names, undefined);
    return name;
  }

  toSemicolon() {
    while (this.at < this.tokens.length && this.text() !== ';') {
      if (this.text() === '}') return;
      this.at = this.text() in closing ? behindGroup(this.tokens, this.at) : this.at + 1;
    }
    this.at += 1;
  }

  /**
   * Reads a declaration up to its first `{`, `=`, `:` or `;` that no bracket encloses. `call` is the index of the
   * parenthesis behind a function's name, -1 where there is none.
   */
  head() {
    const { tokens } = this;
    const start = this.at;
    let call = -1;
    let name = '';
    while (this.at < tokens.length) {
      const { text } = tokens[this.at];
      const before = tokens[this.at - 1];
      if (text === 'operator' && this.at + 1 < tokens.length && call < 0) {
        name = this.operatorName();
        call = this.at;
        this.at = behindGroup(tokens, this.at);
      } else if (text === '(') {
        if (call < 0 && this.at > start && this.namesFunction(before)) {
          call = this.at;
          name = this.nameBefore(start);
        }
        this.at = behindGroup(tokens, this.at);
      } else if (text === '[') this.at = behindGroup(tokens, this.at);
      else if (text === '<' && (before?.kind === 'word' || before?.text === '>'))
        this.at = Math.max(this.at + 1, behindAngles(tokens, this.at));
      else if (['{', '=', ';', '}'].includes(text)) break;
      else if (text === ':' && call >= 0) break;
      else this.at += 1;
    }
    return { tokens: tokens.slice(start, this.at), start, end: this.text(), call, name };
  }

  namesFunction(before) {
    if (before.kind !== 'word' && before.text !== '>') return false;
    if (notNames.has(before.text) || isAnnotation(before.text)) return false;
    // A pointer or a reference to a function is a variable.
    return !(['*', '&', '&&'].includes(this.text(1)) || (this.text(2) === '::' && this.text(3) === '*'));
  }

  operatorName() {
    let name = 'operator';
    this.at += 1;
    // operator() has parentheses of its own.
    if (this.text() === '(' && this.text(1) === ')' && this.text(2) === '(') {
      this.at += 2;
      return `${name}()`;
    }
    while (this.at < this.tokens.length && this.text() !== '(') {
      name += /^\w/.test(this.text()) ? ` ${this.text()}` : this.text();
      this.at += 1;
    }
    return name;
  }

  /** The name before the parenthesis at this.at: words that :: and ~ join, without template arguments. */
  nameBefore(start) {
    const parts = [];
    let i = this.at - 1;
    while (i >= start) {
      const { text, kind } = this.tokens[i];
      if (text === '>') {
        let depth = 1;
        for (i -= 1; i >= start && depth > 0; i -= 1) {
          if (this.tokens[i].text === '>') depth += 1;
          if (this.tokens[i].text === '<') depth -= 1;
        }
        continue;
      }
      if (kind === 'word' && (parts.length === 0 || parts[0] === '::')) parts.unshift(text);
      else if (text === '~' && parts.length === 1) parts.unshift(text);
      else if (text === '::' && parts.length > 0) parts.unshift(text);
      else break;
      i -= 1;
    }
    return parts.join('');
  }

  class(words, start, names, owner) {
    // The arguments of a specialisation are part of its name.
    const end = words.findIndex(({ text }) => text === ':' || text === 'final');
    const name = words
      .slice(1, end < 0 ? undefined : end)
      .map(({ text }) => text)
      .join('');
    const made = {
      name: [...names, name || '(unnamed)'].join('::'),
      key: words[0].text,
      line: this.tokens[start].line,
      access: words[0].text === 'class' ? 'private' : 'public',
      fields: 0,
      publicMethods: 0,
      methods: 0,
    };
    this.classes.push(made);
    this.at += 1;
    this.scope([...names, name || '(unnamed)'], made);
    // What follows the brace are variables of this type; a union without a name is one itself.
    const from = this.at;
    this.toSemicolon();
    const variables = splitAtCommas(this.tokens, from, this.at - 1).length;
    if (owner) owner.fields += name === '' ? Math.max(variables, 1) : variables;
  }

  function({ call, name, tokens: head }, start, names, owner) {
    const { tokens } = this;
    const close = behindGroup(tokens, call);
    const parameters = splitAtCommas(tokens, call + 1, close - 1);
    const isFriend = head.some(({ text }) => text === 'friend');
    const scope = isFriend ? [] : names;
    const found = {
      name: /^TEST|^TYPED_TEST/.test(name)
        ? `${name}(${parameters.map((part) => part.map(({ text }) => text).join('')).join(', ')})`
        : [...scope, name].join('::'),
      line: tokens[start].line,
      bools: parameters.map(boolParameter).filter((bool) => bool !== undefined),
      lines: 0,
    };
    this.functions.push(found);
    let isSpecial =
      name.startsWith('~') || name === names.at(-1)?.split('::').at(-1) || /^operator(=|<=>)?$/.test(name);
    if (this.text() === '=') {
      isSpecial ||= ['delete', 'default'].includes(this.text(1));
      this.toSemicolon();
    } else if (this.text() === ';') this.at += 1;
    else {
      if (this.text() === ':') this.initialisers();
      this.body(found, start, scope);
    }
    if (!owner || isFriend || isSpecial) return;
    owner.methods += 1;
    if (owner.access === 'public') owner.publicMethods += 1;
  }

  /** Goes from the colon of a constructor to its body. */
  initialisers() {
    this.at += 1;
    while (this.at < this.tokens.length) {
      while (this.at < this.tokens.length && !['(', '{'].includes(this.text())) {
        this.at =
          this.text() === '<' ? Math.max(this.at + 1, behindAngles(this.tokens, this.at)) : this.at + 1;
      }
      if (this.at >= this.tokens.length) return;
      this.at = behindGroup(this.tokens, this.at);
      if (this.text() === '...') this.at += 1;
      if (this.text() !== ',') return;
      this.at += 1;
    }
  }

  body(found, start, names) {
    if (this.text() !== '{') return this.toSemicolon();
    let end = behindGroup(this.tokens, this.at);
    // The handlers of a function that is a try block belong to it.
    while (this.tokens[end]?.text === 'catch')
      end = behindGroup(this.tokens, behindGroup(this.tokens, end + 1));
    found.lines = this.tokens[end - 1].line - this.tokens[start].line + 1;
    this.localClasses(end, [...names, found.name.split('::').at(-1)]);
    this.at = end;
  }

  /** Classes between this.at and `end`, of a function's body or an initialiser. */
  localClasses(end, names) {
    const { tokens } = this;
    for (let i = this.at; i < end; i += 1) {
      if (!classKeys.has(tokens[i].text) || tokens[i - 1]?.text === 'enum') continue;
      let open = i + 1;
      while (
        open < end &&
        (tokens[open].kind === 'word' || ['::', ':', ',', '<', '>'].includes(tokens[open].text))
      )
        open += 1;
      const words = withoutAttributes(tokens.slice(i, open));
      const isHead =
        words[1]?.kind !== 'word' || words.length === 2 || [':', 'final'].includes(words[2].text);
      if (tokens[open]?.text !== '{' || !isHead) continue;
      this.at = open;
      this.class(words, i, names, undefined);
      i = this.at - 1;
    }
  }

  variable(head, words, names, owner) {
    const isType = words[0] && /^(typedef|friend)$/.test(words[0].text);
    const isShared = words.some(({ text }) => text === 'static' || text === 'extern');
    const from = head.start;
    const isForward = words.length <= 2 && classKeys.has(words[0]?.text);
    this.toSemicolon();
    const end = this.at;
    if (owner && !isType && !isShared && !isForward && head.tokens.length > 0)
      owner.fields += splitAtCommas(this.tokens, from, end - 1).length;
    this.initialiserLambda(from, end, words, names);
    if (this.at === from) this.at += 1;
  }

  /** A variable that is a lambda is a function with a name. */
  initialiserLambda(from, end, words, names) {
    const { tokens } = this;
    const equals = tokens.slice(from, end).findIndex(({ text }) => text === '=');
    if (equals < 0 || tokens[from + equals + 1]?.text !== '[') return;
    const open = tokens.findIndex(({ text }, i) => i > from + equals && i < end && text === '{');
    if (open < 0) return;
    const last = tokens[behindGroup(tokens, open) - 1];
    const name = [...names, words.at(-1)?.text ?? ''].join('::');
    this.functions.push({
      name,
      line: tokens[from].line,
      bools: [],
      lines: last.line - tokens[from].line + 1,
    });
  }
}

/** The classes and functions of a C++ text, in its order. */
export function readCpp(text) {
  const reader = new Reader(text);
  while (reader.at < reader.tokens.length) reader.scope([], undefined);
  return { classes: reader.classes, functions: reader.functions, tokens: reader.tokens };
}
