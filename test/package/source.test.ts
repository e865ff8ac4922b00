// The installed package built from its own sources by node-gyp, with the commands of the page of help.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  binDirectory,
  installedProject,
  outcome,
  output,
  root,
  runModule,
  temporaryDirectory,
} from './support.js';

describe('a build from source', () => {
  it('makes an addon with the same needs and exports, which is then preferred', async function () {
    this.timeout(900_000);
    const project = await temporaryDirectory();
    await cp(await installedProject(), project, { recursive: true });
    const directory = join(project, 'node_modules/strongroom');
    await rm(join(directory, 'prebuilds'), { recursive: true });
    for (const name of ['node-addon-api', 'node-api-headers']) {
      await symlink(join(root, 'node_modules', name), join(project, 'node_modules', name));
    }

    // node-gyp fetches Node's headers, which the addon does not use, unless it is told where they are.
    const prefix = resolve(process.execPath, '../..');
    const headers = existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
    const jobs = process.env['STRONGROOM_JOBS'] ?? '2';
    const built = await outcome(
      join(binDirectory, 'node-gyp'),
      ['rebuild', '--jobs', jobs, '--directory', directory, ...headers],
      {
        cwd: project,
      },
    );
    assert.equal(built.status, 0, `${built.stdout.slice(-4000)}\n${built.stderr.slice(-8000)}`);

    const addon = join(directory, 'build/Release/strongroom.node');
    const dynamic = await output('readelf', ['--wide', '--dynamic', addon]);
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1] ?? '');
    assert.deepEqual(
      needed.filter((name) => !/^(libc|libm|libpthread|libdl|ld-linux-[\w-]+)\.so\.\d+$/.test(name)),
      [],
    );
    assert.match(dynamic, /NODELETE/);
    const symbols = await output('nm', ['--dynamic', '--defined-only', '--format=posix', addon]);
    const exported = symbols
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0])
      .sort();
    assert.deepEqual(exported, ['napi_register_module_v1', 'node_api_module_get_api_version_v1']);

    const scratch = await temporaryDirectory();
    const { status, stdout, stderr } = await runModule(
      project,
      `import { open } from 'strongroom';
       const persistence = await open({
         directory: ${JSON.stringify(join(scratch, 'data'))},
         instance: 'source-test',
         protector: { type: 'software' },
         secretStore: { type: 'file', directory: ${JSON.stringify(join(scratch, 'secrets'))} },
         recovery: 'none',
       });
       await persistence.close();
       console.log(persistence.startup);`,
      { PATH: process.env['PATH'] },
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), 'COLDSTART');
  });
});
