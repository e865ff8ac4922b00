/**
 * Installs the peers in bench/node_modules on first use and after a change of the lock file or of Node.
 *
 * lmdb and classic-level bring binaries in their npm packages. SQLite3 Multiple Ciphers is built from its source here,
 * because its binaries are fetched from elsewhere by an install script, and install scripts do not run.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const BENCH = fileURLToPath(new URL('..', import.meta.url));
const STAMP = join(BENCH, 'node_modules', '.strongroom-bench');
const BUILT_HERE = 'better-sqlite3-multiple-ciphers';

function wantedStamp() {
  const lock = fs.readFileSync(join(BENCH, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.versions.modules} ${process.arch}`;
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 */
function mustRun(command, args, cwd) {
  const done = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (done.status === 0) return;
  const output = `${done.stdout ?? ''}${done.stderr ?? ''}`.trim().split('\n').slice(-20).join('\n');
  throw new Error(`${command} ${args.join(' ')} failed in ${cwd}\n${done.error?.message ?? output}`);
}

/** Node's own headers, where they were installed with it; otherwise node-gyp fetches them. */
function headerArguments() {
  const prefix = dirname(dirname(fs.realpathSync(process.execPath)));
  return fs.existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

/** @param {(line: string) => void} say */
export function ensurePeers(say) {
  const wanted = wantedStamp();
  if (fs.existsSync(STAMP) && fs.readFileSync(STAMP, 'utf8') === wanted) return;
  say('installing the peers in bench/node_modules (npm ci)');
  const npm = process.env['npm_execpath'];
  if (npm === undefined || !/\.c?js$/.test(npm)) mustRun('npm', ['ci', '--ignore-scripts'], BENCH);
  else mustRun(process.execPath, [npm, 'ci', '--ignore-scripts'], BENCH);
  say(`building ${BUILT_HERE} from its source (one to five minutes)`);
  const gyp = join(BENCH, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js');
  const args = [gyp, 'rebuild', '--release', ...headerArguments()];
  mustRun(process.execPath, args, join(BENCH, 'node_modules', BUILT_HERE));
  fs.writeFileSync(STAMP, wanted);
}

/**
 * The installed version of a peer, or of strongroom itself.
 *
 * @param {string | undefined} name
 */
export function versionOf(name) {
  const file =
    name === undefined
      ? join(BENCH, '..', 'package.json')
      : join(BENCH, 'node_modules', name, 'package.json');
  return fs.existsSync(file) ? String(JSON.parse(fs.readFileSync(file, 'utf8')).version) : 'not installed';
}
