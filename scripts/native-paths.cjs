#!/usr/bin/env node
// Prints paths that the native build needs. binding.gyp and CMakeLists.txt ask here for the header packages; binding.gyp
// also for the sources (gyp would take the list's paths relative to the wrong directory) and for the static libraries,
// which are linked by path because -lcrypto would resolve to the OpenSSL inside Node.
'use strict';
const { execFileSync } = require('node:child_process');
const { existsSync, readFileSync } = require('node:fs');
const { dirname, isAbsolute, join, resolve } = require('node:path');

const pkcs11Header = 'p11-kit/pkcs11.h';
const debianPackages = { 'libcrypto.a': 'libssl-dev', 'libargon2.a': 'libargon2-dev' };
// What libcrypto.a itself may need, by how its distribution has configured it.
const debianPackagesOfNeeds = {
  'libz.a': 'zlib1g-dev',
  'libzstd.a': 'libzstd-dev',
  'libbrotlienc.a': 'libbrotli-dev',
  'libbrotlidec.a': 'libbrotli-dev',
};
const ofTheSystem = new Set(['dl', 'pthread']);
const headerPackages = ['node-api-headers', 'node-addon-api'];

function fail(text) {
  console.error(text);
  process.exit(1);
}

function staticLibrary(name) {
  const [compiler, ...flags] = (process.env.CXX || 'c++').split(' ');
  const path = execFileSync(compiler, [...flags, `-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  // A compiler that does not find the file prints the bare name.
  if (!isAbsolute(path) || !existsSync(path))
    fail(
      `${name} is missing: apt-get install ${debianPackages[name] ?? debianPackagesOfNeeds[name] ?? name}`,
    );
  return resolve(path);
}

// Static libraries that a libcrypto.a needs besides itself, which its pkg-config file tells. Debian 13's takes zlib and zstd.
function needsOf(libcrypto) {
  const description = join(dirname(libcrypto), 'pkgconfig', 'libcrypto.pc');
  if (!existsSync(description)) return [];
  const [, libraries = ''] = /^Libs\.private:(.*)$/m.exec(readFileSync(description, 'utf8')) ?? [];
  return [...libraries.matchAll(/(?:^|\s)-l(\S+)/g)]
    .map(([, name]) => name)
    .filter((name) => !ofTheSystem.has(name))
    .map((name) => staticLibrary(`lib${name}.a`));
}

// Where CMake looks too: beside the compiler's own directories, in the subdirectory that Debian gives it.
function pkcs11Directory() {
  for (const prefix of ['/usr/include', '/usr/local/include']) {
    for (const directory of [join(prefix, 'p11-kit-1'), prefix]) {
      if (existsSync(join(directory, pkcs11Header))) return directory;
    }
  }
  return fail(`<${pkcs11Header}> is missing: apt-get install libp11-kit-dev`);
}

// Of tpm2-tss only the headers are needed: its libraries are loaded at run time.
function tss2Headers() {
  const [compiler, ...flags] = (process.env.CXX || 'c++').split(' ');
  const header = 'tss2/tss2_esys.h';
  let rule = '';
  try {
    rule = execFileSync(compiler, [...flags, '-M', '-x', 'c++', '-'], {
      encoding: 'utf8',
      input: `#include <${header}>\n`,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
  } catch {
    // Reported below.
  }
  const path = rule.split(/[\s\\]+/).find((word) => word.endsWith(`/${header}`));
  if (path === undefined) fail(`<${header}> is missing: apt-get install libtss2-dev`);
  return dirname(dirname(path));
}

function includeDirectory(name) {
  try {
    const manifest = require.resolve(`${name}/package.json`, { paths: [process.cwd(), __dirname] });
    return name === 'node-api-headers' ? join(dirname(manifest), 'include') : dirname(manifest);
  } catch {
    return fail(`the npm package ${name} is missing: npm install --no-save ${headerPackages.join(' ')}`);
  }
}

const what = process.argv[2];
if (what in debianPackages) {
  const path = staticLibrary(what);
  for (const each of what === 'libcrypto.a' ? [path, ...needsOf(path)] : [path]) console.log(each);
} else if (what === 'needs-of') {
  for (const each of needsOf(process.argv[3])) console.log(each);
} else if (what === 'pkcs11') {
  console.log(pkcs11Directory());
} else if (headerPackages.includes(what)) {
  console.log(includeDirectory(what));
} else if (what === 'tss2-headers') {
  console.log(tss2Headers());
} else if (what === 'addon-sources') {
  const { variables } = JSON.parse(readFileSync(join(__dirname, '../native/sources.gypi'), 'utf8'));
  for (const path of [...variables.core_sources, ...variables.addon_sources]) console.log(`native/${path}`);
} else {
  const names = [
    'addon-sources',
    'pkcs11',
    'tss2-headers',
    'needs-of LIBCRYPTO.A',
    ...Object.keys(debianPackages),
    ...headerPackages,
  ];
  fail(`usage: native-paths.cjs ${names.join('|')}`);
}
