// Lock rules: clang refuses what breaks an annotation
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../native', import.meta.url));
const wrong = {
  'reading a guarded member without its mutex': [
    'int f() { return a_; }',
    /reading variable 'a_' requires holding mutex 'm_'/,
  ],
  'calling what requires a mutex without it': [
    'void f() { locked(); }',
    /calling function 'locked' requires holding mutex 'm_'/,
  ],
  'waiting without the mutex': [
    'void f() { c_.wait(m_); }',
    /calling function 'wait' requires holding mutex 'm_'/,
  ],
  'using a guarded member between unlock() and lock()': [
    'void f() { MutexLock l(m_); l.unlock(); a_ = 1; l.lock(); }',
    /writing variable 'a_' requires holding mutex 'm_'/,
  ],
  'locking twice': [
    'void f() { MutexLock l(m_); excluded(); }',
    /cannot call function 'excluded' while mutex 'm_' is held/,
  ],
  'locking in the wrong order': [
    'void f() { MutexLock l(n_); MutexLock k(m_); }',
    /mutex 'm_' must be acquired before 'n_'/,
  ],
} as const;
const right =
  'void f() { MutexLock l(m_); while (a_ == 0) c_.wait(m_); locked(); l.unlock(); excluded(); l.lock(); MutexLock k(n_); }';

// Those that the build has for clang.
const flags = ['-std=c++20', '-fsyntax-only', '-Werror', '-Wthread-safety', '-Wthread-safety-beta'];

describe('lock annotations', () => {
  function compile(method: string): { status: number | null; stderr: string } {
    const source = `#include "base/thread_annotations.h"
      using namespace strongroom;
      class Guarded {
        ${method}
        void locked() SR_REQUIRES(m_) { a_ = 2; }
        void excluded() SR_EXCLUDES(m_) {}
        Mutex m_ SR_ACQUIRED_BEFORE(n_);
        Mutex n_;
        CondVar c_;
        int a_ SR_GUARDED_BY(m_) = 0;
      };`;
    return spawnSync('clang++', [...flags, '-I', native, '-x', 'c++', '-'], {
      input: source,
      encoding: 'utf8',
    });
  }

  it('hold in the addon, which is built by g++ alone', () => {
    const path = fileURLToPath(new URL('../native/addon/completions.h', import.meta.url));
    const text = readFileSync(path, 'utf8').replace('#pragma once', '');
    const headers = spawnSync('node', ['scripts/native-paths.cjs', 'node-api-headers'], {
      cwd: `${native}/..`,
    });
    const check = (source: string): string =>
      spawnSync(
        'clang++',
        [...flags, '-I', native, '-isystem', headers.stdout.toString().trim(), '-x', 'c++', '-'],
        { input: source, encoding: 'utf8' },
      ).stderr;
    assert.equal(check(text), '');
    const lock = /const MutexLock lock\(mutex_\);/g;
    const count = text.match(lock)?.length ?? 0;
    assert.ok(count > 5);
    // Each function that takes the lock is refused without it.
    const refused = check(text.replaceAll(lock, '')).matchAll(
      /:(\d+):\d+: error: .*requires holding mutex 'mutex_'/g,
    );
    const lines = text.split('\n');
    const starts = lines.flatMap((line, i) =>
      line.includes('const MutexLock lock(mutex_);') ? [i + 1] : [],
    );
    const owners = [...refused].map(([, line]) => starts.filter((start) => start <= Number(line)).at(-1));
    assert.deepEqual(new Set(owners), new Set(starts));
  });

  it('let pass what keeps the rules', () => assert.deepEqual(compile(right).stderr, ''));

  for (const [what, [method, message]] of Object.entries(wrong)) {
    it(`refuse ${what}`, () => {
      const { status, stderr } = compile(method);
      assert.notEqual(status, 0);
      assert.match(stderr, message);
    });
  }
});
