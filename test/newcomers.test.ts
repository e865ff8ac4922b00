// AGENTS.md and the templates of .github: what they name exists
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const scripts = (JSON.parse(read('package.json')) as { scripts: Record<string, string> }).scripts;
const matches = (text: string, expression: RegExp): string[] =>
  [...text.matchAll(expression)].map(([, found = '']) => found);

const pages = [
  'AGENTS.md',
  '.github/CODEOWNERS',
  '.github/ISSUE_TEMPLATE/bug.md',
  '.github/ISSUE_TEMPLATE/feature.md',
  '.github/pull_request_template.md',
];

for (const page of pages) {
  describe(page, () => {
    const text = read(page);

    it('names scripts, files and npm scripts that exist', () => {
      const paths = [
        ...matches(text, /(?:^|[\s`(])\.?\/?((?:scripts|native|lib|test|docs)\/[\w./-]*\w\/?)/gm),
        ...matches(text, /\b([A-Z]+\.md)\b/g),
      ];
      for (const path of paths) assert.ok(existsSync(join(root, path)), path);
      for (const name of matches(text, /npm run ([\w:-]+)/g)) assert.ok(name in scripts, name);
    });

    it('is wrapped at 100 columns', () => {
      for (const line of text.split('\n')) assert.ok(line.length <= 100 || line.startsWith('|'), line);
    });
  });
}

describe('AGENTS.md', () => {
  const text = read('AGENTS.md');

  it('is a page of at most 60 lines', () => assert.ok(text.split('\n').length <= 61));

  it('names steps that scripts/test has', () => {
    const known = execFileSync(join(root, 'scripts/test'), ['--list'], { encoding: 'utf8' }).split('\n');
    const named = matches(text, /\.\/scripts\/test ((?:[a-z_]+ ?)+)/g).flatMap((list) =>
      list.trim().split(' '),
    );
    const steps = named.filter((name) => name !== 'without' && name !== 'names');
    assert.ok(steps.length > 3);
    for (const step of steps) assert.ok(known.includes(step), step);
  });

  it('has the limits that scripts/check-house.mjs checks', () => {
    const script = read('scripts/check-house.mjs');
    const limit = (rule: string): string =>
      new RegExp(`^  '?${rule}'?: (\\d+),`, 'm').exec(script)?.[1] ?? 'none';
    const said = `${limit('fields')} fields and ${limit('public-methods')} public methods a class, ${limit('function-lines')} lines`;
    assert.ok(text.includes(said), said);
  });

  it('names what the generator writes', () => {
    for (const name of ['generate-errors', 'generate-border']) {
      const made = [...read(`scripts/${name}.mjs`).matchAll(/^ {2}'((?:native|lib|docs)\/[^']+)': /gm)];
      assert.ok(made.length > 2, name);
      for (const [, file = ''] of made) assert.ok(text.includes(`\`${file}\``), file);
    }
  });
});
