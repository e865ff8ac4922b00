// Loads the compiled core. node-gyp-build chooses the file: build/Release first, then prebuilds/. A failure here is the
// first thing that a new user may see, so its message is a page of help and not only the loader's own words.
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { PersistenceError } from './errors.js';
import type { NativeBinding } from './native-binding.js';

const packageRoot = fileURLToPath(new URL('..', import.meta.url));

let loaded: NativeBinding | undefined;

/**
 * The compiled core, loaded at the first call.
 * @throws Error with code `ERR_STRONGROOM_NATIVE`, a page of help as message and the loader's error as `cause`;
 * PersistenceError `io-error` when the process has no descriptor left.
 */
export function loadNative(): NativeBinding {
  if (loaded !== undefined) return loaded;
  if (process.platform !== 'linux')
    throw loadError(`strongroom runs on Linux only; this is ${process.platform}.`);
  try {
    const load = createRequire(import.meta.url)('node-gyp-build') as (directory: string) => unknown;
    const binding = load(packageRoot) as NativeBinding;
    loaded = binding;
    // A start that reads a large vault, or waits for a token, must not hold up the end of the process.
    process.on('exit', () => {
      binding.cancelTasks();
    });
    return loaded;
  } catch (cause) {
    const shortage = descriptorShortage();
    if (shortage === undefined) throw loadError(helpPage(cause), cause);
    const message =
      'the compiled core cannot be loaded: too many open files; raise the limit (ulimit -n), or close some';
    throw new PersistenceError('io-error', message, { cause: shortage });
  }
}

/** Why not even the package's own directory can be read; undefined when it can. */
function descriptorShortage(): unknown {
  try {
    readdirSync(packageRoot);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EMFILE' || code === 'ENFILE' ? error : undefined;
  }
}

function loadError(message: string, cause?: unknown): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause });
  return Object.assign(error, { code: 'ERR_STRONGROOM_NATIVE' });
}

function helpPage(cause: unknown): string {
  const prebuilds = listPrebuilds();
  return `strongroom cannot load its compiled core.

  reason        ${firstLine(cause)}
  this machine  ${process.platform}-${process.arch}, ${libc()}
  node          ${process.version} (Node-API ${process.versions['napi'] ?? 'unknown'}; 9 or later is needed)
  package       ${packageRoot}
  prebuilds     ${prebuilds.length === 0 ? 'none' : prebuilds.join(', ')}

What to do
  1. A prebuilt core is chosen by platform, architecture and C library. If this machine's line is not among the prebuilds,
     or the reason names a GLIBC version, build from source (2). If it is there and was not found, install the package
     again: npm ci.
  2. Build from source, with g++ 12 or clang 14 or later and OpenSSL 3.0 or later, in the project that uses strongroom:
       apt-get install build-essential python3 libssl-dev libargon2-dev libtss2-dev libp11-kit-dev
       npm install --no-save node-gyp node-addon-api node-api-headers
       npx node-gyp rebuild --directory ${packageRoot}
     A build of your own is preferred to a prebuilt core unless PREBUILDS_ONLY is set. On other
     distributions the packages are those that hold libcrypto.a, libargon2.a and the headers of tpm2-tss and p11-kit.`;
}

function firstLine(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.split('\n', 1)[0] ?? '';
}

function libc(): string {
  // Only asked after a failure: a report takes milliseconds, and its network part could wait for name servers.
  const report = process.report as typeof process.report & { excludeNetwork?: boolean };
  report.excludeNetwork = true;
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined
    ? 'musl or another libc'
    : `glibc ${header.glibcVersionRuntime}`;
}

function listPrebuilds(): string[] {
  try {
    return readdirSync(`${packageRoot}prebuilds`, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.node'))
      .sort();
  } catch {
    return [];
  }
}
