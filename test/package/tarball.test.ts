// What `npm pack` puts into the tarball, and what a package manager reads in it.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { binDirectory, manifest, outcome, root, tarball } from './support.js';

const allowed = [
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|ARCHITECTURE\.md|SECURITY\.md)$/,
  /^(binding\.gyp|scripts\/native-paths\.cjs)$/,
  /^dist\/[\w/-]+\.(js|d\.ts)(\.map)?$/,
  /^lib\/[\w/-]+\.ts$/,
  /^deploy\/(apache|container|hooks|kubernetes|sudoers\.d|systemd)\/[\w@.-]+$/,
  /^native\/(sources\.gypi|border\.mjs)$/,
  /^native\/addon\/exports\.map$/,
  /^native\/[\w/-]+\.(cc|h)$/,
  /^native\/base\/errors\.json$/,
  /^prebuilds\/linux-(x64|arm64)\/strongroom\.glibc\.node$/,
  /^docs\/[\w/-]+\.(md|svg)$/,
];

describe('the tarball', () => {
  it('holds these kinds of files and no others', async () => {
    const { files, size, unpackedSize } = await tarball();
    const others = files.filter((file) => !allowed.some((pattern) => pattern.test(file)));
    assert.deepEqual(others, []);
    assert.deepEqual(
      files.filter((file) => file.includes('/testing/') || file.includes('_test.')),
      [],
    );
    console.log(
      `      ${files.length} files, ${(size / 1e6).toFixed(2)} MB packed, ${(unpackedSize / 1e6).toFixed(2)} MB unpacked`,
    );
  });

  it('holds what is needed to run, to read and to build from source', async () => {
    const { files } = await tarball();
    const sources = JSON.parse(await readFile(join(root, 'native/sources.gypi'), 'utf8')) as {
      variables: { core_sources: string[]; addon_sources: string[] };
    };
    const needed = [
      'package.json',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/cli/main.js',
      'binding.gyp',
      'scripts/native-paths.cjs',
      'deploy/container/entrypoint.sh',
      'deploy/hooks/wizard_auto_restore_success.sh',
      'native/sources.gypi',
      'native/addon/exports.map',
      `prebuilds/linux-${process.arch}/strongroom.glibc.node`,
      ...sources.variables.core_sources.map((path) => `native/${path}`),
      ...sources.variables.addon_sources.map((path) => `native/${path}`),
    ];
    assert.deepEqual(
      needed.filter((file) => !files.includes(file)),
      [],
    );
  });

  it('has one file of JavaScript for each face, those that they share, and maps to published sources', async () => {
    const { files } = await tarball();
    const scripts = files.filter((file) => /^dist\/.*\.js$/.test(file));
    assert.deepEqual(
      scripts.filter((file) => !/^dist\/shared-\w+\.js$/.test(file)),
      ['dist/cli/main.js', 'dist/index.js', 'dist/wizard/index.js'],
    );
    assert.ok(scripts.length <= 8, scripts.join(' '));
    for (const script of scripts) {
      const map = JSON.parse(await readFile(join(root, `${script}.map`), 'utf8')) as { sources: string[] };
      const sources = map.sources.map((source) => join(script, '..', source));
      assert.deepEqual(
        sources.filter((source) => !files.includes(source)),
        [],
      );
    }
  });

  it('runs nothing when it is installed', async () => {
    const { scripts, gypfile } = (await manifest()) as { scripts: Record<string, string>; gypfile: unknown };
    assert.equal(gypfile, false, 'or npm would run node-gyp rebuild, because there is a binding.gyp');
    const atInstall = [
      'preinstall',
      'install',
      'postinstall',
      'prepublish',
      'preprepare',
      'prepare',
      'postprepare',
    ];
    assert.deepEqual(
      atInstall.filter((name) => name in scripts),
      [],
    );
  });

  it('names its types first in every entry of the exports map, and exports its manifest', async () => {
    const { exports } = (await manifest()) as { exports: Record<string, string | Record<string, string>> };
    assert.equal(exports['./package.json'], './package.json');
    for (const [name, entry] of Object.entries(exports)) {
      if (typeof entry !== 'string') assert.equal(Object.keys(entry)[0], 'types', name);
    }
  });

  it('names no registry of the machine that wrote the lock file', async () => {
    const lock = await readFile(join(root, 'package-lock.json'), 'utf8');
    const elsewhere = [...lock.matchAll(/"resolved": "([^"]*)"/g)]
      .map((match) => match[1] ?? '')
      .filter((url) => !url.startsWith('https://registry.npmjs.org/'));
    assert.deepEqual(elsewhere, []);
  });

  it('passes publint', async () => {
    const { path } = await tarball();
    const { status, stdout, stderr } = await outcome(join(binDirectory, 'publint'), [
      'run',
      '--strict',
      path,
    ]);
    assert.equal(status, 0, stdout + stderr);
  });

  it('passes arethetypeswrong for ES modules', async () => {
    const { path } = await tarball();
    const { status, stdout, stderr } = await outcome(join(binDirectory, 'attw'), [
      path,
      '--profile',
      'esm-only',
      '--no-color',
    ]);
    assert.equal(status, 0, stdout + stderr);
  });
});
