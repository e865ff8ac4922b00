// Facts about the prebuilt addon as an ELF file. Each guards against a failure on machines other than the one that built it.
import assert from 'node:assert/strict';
import { output, prebuild } from './support.js';

/** The oldest GNU C library that the prebuilt addon runs with: that of Ubuntu 22.04. */
const glibcFloor = '2.35';
const releaseGlibc = '2.36'; // of Debian 12

const readelf = (...args: string[]): Promise<string> =>
  output('readelf', ['--wide', ...args, prebuild], { env: { ...process.env, LC_ALL: 'C' } });

function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

describe('the prebuilt addon', () => {
  it('needs only the C library', async () => {
    const dynamic = await readelf('--dynamic');
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1] ?? '');
    assert.ok(needed.includes('libc.so.6'), dynamic);
    const others = needed.filter(
      (name) => !/^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|ld-linux-.*)$/.test(name),
    );
    assert.deepEqual(others, []);
    assert.doesNotMatch(dynamic, /\((RPATH|RUNPATH)\)/);
  });

  it('exports only the Node-API entry points', async () => {
    const symbols = await readelf('--dyn-syms');
    const exported = symbols
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(
        (columns) =>
          /^(GLOBAL|WEAK|UNIQUE)$/.test(columns[4] ?? '') && columns[6] !== 'UND' && columns[6] !== 'ABS',
      )
      .map((columns) => columns[7])
      .sort();
    assert.deepEqual(exported, ['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
  });

  it('takes nothing from the OpenSSL or the C++ library of the process', async () => {
    // _ZGTt…: weak hooks of transactional memory inside libstdc++, never bound and never called.
    const symbols = await readelf('--dyn-syms');
    const undefinedNames = [...symbols.matchAll(/ UND (\S+)/g)].map((match) => match[1] ?? '');
    assert.deepEqual(
      undefinedNames.filter((name) => /^(EVP_|OPENSSL_|RAND_|CRYPTO_|OSSL_|argon2|_Z(?!GTt))/.test(name)),
      [],
    );
  });

  it('stays mapped, and is linked with full RELRO and no executable stack', async () => {
    const dynamic = await readelf('--dynamic');
    assert.match(dynamic, /NODELETE/);
    assert.match(dynamic, /\bNOW\b|BIND_NOW/);
    const headers = await readelf('--program-headers');
    assert.match(headers, /GNU_RELRO/);
    assert.match(headers, /GNU_STACK.* RW /);
  });

  it('is stripped', async () => {
    assert.doesNotMatch(await readelf('--sections'), /\.symtab|\.debug_info/);
  });

  it(`runs on glibc ${glibcFloor} and later`, async () => {
    const symbols = await readelf('--dyn-syms');
    const versions = [...symbols.matchAll(/@GLIBC_([0-9.]+)/g)]
      .map((match) => match[1] ?? '')
      .sort(compareVersions);
    const newest = versions.at(-1) ?? '0';
    console.log(`      newest symbol version: GLIBC_${newest}`);
    const here = (await output('getconf', ['GNU_LIBC_VERSION'])).trim().split(' ')[1] ?? '0';
    // Releases are built on Debian 12, where the floor holds; what a newer system builds is for itself.
    const bound = compareVersions(here, releaseGlibc) > 0 ? here : glibcFloor;
    assert.ok(compareVersions(newest, bound) <= 0, `GLIBC_${newest} is wanted, ${bound} is the most`);
  });
});
