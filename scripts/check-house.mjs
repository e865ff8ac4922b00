#!/usr/bin/env node
// House rules: sizes of classes and functions, positional bool, kinds, commit subjects
//
//   scripts/check-house.mjs [--record] [DIRECTORY]    checks this working tree, or DIRECTORY
//
// | rule | holds in | limit |
// |---|---|---|
// | fields | a class or struct of native/; a class, interface or object type of lib/ | 15 |
// | public-methods | the same | 20 |
// | function-lines | a function of native/, lib/, test/, bench/, examples/ and scripts/, from its first line to its brace | 70 |
// | positional-bool | a parameter in a header of native/; of a function, class or interface that a file of lib/ exports | 0 |
// | kinds | a conditional on the kind of a key protector or witness outside their registries (scripts/house/kinds.mjs) | 0 |
// | mutexes | a std::mutex or std::condition_variable of native/: base/thread_annotations.h has those that clang checks | 0 |
// | commits | subjects since the commit in scripts/house-since: `area: imperative`, 72 columns, no merge, no full stop | |
//
// - Plain data is exempt from `fields`: a struct, union, interface or object type without methods, such as a report or
//   a record of options. A constructor, destructor, assignment, and what is deleted or defaulted are no methods here.
//   Overloads are methods each in C++, and one in TypeScript. Static members are no fields.
// - The body of a `describe` is exempt from `function-lines`. A function within another counts for both.
// - Parameters of lambdas and of function types are exempt from `positional-bool`, and so is a pointer or reference to
//   bool.
//
// scripts/house-debts.json is the ledger of what is above a limit: for each rule and name the number that is found. The
// check fails where one grows or is new, and where the ledger has more than is found, so that it is exact at any time.
// --record writes it again after something shrank, moved or got another name. It refuses where the sum of a rule grows.
// Of a rule that the ledger does not have it takes everything that is found.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkCommits } from './house/commits.mjs';
import { readCpp } from './house/cpp.mjs';
import { kindsInCpp, kindsInTypeScript } from './house/kinds.mjs';

const limits = {
  fields: 15,
  'public-methods': 20,
  'function-lines': 70,
  'positional-bool': 0,
  kinds: 0,
  mutexes: 0,
};
const units = {
  fields: 'fields',
  'public-methods': 'public methods',
  'function-lines': 'lines',
  'positional-bool': 'positional bool',
  kinds: 'conditionals on a kind',
  mutexes: 'mutexes that clang does not check',
};
const annotatedMutex = 'native/base/thread_annotations.h';
const uncheckedMutex = /^(\w*mutex|condition_variable(_any)?)$/;
// The only files that may ask for a kind.
const registries = /^(native\/(protectors|witnesses)|lib\/protectors)\/registry\.(h|cc|ts)$/;
// Its switches name all enumerators, and do nothing.
const borderConversions = 'native/addon/border.cc';

const isRecording = process.argv.includes('--record');
const [directory] = process.argv.slice(2).filter((argument) => argument !== '--record');
const root = directory === undefined ? fileURLToPath(new URL('..', import.meta.url)) : resolve(directory);
const ledgerFile = join(root, 'scripts/house-debts.json');
const sinceFile = join(root, 'scripts/house-since');

function files(under, pattern) {
  const path = join(root, under);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .filter((file) => !/(^|\/)(node_modules|build|dist)\//.test(file))
    .sort();
}

// Rule -> name -> { number, line } of what is above the limit.
const found = Object.fromEntries(Object.keys(limits).map((rule) => [rule, new Map()]));
function note(rule, file, name, number, line) {
  if (number <= limits[rule]) return;
  const key = name === '' ? file : `${file} ${name}`;
  let unique = key;
  for (let count = 2; found[rule].has(unique); count += 1) unique = `${key} #${count}`;
  found[rule].set(unique, { number, line });
}

function noteClasses(file, classes) {
  for (const { name, key, line, fields, methods, publicMethods } of classes) {
    if (methods > 0 || key === 'class') note('fields', file, name, fields, line);
    note('public-methods', file, name, publicMethods, line);
  }
}

function checkCpp(file) {
  const isProduct = file.startsWith('native/');
  const { classes, functions, tokens } = readCpp(readFileSync(join(root, file), 'utf8'));
  for (const { name, lines, line } of functions) note('function-lines', file, name, lines, line);
  if (!isProduct) return;
  noteClasses(file, classes);
  if (file.endsWith('.h'))
    for (const { name, bools, line } of functions) note('positional-bool', file, name, bools.length, line);
  const mutexes = tokens.filter(
    ({ text }, i) =>
      uncheckedMutex.test(text) && tokens[i - 1]?.text === '::' && tokens[i - 2]?.text === 'std',
  );
  if (file !== annotatedMutex) note('mutexes', file, '', mutexes.length, mutexes[0]?.line);
  const kinds = kindsInCpp(tokens);
  if (!registries.test(file) && file !== borderConversions) note('kinds', file, '', kinds.length, kinds[0]);
}

function checkTypeScript(file, readTypeScript) {
  const isProduct = file.startsWith('lib/');
  const { classes, functions, offered, comparisons } = readTypeScript(
    readFileSync(join(root, file), 'utf8'),
    file,
  );
  for (const { name, lines, line } of functions) note('function-lines', file, name, lines, line);
  if (!isProduct) return;
  noteClasses(file, classes);
  for (const { name, bools, line } of offered) note('positional-bool', file, name, bools.length, line);
  const kinds = kindsInTypeScript(comparisons);
  if (!registries.test(file)) note('kinds', file, '', kinds.length, kinds[0]);
}

/** What the ledger and the code do not agree about. */
function differences(ledger) {
  const problems = [];
  for (const rule of Object.keys(ledger))
    if (!(rule in limits)) problems.push(`${ledgerFile}: no rule '${rule}'`);
  for (const rule of Object.keys(limits)) {
    const debts = new Map(Object.entries(ledger[rule] ?? {}));
    for (const [key, { number, line }] of found[rule]) {
      const owed = debts.get(key);
      debts.delete(key);
      if (owed === number) continue;
      const [file, ...name] = key.split(' ');
      const what = [name.join(' '), `${number} ${units[rule]};`].filter((part) => part !== '').join(': ');
      if (owed === undefined) problems.push(`${file}:${line}: ${what} at most ${limits[rule]} (${rule})`);
      else if (number > owed) problems.push(`${file}:${line}: ${what} the ledger has ${owed} (${rule})`);
      else problems.push(`${file}:${line}: ${what} the ledger has ${owed}, record the new number (${rule})`);
    }
    for (const [key, owed] of debts)
      problems.push(`${key}: the ledger has ${owed} ${units[rule]}, which are gone; record it (${rule})`);
  }
  return problems;
}

const excess = (rule, numbers) => numbers.reduce((sum, number) => sum + number - limits[rule], 0);

function record(ledger) {
  const next = {};
  const problems = [];
  for (const rule of Object.keys(limits)) {
    const entries = [...found[rule]].map(([key, { number }]) => [key, number]);
    const before = excess(rule, Object.values(ledger[rule] ?? {}));
    const now = excess(
      rule,
      entries.map(([, number]) => number),
    );
    if (ledger[rule] !== undefined && now > before)
      problems.push(
        `${rule}: ${before} above the limit in the ledger, ${now} in the code; the ledger only shrinks`,
      );
    next[rule] = Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  if (problems.length === 0) writeFileSync(ledgerFile, `${JSON.stringify(next, null, 2)}\n`);
  return problems;
}

function commitProblems() {
  if (!existsSync(sinceFile)) return [`${relative(root, sinceFile)} is missing`];
  const { skipped, problems, count } = checkCommits(root, readFileSync(sinceFile, 'utf8').trim());
  console.log(skipped === undefined ? `${count} commits` : `commits: not checked, for ${skipped}`);
  return problems ?? [];
}

const cpp = ['native', 'test', 'bench', 'examples'].flatMap((under) => files(under, /\.(h|cc)$/));
const typescript = ['lib', 'test', 'bench', 'examples', 'scripts'].flatMap((under) =>
  files(under, /\.([cm]?ts|mjs|cjs)$/),
);
cpp.forEach(checkCpp);
if (typescript.length > 0) {
  // The compiler takes a second to load.
  const { readTypeScript } = await import('./house/typescript.mjs');
  for (const file of typescript) checkTypeScript(file, readTypeScript);
}
const ledger = existsSync(ledgerFile) ? JSON.parse(readFileSync(ledgerFile, 'utf8')) : {};
const problems = [...(isRecording ? record(ledger) : differences(ledger)), ...commitProblems()];
for (const problem of problems) console.error(problem);
for (const rule of Object.keys(limits)) console.log(`${rule}: ${found[rule].size} above ${limits[rule]}`);
console.log(`${cpp.length} C++ and ${typescript.length} TypeScript files: ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
