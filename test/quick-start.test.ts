// The quick start of the README as it stands: the block after `<!-- quick-start -->`, in a process of its own, against the
// built package of this checkout; and other pages in the same way. Each must print what its comments say. That the package also works where it is installed is
// for test/package.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));

const pages = [
  { page: 'README.md', mark: 'quick-start', title: 'README: the quick start runs and prints what it says' },
  { page: 'docs/keys.md', mark: 'keys', title: 'docs/keys.md: the example runs and prints what it says' },
];

describe('documentation', () => {
  for (const { page, mark, title } of pages) {
    it(title, async function () {
      this.timeout(60_000);
      const text = readFileSync(join(root, page), 'utf8');
      const [, code] = new RegExp(`<!-- ${mark} -->\\s*\`\`\`js\\n(.*?)^\`\`\`$`, 'ms').exec(text) ?? [];
      assert.ok(code !== undefined, `${page} has a block of js after <!-- ${mark} -->`);
      const expected = [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, says]) => says);
      assert.ok(expected.length > 0, 'it prints something and says what');

      const directory = mkdtempSync(join(tmpdir(), 'strongroom-quick-start-'));
      try {
        mkdirSync(join(directory, 'node_modules'));
        symlinkSync(root, join(directory, 'node_modules/strongroom'));
        writeFileSync(join(directory, 'quick-start.mjs'), code);
        const { stdout, stderr } = await promisify(execFile)(process.execPath, ['quick-start.mjs'], {
          cwd: directory,
          env: { ...process.env, TMPDIR: directory, NODE_OPTIONS: '' },
        });
        assert.deepEqual(stdout.trimEnd().split('\n'), expected);
        assert.equal(stderr, '');
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});
