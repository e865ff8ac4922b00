// What the package tests share: the tarball that `npm pack` makes of this checkout, and an empty project elsewhere that it
// is installed into. Both are made once. dist/ and prebuilds/ must be there: npm run build, npm run prebuilds.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const binDirectory = join(root, 'node_modules/.bin');

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  timeout?: number;
}

/** Runs a program and returns how it ended; only a program that cannot be started is an error. */
export async function outcome(file: string, args: string[], options: RunOptions = {}): Promise<Outcome> {
  try {
    const { stdout, stderr } = await run(file, args, { cwd: root, maxBuffer: 64 << 20, ...options });
    return { status: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout: string; stderr: string };
    if (typeof code !== 'number') throw error;
    return { status: code, stdout, stderr };
  }
}

/** Runs a program that must succeed; its standard output. */
export async function output(file: string, args: string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await outcome(file, args, options);
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: exit status ${status}\n${stdout}\n${stderr}`);
  return stdout;
}

const temporary: string[] = [];

/** A new empty directory, removed when the tests end. */
export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'strongroom-package-'));
  temporary.push(path);
  return path;
}

after(async () => {
  for (const path of temporary) await rm(path, { recursive: true, force: true });
});

export interface Tarball {
  path: string;
  size: number;
  unpackedSize: number;
  files: string[];
}

let packed: Promise<Tarball> | undefined;

/** The tarball of this checkout. */
export function tarball(): Promise<Tarball> {
  packed ??= pack();
  return packed;
}

async function pack(): Promise<Tarball> {
  const destination = await temporaryDirectory();
  const text = await output('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', destination]);
  // npm 12 prints an object by package name where earlier ones print an array.
  const [made] = Object.values(
    JSON.parse(text) as Record<
      string,
      { filename: string; size: number; unpackedSize: number; files: { path: string }[] }
    >,
  );
  if (made === undefined) throw new Error(`npm pack printed: ${text}`);
  const files = made.files.map((file) => file.path).sort();
  return { path: join(destination, made.filename), size: made.size, unpackedSize: made.unpackedSize, files };
}

/** The addon inside the tarball for this machine. */
export const prebuild = join(root, `prebuilds/linux-${process.arch}/strongroom.glibc.node`);

let project: Promise<string> | undefined;

/** An empty project with the tarball installed, as a user on a machine that blocks install scripts gets it. */
export function installedProject(): Promise<string> {
  project ??= install();
  return project;
}

async function install(): Promise<string> {
  const { path } = await tarball();
  const directory = await temporaryDirectory();
  await writeFile(
    join(directory, 'package.json'),
    '{ "name": "empty", "private": true, "type": "module" }\n',
  );
  await output(
    'npm',
    ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', path],
    { cwd: directory },
  );
  return directory;
}

/** The environment of a user without a compiler: nothing on the path but node, and prebuilds only. */
export async function userEnvironment(): Promise<NodeJS.ProcessEnv> {
  const home = await temporaryDirectory();
  return { HOME: home, PATH: dirname(process.execPath), PREBUILDS_ONLY: '1', NO_COLOR: '1' };
}

/** Runs a module in a project with plain node. */
export async function runModule(
  directory: string,
  source: string,
  env?: NodeJS.ProcessEnv,
): Promise<Outcome> {
  const scratch = join(directory, 'scratch');
  await mkdir(scratch, { recursive: true });
  const file = join(scratch, `module-${(await readdir(scratch)).length}.mjs`);
  await writeFile(file, source);
  return outcome(process.execPath, [file], { cwd: directory, env: env ?? (await userEnvironment()) });
}

export async function manifest(): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
}

before(() => {
  for (const [path, command] of [
    [join(root, 'dist/index.js'), './scripts/build ts'],
    [prebuild, 'npm run prebuilds'],
  ] as const) {
    if (!existsSync(path)) throw new Error(`${path} is missing: ${command}`);
  }
});
