// The tarball installed into an empty project elsewhere, by a user who has neither a compiler nor install scripts.
import assert from 'node:assert/strict';
import { cp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  installedProject,
  outcome,
  output,
  root,
  runModule,
  temporaryDirectory,
  userEnvironment,
} from './support.js';

const roundTrip = (directory: string, key: string): string => `
  import { open } from 'strongroom';
  const options = {
    directory: ${JSON.stringify(join(directory, 'data'))},
    instance: 'package-test',
    protector: { type: 'software' },
    secretStore: { type: 'file', directory: ${JSON.stringify(join(directory, 'secrets'))} },
    recovery: 'none',
  };
  const cold = await open(options);
  await cold.vault.set(${JSON.stringify(key)}, Buffer.from('value'));
  await cold.close();
  const warm = await open(options);
  const value = warm.vault.get(${JSON.stringify(key)});
  await warm.close();
  console.log(cold.startup, warm.startup, String(value));
`;

describe('the installed package', () => {
  it('starts cold and warm without a compiler', async () => {
    const project = await installedProject();
    const { status, stdout, stderr } = await runModule(
      project,
      roundTrip(await temporaryDirectory(), 'seats/cad'),
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), 'COLDSTART WARMSTART value');
  });

  it('loads no dependency of the command line or the manifests with import', async () => {
    const project = await installedProject();
    const hooks =
      'export async function load(url, context, next) { console.log(`loaded ${url}`); return next(url, context); }';
    const { status, stdout, stderr } = await runModule(
      project,
      `import { createRequire, register } from 'node:module';
       register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}));
       await import('strongroom');
       for (const path of Object.keys(createRequire(import.meta.url).cache)) console.log('loaded file://' + path);
       for (const name of process.moduleLoadList) console.log(name);`,
    );
    assert.equal(status, 0, stderr);
    // It takes longer to load than the package.
    assert.doesNotMatch(stdout, /^NativeModule crypto$/m);
    const packages = [...stdout.matchAll(/^loaded file:.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//gm)].map(
      (match) => match[1],
    );
    assert.ok(packages.includes('strongroom'), stdout);
    assert.deepEqual(
      [...new Set(packages)].filter((name) => name !== 'strongroom' && name !== 'node-gyp-build'),
      [],
    );
  });

  it('gives the restore page by a subpath of its own, which loads the web server', async () => {
    const project = await installedProject();
    const { status, stdout, stderr } = await runModule(
      project,
      `import { createWizard } from 'strongroom/wizard';
       const options = { directory: ${JSON.stringify(await temporaryDirectory())}, protector: { type: 'software' } };
       await createWizard(options).catch((error) => console.log(error.reason));`,
    );
    assert.equal(status, 0, stderr);
    assert.equal(stdout.trim(), 'no-store');
  });

  it('has a command line that tells its version', async () => {
    const project = await installedProject();
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    const env = await userEnvironment();
    const stdout = await output(join(project, 'node_modules/.bin/strongroom'), ['--version'], {
      cwd: project,
      env,
    });
    assert.match(stdout, new RegExp(`^(strongroom )?${version.replaceAll('.', '\\.')}\\b`));
  });

  it('has no dependency that runs an install script', async () => {
    const project = await installedProject();
    const lock = JSON.parse(await readFile(join(project, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    const withScripts = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript === true);
    assert.deepEqual(
      withScripts.map(([path]) => path),
      [],
    );
  });
});

describe('the page of help', () => {
  let project: string;

  before(async () => {
    project = await temporaryDirectory();
    await cp(await installedProject(), project, { recursive: true });
  });

  async function messageOf(env: NodeJS.ProcessEnv = {}): Promise<string> {
    const { status, stderr } = await runModule(project, roundTrip(await temporaryDirectory(), 'key'), {
      ...(await userEnvironment()),
      ...env,
    });
    assert.equal(status, 1);
    return stderr;
  }

  it('tells what there is and how to build, when no prebuilt addon fits the architecture', async () => {
    const text = await messageOf({ npm_config_arch: 's390x' });
    assert.match(text, /ERR_STRONGROOM_NATIVE/);
    assert.match(text, new RegExp(`this machine +linux-${process.arch}, glibc 2\\.`));
    assert.match(text, new RegExp(`node +${process.version}`));
    assert.match(text, new RegExp(`prebuilds +linux-${process.arch}/strongroom\\.glibc\\.node`));
    assert.match(
      text,
      /apt-get install build-essential python3 libssl-dev libargon2-dev libtss2-dev libp11-kit-dev/,
    );
    assert.match(text, /npx node-gyp rebuild --directory/);
  });

  it('tells that a C library other than glibc has no prebuilt addon', async () => {
    assert.match(await messageOf({ LIBC: 'musl' }), /No native build was found .*libc=musl/);
  });

  it('names the reason when the addon is there and cannot be loaded', async () => {
    const addon = join(
      project,
      `node_modules/strongroom/prebuilds/linux-${process.arch}/strongroom.glibc.node`,
    );
    await rename(addon, `${addon}.away`);
    await cp(join(project, 'node_modules/strongroom/package.json'), addon);
    assert.match(await messageOf(), /reason .*strongroom\.glibc\.node: (invalid ELF header|file too short)/);
    await rm(addon);
    assert.match(await messageOf(), /prebuilds +none/);
    await rename(`${addon}.away`, addon);
  });

  it('says on another platform that there is only Linux', async () => {
    const { status, stderr } = await outcome(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `Object.defineProperty(process, 'platform', { value: 'darwin' });
         const { inspect } = await import('strongroom');
         await inspect('/nowhere');`,
      ],
      { cwd: project, env: await userEnvironment() },
    );
    assert.equal(status, 1);
    assert.match(stderr, /strongroom runs on Linux only; this is darwin/);
  });
});
