// docs/acceptance.md says which tests show which part of the workflow. This keeps it true.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './support.js';

const here = join(root, 'test/acceptance');

interface Row {
  readonly part: string;
  readonly acceptance: readonly string[];
  readonly elsewhere: readonly string[];
  readonly native: readonly string[];
}

function readRows(): Row[] {
  const page = readFileSync(join(root, 'docs/acceptance.md'), 'utf8');
  const list = (cell: string): string[] => cell.split(', ').filter((item) => item !== '');
  return page
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| part |'))
    .map((line) => {
      const [part = '', acceptance = '', elsewhere = '', native = ''] = line
        .slice(2, -1)
        .split('|')
        .map((cell) => cell.trim());
      return {
        part,
        acceptance: list(acceptance),
        elsewhere: list(elsewhere),
        native: list(native).map((name) => name.replaceAll('`', '')),
      };
    });
}

/** The names of the tests in a file, up to the first colon or comma-separated remark. */
function titlesIn(file: string): string[] {
  const source = readFileSync(join(here, file), 'utf8');
  return [...source.matchAll(/^\s*it\((['"`])(.*?)\1, /gm)].map((match) => match[2]!);
}

describe('acceptance: docs/acceptance.md', () => {
  const rows = readRows();

  it('names tests that exist', () => {
    assert.ok(rows.length >= 35);
    const native = readdirSync(join(root, 'test/native'), { encoding: 'utf8', recursive: true })
      .filter((name) => name.endsWith('.cc'))
      .map((name) => readFileSync(join(root, 'test/native', name), 'utf8'))
      .join('\n');
    for (const { part, acceptance, elsewhere, native: names } of rows) {
      assert.ok(acceptance.length > 0, part);
      for (const file of acceptance) {
        assert.ok(
          titlesIn(file).some((title) => title.startsWith(part)),
          `${file} has no test of ${part}`,
        );
      }
      for (const file of elsewhere) assert.ok(existsSync(join(root, 'test', file)), `${part}: ${file}`);
      for (const name of names) {
        const [suite, test] = name.split('.') as [string, string];
        const pattern = new RegExp(`^TEST(_F|_P)?\\(${suite}, ${test === '*' ? '\\w+' : test}\\)`, 'm');
        assert.match(native, pattern, `${part}: ${name}`);
      }
    }
  });

  it('leaves out no test', () => {
    for (const file of readdirSync(here).filter(
      (name) => name.endsWith('.test.ts') && name !== 'map.test.ts',
    )) {
      const parts = rows.filter(({ acceptance }) => acceptance.includes(file)).map(({ part }) => part);
      const titles = titlesIn(file);
      assert.ok(titles.length > 0, file);
      for (const title of titles) {
        assert.ok(
          parts.some((part) => title.startsWith(part)),
          `${file}: ${title}`,
        );
      }
    }
  });
});
