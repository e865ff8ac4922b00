#!/usr/bin/env node
// Checks that includes and imports point only the way that the table below says, and prints the table, so that the
// layout written in ARCHITECTURE.md cannot lie.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const linesMax = 600;
const testLinesMax = 1000;

/** Directory of native/ -> the directories that it may include besides itself. */
const mayInclude = {
  base: [],
  os: ['base'],
  crypto: ['os', 'base'],
  log: ['crypto', 'os', 'base'],
  roots: ['crypto', 'os', 'base'],
  secret_store: ['crypto', 'os', 'base'],
  time: ['os', 'base'],
  header: ['log', 'crypto', 'os', 'base'],
  protectors: ['header', 'secret_store', 'log', 'roots', 'crypto', 'os', 'base'],
  witnesses: ['time', 'protectors', 'header', 'secret_store', 'log', 'roots', 'crypto', 'os', 'base'],
  store: [
    'witnesses',
    'time',
    'protectors',
    'header',
    'secret_store',
    'log',
    'roots',
    'crypto',
    'os',
    'base',
  ],
  addon: [
    'store',
    'witnesses',
    'time',
    'protectors',
    'header',
    'secret_store',
    'log',
    'roots',
    'crypto',
    'os',
    'base',
  ],
};

/**
 * The places of lib/, lowest first: each may import those above it in this list, and itself. A file of lib/ itself is a
 * place of its own.
 */
const libOrder = [
  'error-table.ts',
  'errors.ts',
  'native-border.ts',
  'base',
  'native-binding.ts',
  'native',
  'native.ts',
  'options',
  'protectors',
  'manifests',
  'vault',
  'keys',
  'store',
  'operations',
  'restore',
  'api.ts',
  'index.ts',
  'wizard',
  'cli',
];

/** Headers from outside that only the named directories and those below them may include. */
const reserved = [
  {
    name: "Node's headers",
    pattern: /^(napi|node|node_api|node_api_types|js_native_api|uv|v8)(-inl)?\.h$/,
    only: ['addon'],
  },
  {
    name: 'the PKCS#11 header',
    pattern: /^(p11-kit|opensc|nss)\/|^pkcs11[a-z]*\.h$/,
    only: ['roots/pkcs11'],
  },
  { name: 'tpm2-tss', pattern: /^tss2\//, only: ['roots/tpm'] },
  { name: 'OpenSSL, argon2', pattern: /^(openssl\/|argon2)/, only: ['crypto'] },
  {
    name: 'file I/O and dlopen',
    pattern:
      /^(fcntl|dirent|dlfcn|sys\/(stat|file|uio|statvfs|vfs|inotify)|unistd)\.h$|^(fstream|filesystem)$/,
    only: ['os', 'base'],
  },
];

const problems = [];
const report = (file, line, text) => problems.push(`${relative(root, file)}:${line}: ${text}`);

function files(directory, pattern) {
  const path = join(root, directory);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => !file.includes('node_modules'))
    .sort();
}

function checkNative() {
  const all = files('native', /\.(h|cc)$/);
  for (const file of all) {
    const place = relative(join(root, 'native'), file);
    const [layer] = place.split('/');
    const inTesting = file.includes('/testing/');
    if (!(layer in mayInclude)) report(file, 1, `native/${layer} is not in the table`);
    // The conditions that are open at a line, innermost last.
    const conditions = [];
    readFileSync(file, 'utf8')
      .split('\n')
      .forEach((text, index) => {
        const directive = /^\s*#\s*(if|ifdef|ifndef|else|elif|endif)\b(.*)/.exec(text);
        if (directive) {
          if (directive[1].startsWith('if')) conditions.push(`${directive[1]} ${directive[2].trim()}`);
          else if (directive[1] === 'endif') conditions.pop();
          else conditions[conditions.length - 1] = directive[1];
        }
        const include = /^\s*#\s*include\s*(["<])([^">]+)[">]/.exec(text);
        if (!include) return;
        const [, quote, path] = include;
        const at = index + 1;
        for (const { name, pattern, only } of reserved) {
          if (pattern.test(path) && !only.some((directory) => place.startsWith(`${directory}/`)))
            report(file, at, `${path}: ${name} only in ${only.join(', ')}`);
        }
        if (quote === '<') return;
        const target = path.split('/')[0];
        if (!existsSync(join(root, 'native', path))) {
          if (path !== 'napi.h') report(file, at, `"${path}" is not a path relative to native/`);
        } else if (target !== layer && !mayInclude[layer]?.includes(target)) {
          report(file, at, `${layer} may not include ${target} ("${path}")`);
        }
        const guarded = conditions.some((c) => /^(ifdef|if defined\(?)\s*\(?STRONGROOM_TESTING\)?$/.test(c));
        if (path.includes('/testing/') && !inTesting && !guarded) {
          report(file, at, `"${path}" is for tests: only under #ifdef STRONGROOM_TESTING`);
        }
      });
  }
  return all.length;
}

/** The C++ tests are in the directories of what they test: of native/, but for what tests share. */
function checkTestPlaces() {
  for (const file of files('test/native', /\.(h|cc)$/)) {
    const place = relative(join(root, 'test/native'), dirname(file));
    const isTest = file.endsWith('_test.cc');
    if (isTest ? place === '' || !existsSync(join(root, 'native', place)) : place !== 'support')
      report(
        file,
        1,
        isTest ? `native/ has no directory '${place}'` : 'what tests share is in test/native/support',
      );
  }
}

/**
 * A constant of a shared header is defined nowhere else in its namespace. Several tests are one translation unit, in
 * which another test's constant would hide it without a word.
 */
function checkTestConstants() {
  const constant = /^(?:inline )?(?:const|constexpr) [\w:<>]+ (k[A-Z]\w*)\b/;
  const shared = new Map();
  const all = files('test/native', /\.(h|cc)$/);
  for (const header of [true, false]) {
    for (const file of all.filter((name) => name.endsWith('.h') === header)) {
      const source = readFileSync(file, 'utf8');
      const namespace = /^namespace ([\w:]+) \{/m.exec(source)?.[1];
      source.split('\n').forEach((text, index) => {
        const name = constant.exec(text)?.[1];
        if (!name) return;
        const defined = shared.get(`${namespace}::${name}`);
        if (defined) report(file, index + 1, `${name} hides the one of ${relative(root, defined)}`);
        else if (header) shared.set(`${namespace}::${name}`, file);
      });
    }
  }
}

/** The specifiers that a module asks for: {specifier, line, kind: 'static' | 'type' | 'dynamic' | 'require'}. */
function importsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, kind) => {
    if (!ts.isStringLiteralLike(node)) return;
    const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
    found.push({ specifier: node.text, line, kind });
  };
  const visit = (node) => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.isTypeOnly === true ? 'type' : 'static');
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier) {
      add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'static');
    } else if (ts.isCallExpression(node) && node.arguments.length > 0) {
      if (node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], 'dynamic');
      else if (/\brequire\b|createRequire\(/.test(node.expression.getText()))
        add(node.arguments[0], 'require');
      else if (/getBuiltinModule$/.test(node.expression.getText())) add(node.arguments[0], 'dynamic');
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const isRelative = (specifier) => specifier.startsWith('.');
const resolveModule = (file, specifier) => normalize(join(dirname(file), specifier.replace(/\.js$/, '.ts')));
const isBuiltin = (specifier) => specifier.startsWith('node:') || builtinModules.includes(specifier);

/** The files that a file imports, also those of which it only has types. */
const importedBy = (file, imports) =>
  imports
    .filter(({ specifier }) => isRelative(specifier))
    .map(({ specifier, line }) => ({ line, target: resolveModule(file, specifier) }));

function checkDirection(lib, graph) {
  const placeOf = (file) => relative(lib, file).split('/')[0];
  for (const [file, imports] of graph) {
    const place = placeOf(file);
    if (!libOrder.includes(place)) report(file, 1, `lib/${place} is not in the list of places`);
    for (const { line, target } of importedBy(file, imports)) {
      if (libOrder.indexOf(placeOf(target)) > libOrder.indexOf(place))
        report(file, line, `${place} may not import ${placeOf(target)} (${relative(lib, target)})`);
    }
  }
}

/** Reports each import that leads back to a file on the way to it. */
function checkCycles(lib, graph) {
  const finished = new Set();
  const way = [];
  const visit = (file) => {
    way.push(file);
    for (const { line, target } of importedBy(file, graph.get(file))) {
      const at = way.indexOf(target);
      if (at >= 0) {
        const names = [...way.slice(at), target].map((each) => relative(lib, each));
        report(file, line, `a cycle of imports: ${names.join(' -> ')}`);
      } else if (graph.has(target) && !finished.has(target)) visit(target);
    }
    way.pop();
    finished.add(file);
  };
  for (const file of graph.keys()) if (!finished.has(file)) visit(file);
}

function checkTypeScript() {
  const lib = join(root, 'lib');
  const all = files('lib', /\.ts$/);
  const graph = new Map(all.map((file) => [file, importsOf(file)]));
  for (const [file, imports] of graph) {
    const name = relative(lib, file);
    const inCli = name.startsWith('cli/');
    for (const { specifier, line, kind } of imports) {
      if (/^(node:)?fs(\/|$)/.test(specifier) && name !== 'native.ts')
        report(file, line, `${specifier}: lib/ touches no file`);
      if (kind === 'require' && name !== 'native.ts' && !isBuiltin(specifier))
        report(file, line, `require() of anything but Node's own only in lib/native.ts`);
      if (/^@?hono(\/|$)/.test(specifier) && !name.startsWith('wizard/'))
        report(file, line, `${specifier}: only lib/wizard has a web server`);
      if (!isRelative(specifier)) continue;
      const target = relative(lib, resolveModule(file, specifier));
      if (target.startsWith('..')) report(file, line, `${specifier}: out of lib/`);
      if (target.startsWith('cli/') && !inCli)
        report(file, line, `${specifier}: only lib/cli may import lib/cli`);
    }
  }
  checkDirection(lib, graph);
  checkCycles(lib, graph);
  // What `import 'strongroom'` loads at once: our own modules and Node's, nothing else.
  const reached = new Map();
  const queue = [join(lib, 'index.ts')].filter((file) => graph.has(file));
  for (const file of queue) {
    for (const { specifier, line, kind } of graph.get(file) ?? []) {
      if (kind !== 'static') continue;
      if (isRelative(specifier)) {
        const target = resolveModule(file, specifier);
        if (!reached.has(target)) queue.push(target);
        reached.set(target, file);
      } else if (!isBuiltin(specifier)) {
        report(
          file,
          line,
          `${specifier} would be loaded by import 'strongroom'; import() it where it is used`,
        );
      }
    }
  }
  return all.length;
}

function checkLengths() {
  const generated = [
    'native/base/error_table.h',
    'lib/error-table.ts',
    'native/addon/border.h',
    'native/addon/border.cc',
    'lib/native-border.ts',
  ];
  const measured = [
    ...files('native', /\.(h|cc)$/),
    ...['lib', 'test', 'bench', 'examples', 'scripts'].flatMap((d) => files(d, /\.(ts|mjs|cjs|cc|h)$/)),
  ];
  for (const file of measured) {
    if (generated.includes(relative(root, file))) continue;
    const lines = readFileSync(file, 'utf8').split('\n').length - 1;
    const max = relative(root, file).startsWith('test/') ? testLinesMax : linesMax;
    if (lines >= max) report(file, lines, `${lines} lines; a file has fewer than ${max}`);
  }
  return measured.length;
}

function printTable() {
  console.log('native/      may include');
  for (const [layer, targets] of Object.entries(mayInclude))
    console.log(`  ${layer.padEnd(10)} ${targets.join(', ') || '-'}`);
  for (const { name, only } of reserved)
    console.log(`  ${name}: only ${only.map((d) => `${d}/`).join(', ')}`);
  console.log('  */testing/: only tests, and #ifdef STRONGROOM_TESTING');
  console.log('test/native/ the directories of native/, and support/');
  console.log('lib/         may import what comes before it, without a cycle');
  console.log(`  ${libOrder.join(' ')}`);
  console.log('  cli/       packages, node:');
  console.log('  wizard/    hono, node:; nobody else imports hono');
  console.log('  the rest   node:; packages only by import(), from what index.ts loads');
  console.log("  node:fs    nowhere (native.ts: to list the package's own prebuilds)");
  console.log(`any file     fewer than ${linesMax} lines; a test fewer than ${testLinesMax}`);
}

printTable();
const native = checkNative();
checkTestPlaces();
checkTestConstants();
const typescript = checkTypeScript();
const measured = checkLengths();
for (const problem of problems) console.error(problem);
console.log(
  `${native} native files, ${typescript} TypeScript files, ${measured} lengths: ${problems.length} problems`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
