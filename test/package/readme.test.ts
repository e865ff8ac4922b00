// The quick start of the README, run as it stands in a project with the installed package: the commands and modules under
// the heading "Quick start", in their order, in one directory. Absolute paths lead into a temporary directory.
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { installedProject, outcome, root, temporaryDirectory } from './support.js';

interface Block {
  language: string;
  text: string;
}

function quickStart(readme: string): Block[] {
  const section = /^## Quick start$(.*?)(?=^## |(?![^]))/ms.exec(readme)?.[1] ?? '';
  return [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1] ?? '',
    text: match[2] ?? '',
  }));
}

describe('the quick start of the README', () => {
  it('runs as it stands', async () => {
    const blocks = quickStart(await readFile(join(root, 'README.md'), 'utf8'));
    const project = await installedProject();
    const sandbox = await temporaryDirectory();
    const inSandbox = (text: string): string =>
      text.replaceAll(/(?<=['"\s:=])\/(var|etc|srv|tmp)\//g, `${sandbox}/$1/`);
    for (const path of ['var/lib', 'etc', 'srv', 'tmp'])
      await mkdir(join(sandbox, path), { recursive: true });

    const env = {
      ...process.env,
      PREBUILDS_ONLY: '1',
      PATH: `${join(project, 'node_modules/.bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    };
    let ran = 0;
    for (const [index, { language, text }] of blocks.entries()) {
      if (language === 'sh' || language === 'bash') {
        // The package is installed already, from the tarball.
        const script = inSandbox(text)
          .split('\n')
          .filter((line) => !/^npm (install|i|add) strongroom$/.test(line))
          .join('\n');
        const { status, stdout, stderr } = await outcome('bash', ['-euc', script], { cwd: project, env });
        assert.equal(status, 0, `${script}\n${stdout}\n${stderr}`);
      } else if (['ts', 'js', 'mjs'].includes(language)) {
        const file = join(project, `quick-start-${index}.mts`);
        await writeFile(file, inSandbox(text));
        const loader = join(root, 'node_modules/tsx/dist/esm/index.mjs');
        const { status, stdout, stderr } = await outcome(process.execPath, ['--import', loader, file], {
          cwd: project,
          env,
        });
        assert.equal(status, 0, `${text}\n${stdout}\n${stderr}`);
      } else continue;
      ran++;
    }
    assert.ok(ran > 0, 'README.md has no block of sh or ts under "## Quick start"');
  });
});
