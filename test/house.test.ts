// House rules: each kind of break is found, and the ledger is exact
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { readByClang, type ClangClass, type ClangFunction } from './support/clang-tree.js';

interface CppReading {
  readonly classes: readonly (ClangClass & { readonly name: string })[];
  readonly functions: readonly ClangFunction[];
}
const scripts = new URL('../scripts/', import.meta.url);
const { readCpp } = (await import(new URL('house/cpp.mjs', scripts).href)) as {
  readCpp: (text: string) => CppReading;
};
const { checkCommits, subjectProblems, withoutGit } = (await import(
  new URL('house/commits.mjs', scripts).href
)) as {
  checkCommits: (root: string, since: string) => { skipped?: string; problems?: string[]; count?: number };
  subjectProblems: (subject: string) => string[];
  withoutGit: (env: NodeJS.ProcessEnv) => NodeJS.ProcessEnv;
};

const lines = (count: number, line: string): string => `${line}\n`.repeat(count);
const fields = (count: number): string => Array.from({ length: count }, (_, i) => `  int f${i}_;\n`).join('');
const methods = (count: number): string =>
  Array.from({ length: count }, (_, i) => `  void m${i}();\n`).join('');

describe('check-house', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'house-'));
    write('scripts/house-since', 'v1\n');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function write(file: string, text: string): void {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  function check(...options: string[]): { status: number | null; problems: string[]; output: string } {
    const script = fileURLToPath(new URL('check-house.mjs', scripts));
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...options, root], {
      encoding: 'utf8',
      env: withoutGit(process.env),
    });
    return { status, problems: stderr.split('\n').filter((line) => line !== ''), output: stdout };
  }
  const ledger = (): Record<string, Record<string, number>> =>
    JSON.parse(readFileSync(join(root, 'scripts/house-debts.json'), 'utf8')) as Record<
      string,
      Record<string, number>
    >;

  it('finds every break of a limit in C++', () => {
    write('native/a.h', `class Many {\n public:\n  void m();\n private:\n${fields(16)}};\n`);
    write('native/b.h', `struct Wide {\n${methods(21)}};\n`);
    write('native/c.cc', `int before;\nvoid long_one() {\n${lines(69, '  f();')}}\n`);
    write('native/d.h', 'struct D {\n  void set(int a, bool on, bool);\n};\nvoid free(bool = true);\n');
    write(
      'native/e.cc',
      'void e() {\n  if (x.storage == store::StorageType::kTpm) f();\n  if (SlotType::kPkcs11 != y) f();\n' +
        '  switch (y) {\n    case SlotType::kPassword:\n      break;\n  }\n' +
        '  f((core.witnesses & kWitnessTpm) != 0 ? 1 : 2);\n  if (state.has_token()) f();\n}\n',
    );
    write(
      'native/f.cc',
      'std::mutex m;\nmutable std::condition_variable c;\nvoid f() { std::lock_guard lock(m); }\n',
    );
    const { status, problems } = check();
    assert.equal(status, 1);
    assert.deepEqual(problems, [
      'native/a.h:1: Many: 16 fields; at most 15 (fields)',
      'native/b.h:1: Wide: 21 public methods; at most 20 (public-methods)',
      'native/c.cc:2: long_one: 71 lines; at most 70 (function-lines)',
      'native/d.h:2: D::set: 2 positional bool; at most 0 (positional-bool)',
      'native/d.h:4: free: 1 positional bool; at most 0 (positional-bool)',
      'native/e.cc:2: 5 conditionals on a kind; at most 0 (kinds)',
      'native/f.cc:1: 2 mutexes that clang does not check; at most 0 (mutexes)',
    ]);
  });

  it('finds every break of a limit in TypeScript', () => {
    const members = (count: number, member: string): string =>
      Array.from({ length: count }, (_, i) => `  ${member.replace('N', String(i))}\n`).join('');
    write(
      'lib/a.ts',
      `class Many {\n  m() {}\n${members(14, '#fN = 1;')}  constructor(private a: 1, readonly b: 2) {}\n}\n`,
    );
    write('lib/b.ts', `export interface Wide {\n${members(21, 'mN(): void;')}}\n`);
    write('lib/c.ts', `const long = () => {\n${lines(69, '  f();')}};\n`);
    write(
      'lib/d.ts',
      'export function d(a: string, on: boolean, off = false) {}\nconst later = (on?: boolean | undefined) => on;\n' +
        'export { later };\nexport class E {\n  constructor(on: boolean) {}\n  set(on: boolean): void {}\n}\n',
    );
    write(
      'lib/e.ts',
      "if (type === 'tpm' || 'pkcs11' !== x) f();\nswitch (slot.type) {\n  case 'password':\n  case 'software':\n}\n" +
        "const y = header?.storage === 'external' ? 1 : 2;\n",
    );
    write(
      'test/f.test.ts',
      `describe('f', () => {\n${lines(80, '  f();')}  it('long', () => {\n${lines(70, 'f();')}});\n});\n`,
    );
    assert.deepEqual(check().problems, [
      'lib/a.ts:1: Many: 16 fields; at most 15 (fields)',
      'lib/b.ts:1: Wide: 21 public methods; at most 20 (public-methods)',
      'lib/c.ts:1: long: 71 lines; at most 70 (function-lines)',
      "test/f.test.ts:82: describe('f').it('long'): 72 lines; at most 70 (function-lines)",
      'lib/d.ts:1: d: 2 positional bool; at most 0 (positional-bool)',
      'lib/d.ts:2: later: 1 positional bool; at most 0 (positional-bool)',
      'lib/d.ts:5: E.constructor: 1 positional bool; at most 0 (positional-bool)',
      'lib/d.ts:6: E.set: 1 positional bool; at most 0 (positional-bool)',
      'lib/e.ts:1: 5 conditionals on a kind; at most 0 (kinds)',
    ]);
  });

  it('lets pass what is at a limit or exempt', () => {
    write(
      'native/a.h',
      `class Full {\n public:\n${methods(20)} private:\n  void hidden();\n${fields(15)}};\n`,
    );
    write(
      'native/b.h',
      `struct Record {\n${fields(40)}  Record();\n  bool operator==(const Record&) const = default;\n};\n`,
    );
    write('native/c.cc', `void long_one() {\n${lines(68, '  f();')}}\nvoid in_a_source(bool on) {}\n`);
    write(
      'native/d.h',
      'void each(const std::function<bool(bool)>& predicate, bool* out, bool (*test)(bool));\n',
    );
    write(
      'native/e.cc',
      'auto kind = SlotType::kTpm;\nbool b = authority.type == AuthorityType::kPassword;\n',
    );
    write('native/base/thread_annotations.h', 'std::mutex m;\n');
    write('native/f.cc', 'Mutex m;\nvoid f() { const MutexLock lock(m); }\n');
    write('native/protectors/registry.cc', 'bool b = type == ProtectorType::kTpm;\n');
    write('lib/protectors/registry.ts', "export const f = (x: string) => x === 'tpm';\n");
    write(
      'lib/a.ts',
      'function inner(on: boolean) {}\nexport const f = ({ on }: { on: boolean }, test: (on: boolean) => boolean) => 1;\n' +
        "export const isPage = (page: string) => page === 'password' || page === 'token';\n" +
        'export class Box {\n  #set(on: boolean): void {}\n  private also(on: boolean): void {}\n}\n',
    );
    const { status, problems } = check();
    assert.deepEqual([status, problems], [0, []]);
  });

  it('fails where a debt grows, is new, or is smaller than its entry', () => {
    write('native/a.h', 'void a(bool, bool);\nvoid b(bool);\nvoid c(bool, bool);\n');
    const debts = { 'native/a.h a': 1, 'native/a.h c': 3, 'native/a.h gone': 1 };
    write('scripts/house-debts.json', JSON.stringify({ 'positional-bool': debts, unheard: {} }));
    assert.deepEqual(check().problems, [
      `${join(root, 'scripts/house-debts.json')}: no rule 'unheard'`,
      'native/a.h:1: a: 2 positional bool; the ledger has 1 (positional-bool)',
      'native/a.h:2: b: 1 positional bool; at most 0 (positional-bool)',
      'native/a.h:3: c: 2 positional bool; the ledger has 3, record the new number (positional-bool)',
      'native/a.h gone: the ledger has 1 positional bool, which are gone; record it (positional-bool)',
    ]);
  });

  it('--record takes what shrank, moved or got another name, and refuses growth', () => {
    write('native/a.h', 'void old(bool, bool, bool);\n');
    check('--record');
    assert.deepEqual(ledger()['positional-bool'], { 'native/a.h old': 3 });

    rmSync(join(root, 'native/a.h'));
    write('native/b.h', 'void renamed(bool, bool);\n');
    assert.equal(check('--record').status, 0);
    assert.deepEqual(ledger()['positional-bool'], { 'native/b.h renamed': 2 });
    assert.equal(check().status, 0);

    write('native/b.h', 'void renamed(bool, bool, bool);\n');
    const { status, problems } = check('--record');
    assert.equal(status, 1);
    assert.match(problems.join('\n'), /^positional-bool: 2 above the limit in the ledger, 3 in the code/);
    assert.deepEqual(ledger()['positional-bool'], { 'native/b.h renamed': 2 });
  });

  describe('on commits', () => {
    const gitIn = (directory: string, ...args: string[]): string =>
      execFileSync('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], {
        encoding: 'utf8',
        env: {
          ...withoutGit(process.env),
          GIT_CONFIG_GLOBAL: '/dev/null',
          GIT_CONFIG_SYSTEM: '/dev/null',
        },
      });
    const git = (...args: string[]): string => gitIn(root, ...args);
    const commit = (subject: string): string => git('commit', '-q', '--allow-empty', '-m', subject);
    const begin = (): void => {
      git('init', '-q', '-b', 'main');
      commit('Before the rule.');
      git('tag', 'v1');
    };

    it('finds subjects and merges since the tag, and none before', () => {
      begin();
      commit('store: open a vault');
      assert.deepEqual(check().problems, []);
      commit('Open a vault');
      git('checkout', '-q', '-b', 'side');
      commit('log: write');
      git('checkout', '-q', 'main');
      commit('log: read');
      git('merge', '-q', '--no-ff', '-m', 'log: merge', 'side');
      const problems = check().problems.map((line) => line.replace(/^[0-9a-f]+ /, ''));
      assert.deepEqual(problems, [
        'is a merge commit: log: merge',
        "is not 'area: imperative': Open a vault",
      ]);
    });

    it('neither reads nor touches the repository that the environment of a hook names', () => {
      const hooked = mkdtempSync(join(tmpdir(), 'hooked-'));
      const before = { ...process.env };
      const hook = {
        GIT_DIR: join(hooked, '.git'),
        GIT_INDEX_FILE: join(hooked, '.git/index'),
        GIT_WORK_TREE: hooked,
      };
      try {
        gitIn(hooked, 'init', '-q', '-b', 'main');
        gitIn(hooked, 'commit', '-q', '--allow-empty', '-m', 'log: write');
        const untouched = gitIn(hooked, 'for-each-ref');
        Object.assign(process.env, hook);
        begin();
        commit('Open a vault');
        assert.match(
          checkCommits(root, 'v1').problems?.join() ?? '',
          /not 'area: imperative': Open a vault$/,
        );
        assert.match(check().problems.join(), /not 'area: imperative': Open a vault$/);
        assert.equal(gitIn(hooked, 'for-each-ref'), untouched);
        assert.deepEqual(readdirSync(hooked), ['.git']);
      } finally {
        for (const name of Object.keys(hook)) delete process.env[name];
        Object.assign(process.env, before);
        rmSync(hooked, { recursive: true });
      }
    });

    it('says that it has no history, and passes', () => {
      const { status, problems, output } = check();
      assert.deepEqual([status, problems], [0, []]);
      assert.match(output, /commits: not checked, for this is not a git working tree/);
    });

    it('does not take the repository around an unpacked tarball for its own', () => {
      begin();
      commit('Not ours.');
      root = join(root, 'unpacked');
      write('scripts/house-since', 'v1\n');
      const { status, output } = check();
      root = dirname(root);
      assert.equal(status, 0);
      assert.match(output, /not a git working tree/);
    });

    it('reads subjects where git is configured to show signatures', () => {
      begin();
      commit('log: write');
      const plain = git('cat-file', 'commit', 'HEAD');
      const signature = ['-----BEGIN PGP SIGNATURE-----', '', 'none', '-----END PGP SIGNATURE-----'];
      const signed = plain.replace('\n\n', `\ngpgsig ${signature.join('\n ')}\n\n`);
      write('signed', signed);
      git('reset', '-q', '--soft', git('hash-object', '-t', 'commit', '-w', join(root, 'signed')).trim());
      git('config', 'log.showSignature', 'true');
      const { status, problems, output } = check();
      assert.deepEqual([status, problems], [0, []]);
      assert.match(output, /^1 commits$/m);
    });

    it('says that HEAD does not descend from the commit, and passes', () => {
      begin();
      git('checkout', '-q', '--orphan', 'other');
      commit('Not by the rule.');
      const { status, problems, output } = check();
      assert.deepEqual([status, problems], [0, []]);
      assert.match(output, /commits: not checked, for HEAD does not descend from v1/);
    });

    it('says that a shallow history lacks the commit, and passes', () => {
      begin();
      write('scripts/house-since', `${'0'.repeat(40)}\n`);
      const { status, output } = check();
      assert.equal(status, 0);
      assert.match(output, /commits: not checked, for the history has no commit 0{40}/);
    });
  });
});

describe('subjects of commits', () => {
  for (const subject of [
    'cli: add a flag',
    'docs, cli: name it',
    'test/native: focus on one',
    'log: succeed where nothing is left',
    'vault: shred the old key',
    'crypto: reseed after a fork',
    'crypto: re-seed after a fork',
    'docs: cross-reference the errors',
    `Revert "a: ${'x'.repeat(69)}"`,
    'Reapply "cli: add a flag."',
    `a: ${'x'.repeat(69)}`,
  ])
    it(`'${subject}' is one`, () => assert.deepEqual(subjectProblems(subject), []));

  const refused = {
    'Add a flag': /not 'area: imperative'/,
    'cli:add': /not 'area: imperative'/,
    'fixup! cli: add a flag': /not 'area: imperative'/,
    'WIP: all of it': /not 'area: imperative'/,
    'cli: add a flag.': /full stop/,
    'cli: added a flag': /'added', not an imperative/,
    'cli: adds a flag': /'adds', not an imperative/,
    'cli: adding a flag': /'adding', not an imperative/,
    'cli: re-added a flag': /'re-added', not an imperative/,
    'cli: feed-adds a flag': /'feed-adds', not an imperative/,
    'Revert the flag': /not 'area: imperative'/,
    [`a: ${'x'.repeat(70)}`]: /73 columns; at most 72/,
  };
  for (const [subject, why] of Object.entries(refused))
    it(`'${subject}' is none`, () => assert.match(subjectProblems(subject).join('; '), why));
});

describe('the reader of C++', () => {
  it('agrees with clang about hostile declarations', () => {
    const file = fileURLToPath(new URL('support/hostile-declarations.hpp', import.meta.url));
    const clang = readByClang(file);
    const { classes, functions } = readCpp(readFileSync(file, 'utf8'));
    const own = classes.filter(({ name }) => !name.includes('<'));
    const counts = own.map(({ name, fields, publicMethods, methods }) => [
      name,
      { fields, publicMethods, methods },
    ]);
    assert.deepEqual(Object.fromEntries(counts), Object.fromEntries(clang.classes));
    const comparable = (read: readonly ClangFunction[]): string[] =>
      read.map(
        ({ name, line, lines, bools }) => `${line} ${name.split('::').at(-1)} ${lines} ${bools.join()}`,
      );
    assert.deepEqual(comparable(functions), comparable(clang.functions));
  });

  it('reads one of two heads that #if chooses between', () => {
    const unbalanced =
      'void f() {\n#if A\n  if (a) {\n#else\n  if (b) {\n#endif\n  }\n}\nint g() { return 1; }\n';
    assert.deepEqual(
      readCpp(unbalanced).functions.map(({ name }) => name),
      ['f', 'g'],
    );
  });
});
